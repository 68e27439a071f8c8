"""One conversation: text out as it is written, events in. Knows the stream's rules, nothing of engines or playback."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import grpc

from intone.client.audio import Format
from intone.client.call import Call
from intone.client.decoding import decode
from intone.client.errors import IntoneCallError
from intone.client.events import Audio, Done, Event, Flushed, Interrupted, Started
from intone.client.settings import EmotionLike, Options, emotion_message
from intone.client.speech import Sent, Trace
from intone.proto import speech_pb2

Request = speech_pb2.StreamSynthesizeRequest

_FIRST_PAUSE_S = 0.2
"""Pause before the first attempt to open a lost call again; doubles each time."""


class Conversation:
    """A stream, as an asynchronous context manager and iterator of events. Made by `SpeechClient.converse`.

    One task may send while another reads. Leaving the context ends the call and abandons what was not received; a task
    that still sends or reads then fails. Cancelling a task that waits for an event loses nothing. Cancelling one
    that sends leaves open whether the message goes out. Events are stamped when they are read, so a caller that wants
    true times reads promptly.

    A call that is lost (UNAVAILABLE) before its first audio is opened again, and what was sent is sent again: nothing
    has been heard yet. `Started` and `Warning` may then be seen twice for an utterance. After the first audio it is
    never done: the caller knows best what the listener has heard.
    """

    def __init__(
        self,
        open_call: Callable[[], Any],
        config: speech_pb2.StreamConfig,
        *,
        reconnects: int,
        trace: Trace | None,
        clock: Callable[[], float],
    ) -> None:
        self._open_call = open_call
        self._clock = clock
        self._trace = trace
        self._call: Call
        self._format: Format | None = None
        self._finished = False
        self._left = False
        self._sending = asyncio.Lock()
        self._resend: list[Request] | None = [Request(config=config)]
        self._pauses_s = [_FIRST_PAUSE_S * 2**attempt for attempt in range(reconnects)]

    async def __aenter__(self) -> "Conversation":
        self._open()
        try:
            await self._written(self._call.written())
        except BaseException:
            await self._call.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        await self._call.close()

    # ---- out ---------------------------------------------------------------------------------------------------------

    async def send(
        self,
        text: str,
        utterance: str,
        *,
        emotion: EmotionLike | None = None,
        voice: str = "",
        options: Options | None = None,
        end: bool = False,
    ) -> None:
        """Send the next characters of an utterance; the first piece with a new id starts it.

        Pieces are joined as they are, so they carry their own spaces. `emotion`, `voice` and `options` belong on the
        first piece only; `end` says that nothing more will come.

        Raises:
            IntoneCallError: the call has ended.
            ValueError: the emotion cannot be read.
        """
        delta = speech_pb2.TextInput(
            utterance_id=utterance,
            delta=text,
            emotion=emotion_message(emotion),
            end_of_utterance=end,
            voice=voice,
            options=options.message() if options else None,
        )
        if self._trace is not None and text:
            self._trace.sent.append(Sent(self._clock(), utterance, text))
        await self._send(Request(text=delta))

    async def end(self, utterance: str) -> None:
        """Say that nothing more will come for an utterance."""
        await self.send("", utterance, end=True)

    async def flush(self, flush_id: str = "") -> None:
        """Ask for what is buffered to be spoken now; `Flushed` with the same id tells when it has been sent."""
        await self._send(Request(flush=speech_pb2.Flush(flush_id=flush_id)))

    async def cancel(self, utterance: str = "", played_ms: int | None = None) -> None:
        """Stop an utterance, or all of them. `Interrupted` tells what was heard, from `played_ms` where it is known.

        Args:
            played_ms: audio of the whole stream that the listener has heard; see `progress`.
        """
        await self._send(Request(cancel=speech_pb2.Cancel(utterance_id=utterance, played_ms=played_ms)))

    async def progress(self, played_ms: int) -> None:
        """Tell how much of the stream's audio has been played, all utterances together, without what was dropped."""
        await self._send(Request(progress=speech_pb2.PlaybackProgress(played_ms=played_ms)))

    async def finish(self) -> None:
        """Say that nothing more will be sent at all: the server finishes speaking, then the events end."""
        async with self._sending:
            self._finished = True
            await self._written(self._call.write(end=True))

    async def _send(self, request: Request) -> None:
        if self._finished:
            raise RuntimeError("finish() was called: nothing more can be sent")
        async with self._sending:
            if self._resend is not None:
                self._resend.append(request)
            await self._written(self._call.write(request))

    async def _written(self, writing: Awaitable[None]) -> None:
        """Wait for a write. A loss that the reader will make good is no error."""
        try:
            await writing
        except IntoneCallError as failure:
            if not self._may_reconnect(failure):
                raise

    # ---- in ----------------------------------------------------------------------------------------------------------

    def __aiter__(self) -> "Conversation":
        return self

    async def __anext__(self) -> Event:
        """The next event; the iteration ends when the server has spoken everything after `finish`.

        Raises:
            IntoneCallError: the call has failed.
        """
        while True:
            try:
                response = await self._call.read()
            except IntoneCallError as failure:
                if not self._may_reconnect(failure):
                    raise
                await self._reconnect()
                continue
            if response is grpc.aio.EOF:
                raise StopAsyncIteration
            event = decode(response, self._clock(), self._format)
            if event is not None:
                self._note(event)
                return event

    def _note(self, event: Event) -> None:
        if self._trace is not None:
            self._trace.events.append(event)
        if isinstance(event, Started):
            self._format = event.format
        elif isinstance(event, Audio):
            self._resend = None
        elif self._resend is not None:
            self._resend = [request for request in self._resend if not _answers(event, request)]

    # ---- again -------------------------------------------------------------------------------------------------------

    def _may_reconnect(self, failure: IntoneCallError) -> bool:
        lost = failure.code is grpc.StatusCode.UNAVAILABLE and not self._left
        return lost and self._resend is not None and bool(self._pauses_s)

    async def _reconnect(self) -> None:
        async with self._sending:
            await asyncio.sleep(self._pauses_s[0])
            del self._pauses_s[0]
            if not self._left:
                self._open()

    def _open(self) -> None:
        """Begin a call and say everything again. That goes on while its answers are read already."""
        self._call = Call(self._open_call(), tuple(self._resend or ()), end=self._finished)


def _answers(event: Event, request: Request) -> bool:
    """Whether `event` ends the matter of `request`, which then must not be sent again."""
    match event:
        case Done(utterance_id=utterance) | Interrupted(utterance_id=utterance):
            kind = request.WhichOneof("request")
            return kind in ("text", "cancel") and bool(getattr(request, kind).utterance_id == utterance)
        case Flushed(flush_id=flush):
            return request.HasField("flush") and request.flush.flush_id == flush
    return False
