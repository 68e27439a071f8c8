"""One stream: reads all its events in one task and hands each to whom it concerns."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from intone.client.call_status import STATUS_TIMEOUT_S
from intone.client.decoding import Decoder
from intone.client.errors import FailedPrecondition, error_for, timed_out
from intone.client.events import (
    Closed,
    Configured,
    Done,
    Event,
    Flushed,
    GoingAway,
    Interrupted,
    Notice,
    RequestRefused,
)
from intone.client.feed import EventFeed
from intone.client.reconnecting_call import Reconnecting, ReconnectingCall
from intone.client.sent_requests import Request
from intone.client.settings import StreamSettings
from intone.proto import speech_pb2


class Sink(Protocol):
    """Takes the events of one utterance."""

    def receive(self, event: Event) -> None:
        """Take an event. The last one is `Done`."""

    def fail(self, failure: BaseException) -> None:
        """The stream has ended before the utterance."""


@dataclass(frozen=True, slots=True)
class StreamSetup:
    """How a stream is opened and read.

    Attributes:
        calls: how calls are opened.
        resume: whether a stream whose connection is lost is resumed, where the server can.
        upload: uploads an emotion clip and returns its id.
        on_event: called with every event as it comes; what it raises ends the stream.
        clock: monotonic clock in seconds for the timestamps of events.
    """

    calls: Reconnecting
    resume: bool
    upload: Callable[[Path], Awaitable[str]]
    on_event: Callable[[Event], None] | None
    clock: Callable[[], float]


class Stream:
    """A stream to a server, shared by a conversation and its utterances.

    Attributes:
        feed: events that belong to no open utterance.
        notices: the notices among them.
        going_away: the announcement that the server is shutting down; None if there is none.
        closed: the last message of the stream; None if there was none yet.
        failure: why the stream has failed; None if it has not.
    """

    def __init__(self, settings: StreamSettings, setup: StreamSetup) -> None:
        self.settings = settings
        self.setup = setup
        self.notices: list[Notice] = []
        self.going_away: GoingAway | None = None
        self.closed: Closed | None = None
        self.failure: BaseException | None = None
        self._config = settings.message()
        self._config.resumable = setup.resume
        self._ended = False
        self._configured: Configured | None = None
        self._decoder = Decoder()
        self._sinks: dict[str, Sink] = {}
        self._answers: dict[str, asyncio.Future[Event | None]] = {}
        self._asked = 0
        self._call: ReconnectingCall | None = None
        self._reading: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the stream and wait until the server is ready.

        Raises:
            IntoneError: the server refused the settings or cannot be reached, or TimedOut.
            OSError: an emotion clip cannot be read.
            RuntimeError: it was opened before.
        """
        if self._call is not None:
            raise RuntimeError("a conversation is opened once; make another one")
        if (clip := self.settings.defaults.clip) is not None:
            self._config.defaults.emotion.clip_id = await self.setup.upload(clip)
        self.feed = EventFeed()
        configured = self._answer("configured")
        self._call = ReconnectingCall(self._config, self.setup.calls)
        self._reading = asyncio.create_task(self._read(self._call))
        try:
            await configured
            if configured.result() is None:
                raise error_for(grpc.StatusCode.INTERNAL, "the server ended the stream without `configured`")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the call at once. Whoever waits for something gets `Cancelled`. May be called more than once."""
        if self._call is None:
            return
        if not self._reading.done():
            self._end(error_for(grpc.StatusCode.CANCELLED, "the conversation was closed"))
        for task in self._tasks:
            task.cancel()
        try:
            await self._call.leave()
        finally:
            self._call.cancel()
        await asyncio.wait({self._reading}, timeout=STATUS_TIMEOUT_S)
        self._reading.cancel()
        await asyncio.gather(self._reading, *self._tasks, return_exceptions=True)

    @property
    def configured(self) -> Configured:
        """The server's answer to the settings; the last one, if a lost call was opened again.

        Raises:
            RuntimeError: the stream is not open.
        """
        if self._configured is None:
            raise RuntimeError("the conversation is not open: use `async with` or `await open()`")
        return self._configured

    async def finish(self, timeout_s: float | None) -> None:
        """Tell the server that no further utterance comes, and wait until it has ended the stream.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        await self._sent_before_end(Request(finish=speech_pb2.Finish()))
        await self._wait({self._reading}, "end of the stream", timeout_s)
        if self.failure is not None:
            raise self.failure

    # ---- sending -----------------------------------------------------------------------------------------------------

    async def send(self, request: Request) -> None:
        """Send a message.

        Raises:
            IntoneError: the stream has ended, or TimedOut.
            RuntimeError: the stream is not open.
        """
        if self._call is None:
            raise RuntimeError("the conversation is not open: use `async with` or `await open()`")
        await self._call.send(request)

    def next_id(self, prefix: str) -> str:
        """A new id of a request that is answered."""
        self._asked += 1
        return f"{prefix}{self._asked}"

    async def ask(
        self, request: Request, answer_id: str, timeout_s: float | None, unless: Iterable["asyncio.Future[None]"] = ()
    ) -> Event | None:
        """Send a message and wait for its answer.

        Args:
            answer_id: the id in the message, which the answer repeats.
            unless: futures that end the wait without an answer.

        Returns:
            The answer; None if the stream has ended normally, or something of `unless` came first.

        Raises:
            IntoneError: the message was refused, the stream has failed, or TimedOut.
        """
        answer = self._answer(answer_id)
        try:
            if await self._sent_before_end(request):
                await self._wait({answer, *unless}, "answer", timeout_s)
            return answer.result() if answer.done() else None
        finally:
            self._answers.pop(answer_id, None)

    async def _sent_before_end(self, request: Request) -> bool:
        """Send; return False if the stream has ended normally."""
        try:
            await self.send(request)
        except FailedPrecondition:
            await asyncio.wait({self._reading}, timeout=STATUS_TIMEOUT_S)
            if self.failure is not None:
                raise self.failure from None
            return False
        return True

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a task that `close` ends."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever reads gets its error
        return task

    # ---- receiving ---------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self._ended

    @property
    def can_restart(self) -> bool:
        """Whether nothing has sounded, so that a new stream may take the place of this one."""
        return self._call is not None and not self._ended and self._call.can_restart

    def attach(self, utterance_id: str, sink: Sink) -> None:
        """Hand the events of an utterance to `sink` until its `Done`."""
        if self.ended:
            sink.fail(self.failure or error_for(grpc.StatusCode.FAILED_PRECONDITION, "the stream has ended"))
        else:
            self._sinks[utterance_id] = sink

    async def _read(self, call: ReconnectingCall) -> None:
        failure: BaseException | None = None
        try:
            async with aclosing(call.responses()) as responses:
                async for response in responses:
                    event = self._decoder.decode(response, self.setup.clock())
                    if event is not None:
                        self._hand_out(event, call)
        except asyncio.CancelledError:
            failure = error_for(grpc.StatusCode.CANCELLED, "the conversation was closed")
            raise
        except Exception as error:  # noqa: BLE001 (whoever waits for the stream raises it)
            failure = error
        finally:
            self._end(failure)

    def _hand_out(self, event: Event, call: ReconnectingCall) -> None:
        if self._ended:
            return
        if self.setup.on_event is not None:
            self.setup.on_event(event)
        self._note(event, call)
        utterance_id = getattr(event, "utterance_id", "")
        sink = self._sinks.get(utterance_id)
        if sink is None:
            self.feed.add(event)
            if isinstance(event, Notice):
                self.notices.append(event)
            return
        if isinstance(event, Done):
            del self._sinks[utterance_id]
        sink.receive(event)

    def _note(self, event: Event, call: ReconnectingCall) -> None:
        match event:
            case Configured():
                self._configured = event
                self.going_away = self.closed = None  # a lost call was opened again
                self._resolve("configured", event)
            case Interrupted():
                self._resolve(event.interrupt_id, event)
            case Flushed():
                self._resolve(event.flush_id, event)
            case GoingAway():
                self.going_away = event
            case Closed():
                self.closed = event
            case RequestRefused():
                request = call.request(event.request_index)
                if request is not None:
                    answer_id = request.flush.flush_id or request.interrupt.interrupt_id
                    self._resolve(answer_id, event.error)

    def _end(self, failure: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        self.failure = failure
        for utterance_id, sink in self._sinks.items():
            unfinished = f"the server ended the stream before utterance {utterance_id!r} was done"
            sink.fail(failure or error_for(grpc.StatusCode.INTERNAL, unfinished))
        self._sinks.clear()
        for answer_id in list(self._answers):
            self._resolve(answer_id, failure)
        self.feed.end(failure)

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def _answer(self, answer_id: str) -> "asyncio.Future[Event | None]":
        self._answers[answer_id] = answer = asyncio.get_running_loop().create_future()
        return answer

    def _resolve(self, answer_id: str, result: Event | BaseException | None) -> None:
        answer = self._answers.pop(answer_id, None)
        if answer is None or answer.done():
            return
        if isinstance(result, BaseException):
            answer.set_exception(result)
            answer.exception()  # whoever waited may have been cancelled
        else:
            answer.set_result(result)

    @staticmethod
    async def _wait(futures: Iterable["asyncio.Future[Any]"], what: str, timeout_s: float | None) -> None:
        done, _ = await asyncio.wait(set(futures), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and timeout_s is not None:
            raise timed_out(what, timeout_s)
