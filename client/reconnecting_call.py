"""A stream that outlives its calls: one that is lost is resumed, or opened anew while nothing has sounded."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import grpc

from intone.client.call import Call
from intone.client.errors import IntoneError, error_for, from_status, timed_out
from intone.client.retry import Backoff, refused_for_now, will_fail_again
from intone.client.sent_requests import Request, Response, SentRequests
from intone.proto import speech_pb2

LEAVE_S = 1.0
"""Longest wait for a server that is told that the stream ends here."""


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """How calls are opened.

    Attributes:
        open_call: starts a call.
        timeout_s: longest wait for the first answer of a call, and until the server takes a message; None for ever.
        reconnect_s: how long a stream that has not sounded is opened anew after it was lost or refused for now.
        on_retry: called before each pause with the failure and the seconds until the next attempt.
    """

    open_call: Callable[[], Any]
    timeout_s: float | None
    reconnect_s: float
    on_retry: Callable[[IntoneError, float], None] | None = None


class ReconnectingCall:
    """A `StreamSynthesize` stream that one task reads from beginning to end while others send.

    When its call is lost, the server may still have the stream: another call then resumes it, and nobody notices. Else
    the stream is opened anew and everything that was not answered is sent again, if nothing has sounded yet. After the
    first audio that is an error, because only the caller knows what the listener has heard.

    Args:
        config: the first message.
        setup: how calls are opened.
    """

    def __init__(self, config: speech_pb2.StreamConfig, setup: Reconnecting) -> None:
        self._setup = setup
        self._sending = asyncio.Lock()
        self._cancelled = asyncio.Event()
        self._changed = asyncio.Event()  # set when a call takes messages, or none will
        self._sent = SentRequests(Request(config=config))
        self._leaving: asyncio.Task[None] | None = None
        self._call: Call
        self._connected = False  # whether the call takes messages
        self._resuming = False  # whether it is to go on with the stream, and has not yet
        self._stream_id = self._token = ""
        self._resume_s = 0.0
        self._received = 0
        self._opened_s = 0.0
        self._failure: IntoneError | None = None
        self._closed: speech_pb2.Closed | None = None
        self._refused: IntoneError | None = None
        self._backoff: Backoff | None = None
        self._restart()

    @property
    def can_restart(self) -> bool:
        """Whether nothing has sounded, so that a new stream may take the place of this one."""
        return self._sent.can_restart

    # ---- sending

    async def send(self, request: Request) -> None:
        """Send a message. While a lost call is replaced, it waits for the next one, which is no error.

        Raises:
            IntoneError: the call has ended, or TimedOut.
        """
        async with self._sending:
            call = await self._taking_messages()
            self._sent.add(request)
            try:
                await call.write(request, self._setup.timeout_s)
            except IntoneError as failure:
                if call is self._call and self._connected and not self._replaceable(failure):
                    raise

    async def _taking_messages(self) -> Call:
        """Wait until the present call takes a message, or the one that takes its place."""
        while True:
            call, changed = self._call, self._changed
            if self._connected:
                try:
                    await call.written(self._setup.timeout_s)  # a cancelled caller may have left a write in progress
                except IntoneError as failure:
                    if call is self._call and self._connected and not self._replaceable(failure):
                        raise
                else:
                    if call is self._call:
                        return call
            if call is self._call or not self._connected:
                if self._failure is not None:
                    raise self._failure
                await changed.wait()

    def request(self, index: int) -> Request | None:
        """The flush or interrupt that was the message number `index` of the stream."""
        return self._sent.asking(index)

    # ---- receiving

    async def responses(self) -> AsyncGenerator[Response, None]:
        """The responses, to the end of the stream. Used once, by one task.

        Raises:
            IntoneError: the stream has failed.
        """
        try:
            while True:
                try:
                    async with aclosing(self._in_time(self._call.responses())) as responses:
                        async for response in responses:
                            if self._receive(response):
                                yield response
                    return
                except IntoneError as failure:
                    if self._closed is not None and not self._closed.status.code:
                        return  # only the status was lost
                    await self._replace(self._cause(failure))
        except IntoneError as failure:
            self._end(failure)
            raise
        finally:
            self._end(error_for(grpc.StatusCode.FAILED_PRECONDITION, "the stream has ended"))

    async def _in_time(self, responses: AsyncGenerator[Response, None]) -> AsyncGenerator[Response, None]:
        """The responses of a call, the first of which must come in time."""
        async with aclosing(responses):
            try:
                yield await asyncio.wait_for(anext(responses), self._setup.timeout_s)
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:  # noqa: UP041 (Python 3.10)
                raise timed_out("answer to the settings", self._setup.timeout_s or 0.0) from None
            async for response in responses:
                yield response

    def _receive(self, response: Response) -> bool:
        """Take note of a response; returns whether it belongs to the stream.

        Raises:
            IntoneError: the server is shutting down, and another one can speak what this one does not.
        """
        kind = response.WhichOneof("response")
        if kind == "resumed":
            self._go_on(response.resumed.received_count)
        if self._resuming or kind == "resumed":  # a `closed` in place of `resumed` is not that of the stream
            return False
        self._received += 1
        if self._turned_away(response):
            self._token, self._connected = "", False  # who sends now waits for the next call
            raise error_for(grpc.StatusCode.UNAVAILABLE, "the server is shutting down", "GOING_AWAY")
        if kind == "configured":
            self._stream_id = response.configured.stream_id
            self._token = response.configured.resume_token
            self._resume_s = response.configured.resume_ms / 1000
        elif kind == "closed":
            self._closed = response.closed
            if self._token:
                self._leaving = asyncio.create_task(self._leave())  # what was sent has arrived
        self._sent.answered(response)
        if not self._sent.can_restart:
            self._backoff = None
        return True

    def _turned_away(self, response: Response) -> bool:
        if not self._sent.can_restart or response.WhichOneof("response") != "done":
            return False
        return from_status(response.done.error).reason == "GOING_AWAY"

    # ---- ending

    def cancel(self) -> None:
        """End the call at once. The reader and the senders get `Cancelled`."""
        self._cancelled.set()
        self._call.cancel()
        self._end(error_for(grpc.StatusCode.CANCELLED, "the call was ended on this side"))
        if self._leaving is not None:
            self._leaving.cancel()

    async def leave(self) -> None:
        """End the call. A server that would hold the stream, as after a lost connection, is told not to."""
        if self._token and self._connected and self._closed is None and not self._cancelled.is_set():
            with suppress(asyncio.TimeoutError, IntoneError):
                await asyncio.wait_for(self._leave(), LEAVE_S)
                await asyncio.wait_for(self._call.ended(), LEAVE_S)
        self.cancel()

    def _end(self, failure: IntoneError) -> None:
        """No other call takes the place of the present one."""
        self._failure = self._failure or failure
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _leave(self) -> None:
        with suppress(IntoneError):
            await self.send(Request(leave=speech_pb2.Leave()))

    # ---- calls

    def _restart(self) -> None:
        """Open a stream and send everything that was not answered. Responses are read while that goes on."""
        self._token = ""
        self._received = 0
        self._resuming = False
        self._closed = self._refused = None
        self._opened_s = time.monotonic()
        self._call = Call(self._setup.open_call(), self._sent.restart())
        self._connected = True
        self._notify()

    def _resume(self) -> None:
        """Open a call that goes on with the stream. Messages wait until the server has said what it has received."""
        self._resuming = True
        resume = speech_pb2.Resume(stream_id=self._stream_id, resume_token=self._token, received_count=self._received)
        self._call = Call(self._setup.open_call(), [Request(resume=resume)])

    def _go_on(self, received_count: int) -> None:
        missed = self._sent.since(received_count)
        if missed is None:
            self._call.cancel()
            raise error_for(grpc.StatusCode.INTERNAL, "the stream was resumed, but what the server lacks is not kept")
        self._call.write_later(missed)
        self._resuming, self._connected, self._backoff = False, True, None
        self._notify()

    def _cause(self, failure: IntoneError) -> IntoneError:
        """Why the stream was lost, after an attempt to replace its call has failed."""
        if self._closed is not None:
            return from_status(self._closed.status)
        if failure.reason == "STREAM_NOT_HELD" and self._refused is not None:
            self._token = ""
            lost = self._refused
            return error_for(
                lost.code, f"{lost.message}; the stream cannot be resumed ({failure.message})", lost.reason
            )
        return failure

    def _within_s(self, failure: IntoneError) -> float:
        """How long after the first failure the stream can still be resumed or opened anew; 0 if it cannot."""
        if self._cancelled.is_set():
            return 0.0
        lost = failure.code is grpc.StatusCode.UNAVAILABLE and not will_fail_again(failure)
        if not lost and not refused_for_now(failure):
            return 0.0
        resume_s = self._resume_s if self._token and self._closed is None else 0.0
        return max(resume_s, self._setup.reconnect_s if self._sent.can_restart else 0.0)

    def _replaceable(self, failure: IntoneError) -> bool:
        return self._within_s(failure) > 0

    async def _replace(self, failure: IntoneError) -> None:
        """Open another call in place of a lost one, after a pause.

        Raises:
            IntoneError: `failure`, if it is not to be.
        """
        self._connected = False
        if self._backoff is None or time.monotonic() - self._opened_s > self._setup.reconnect_s:
            self._backoff = Backoff()  # not while calls that achieve nothing follow each other
        backoff = self._backoff
        pause_s = backoff.pause_s(failure, self._within_s(failure))
        if pause_s is None:
            raise failure
        if self._setup.on_retry is not None:
            self._setup.on_retry(failure, pause_s)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._cancelled.wait(), pause_s)
        if self._cancelled.is_set():
            raise failure
        if self._token and self._closed is None and backoff.elapsed_s < self._resume_s:
            self._refused = failure
            self._resume()
        elif self._sent.can_restart:
            self._restart()
        else:
            raise failure
