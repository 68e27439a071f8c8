"""One bidirectional stream: sends text as it is written, iterates over events, reconnects before the first audio."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import grpc

from intone.client.audio import Format
from intone.client.call import Call
from intone.client.decoding import decode_response
from intone.client.errors import IntoneCallError
from intone.client.events import AudioChunk, Done, Event, Flushed, Interrupted, Started
from intone.client.settings import EmotionLike, SynthesisOptions, emotion_message
from intone.client.speech import ConversationLog, SentText
from intone.proto import speech_pb2

Request = speech_pb2.StreamSynthesizeRequest

_FIRST_RECONNECT_PAUSE_S = 0.2
"""Pause before the first reconnect; doubles with each further one."""


class Conversation:
    """A stream: an asynchronous context manager and an iterator of events. Made by `SpeechClient.converse`.

    One task may send while another one reads. Leaving the context ends the call and discards what was not received;
    tasks that still send or read then get an `IntoneCallError`. Cancelling a task that waits for an event loses
    nothing. After cancelling a task that sends, the message may or may not have been sent. Events are timestamped when
    they are read, so read promptly where times matter.

    A call that is lost (UNAVAILABLE) before its first audio is opened again and everything is sent again, because
    nothing has been heard yet. `Started` and `Notice` may then arrive twice for an utterance. After the first audio a
    lost call is an error, because only the caller knows what the listener has heard.
    """

    def __init__(
        self,
        open_call: Callable[[], Any],
        config: speech_pb2.StreamConfig,
        *,
        reconnects: int,
        log: ConversationLog | None,
        clock: Callable[[], float],
    ) -> None:
        self._open_call = open_call
        self._clock = clock
        self._log = log
        self._call: Call
        self._format: Format | None = None
        self._finished = False
        self._left = False
        self._sending = asyncio.Lock()
        self._resend: list[Request] | None = [Request(config=config)]  # None once audio has arrived
        self._pauses_s = [_FIRST_RECONNECT_PAUSE_S * 2**attempt for attempt in range(reconnects)]

    async def __aenter__(self) -> "Conversation":
        self._open()
        try:
            await self._wait_written(self._call.written())
        except BaseException:
            await self._call.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        await self._call.close()

    # ---- sending -----------------------------------------------------------------------------------------------------

    async def send(
        self,
        text: str,
        utterance_id: str,
        *,
        emotion: EmotionLike | None = None,
        voice: str = "",
        options: SynthesisOptions | None = None,
        end: bool = False,
    ) -> None:
        """Send the next text delta of an utterance; the first delta with a new id starts the utterance.

        Deltas are joined as they are, so they must contain the spaces between words.

        Args:
            emotion, voice, options: of the utterance; allowed on its first delta only.
            end: no more text follows for this utterance.

        Raises:
            IntoneCallError: the call has ended.
            RuntimeError: `finish` was called.
            ValueError: the emotion cannot be parsed.
        """
        text_input = speech_pb2.TextInput(
            utterance_id=utterance_id,
            delta=text,
            emotion=emotion_message(emotion),
            end_of_utterance=end,
            voice=voice,
            options=options.message() if options else None,
        )
        if self._log is not None and text:
            self._log.sent.append(SentText(self._clock(), utterance_id, text))
        await self._send(Request(text=text_input))

    async def end(self, utterance_id: str) -> None:
        """Tell the server that an utterance gets no more text."""
        await self.send("", utterance_id, end=True)

    async def flush(self, flush_id: str = "") -> None:
        """Ask the server to speak the buffered text now. `Flushed` with the same id follows its audio."""
        await self._send(Request(flush=speech_pb2.Flush(flush_id=flush_id)))

    async def cancel(self, utterance_id: str = "", played_ms: int | None = None) -> None:
        """Stop an utterance, or all of them if no id is given. `Interrupted` says what was heard.

        Args:
            played_ms: audio of the whole stream that the listener has heard, see `progress`; None lets the server
                estimate it.
        """
        await self._send(Request(cancel=speech_pb2.Cancel(utterance_id=utterance_id, played_ms=played_ms)))

    async def progress(self, played_ms: int) -> None:
        """Report the playback position: milliseconds of the stream's audio played, without what was dropped."""
        await self._send(Request(progress=speech_pb2.PlaybackProgress(played_ms=played_ms)))

    async def finish(self) -> None:
        """Half-close the stream: the server speaks what it has received, then the events end."""
        async with self._sending:
            self._finished = True
            await self._wait_written(self._call.write(end=True))

    async def _send(self, request: Request) -> None:
        if self._finished:
            raise RuntimeError("finish() was called: nothing more can be sent on this conversation")
        async with self._sending:
            if self._resend is not None:
                self._resend.append(request)
            await self._wait_written(self._call.write(request))

    async def _wait_written(self, writing: Awaitable[None]) -> None:
        """Wait for a write. A lost call that the reader will open again is not an error."""
        try:
            await writing
        except IntoneCallError as failure:
            if not self._may_reconnect(failure):
                raise

    # ---- receiving ---------------------------------------------------------------------------------------------------

    def __aiter__(self) -> "Conversation":
        return self

    async def __anext__(self) -> Event:
        """Return the next event. After `finish`, the iteration ends when the server has spoken everything.

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
            event = decode_response(response, self._clock(), self._format)
            if event is not None:
                self._record(event)
                return event

    def _record(self, event: Event) -> None:
        if self._log is not None:
            self._log.events.append(event)
        if isinstance(event, Started):
            self._format = event.format
        elif isinstance(event, AudioChunk):
            self._resend = None
        elif self._resend is not None:
            self._resend = [request for request in self._resend if not _answers(event, request)]

    # ---- reconnecting ------------------------------------------------------------------------------------------------

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
        """Start a call and send everything again. Responses are read while that goes on."""
        self._call = Call(self._open_call(), tuple(self._resend or ()), end=self._finished)


def _answers(event: Event, request: Request) -> bool:
    """Whether `event` completes `request`, which then must not be sent again."""
    match event:
        case Done(utterance_id=utterance_id) | Interrupted(utterance_id=utterance_id):
            kind = request.WhichOneof("request")
            return kind in ("text", "cancel") and bool(getattr(request, kind).utterance_id == utterance_id)
        case Flushed(flush_id=flush_id):
            return request.HasField("flush") and request.flush.flush_id == flush_id
    return False
