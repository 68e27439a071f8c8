"""`AsyncUtterance`: one utterance of a conversation, with events of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from pathlib import Path

import grpc

from intone.client.errors import IntoneError, error_for, timed_out
from intone.client.events import AudioChunk, AudioPosition, Cut, Done, Event, Interrupted, TimedWord, Timing
from intone.client.feed import EventFeed, FeedReader
from intone.client.sent_requests import Request
from intone.client.speech import SentText, Speech
from intone.client.stream import Stream
from intone.client.text import SurrogateJoiner, TextLike, deltas, split
from intone.proto import audio_pb2, speech_pb2

_MAX_DELTA_CHARACTERS = 4000
"""Longer texts are sent in several messages."""


class AsyncUtterance:
    """One utterance; made by `AsyncConversation.utterance`.

    Send its text with `send` and `end`, or hand it to `speak`, which sends in the background. Meanwhile read `audio`,
    `events` or `words`: each reader gets everything from the beginning, and how fast one utterance is read has no
    influence on others. Audio that was not read stays in memory as long as the utterance does; on a live stream the
    server sends no more than its lead limit ahead of playback.

    Attributes:
        id: unique in the conversation.
        cut: what was heard, if the utterance was interrupted after it had started; else None.
    """

    def __init__(
        self, stream: Stream, utterance_id: str, start: speech_pb2.StartUtterance | None, clip: Path | None
    ) -> None:
        self.id = utterance_id
        self.cut: Cut | None = None
        self._stream = stream
        self._start = start
        self._clip = clip
        self._begun = False
        self._interrupted = False
        self._done: Done | None = None
        self._sent: list[SentText] = []
        self._sending = asyncio.Lock()
        self._joiner = SurrogateJoiner()
        self._speaking: asyncio.Task[None] | None = None
        self._feed = EventFeed()
        stream.attach(utterance_id, self)

    # ---- text --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the utterance before its first text: utterances are spoken in the order in which they start.

        Without this call it starts with its first text. With `cover_after_ms`, a filler may cover the wait for text
        from here on.

        Raises:
            IntoneError: the stream has ended, the emotion clip was refused, or TimedOut.
            OSError: the emotion clip cannot be read.
        """
        async with self._sending:
            self._start = self._start or speech_pb2.StartUtterance(utterance_id=self.id)
            await self._begin()

    async def send(self, delta: str) -> None:
        """Send the next text. Deltas are joined as they are, so they must contain the spaces between words.

        Halves of UTF-16 pairs are joined. Text is dropped once the utterance has ended or was interrupted: see `ended`
        and `interrupted`.

        Raises:
            UnicodeEncodeError: half of a UTF-16 pair without its other one.
            IntoneError: the stream has ended, the emotion clip was refused, or TimedOut.
            OSError: the emotion clip cannot be read.
        """
        if delta:
            await self._send_text(delta, end=False)

    async def end(self) -> None:
        """Tell the server that no more text comes. Raises as `send` does."""
        await self._send_text("", end=True)

    def speak(self, text: TextLike) -> "AsyncUtterance":
        """Send a text and its end in the background.

        If the source of the text raises, the utterance is interrupted, and whoever reads it gets the error.

        Args:
            text: whole, or its deltas as they are written. An iterator that is not a list or a tuple is read in a
                thread of its own, so it may block.

        Returns:
            This utterance.

        Raises:
            RuntimeError: it was called before.
        """
        if self._speaking is not None:
            raise RuntimeError("speak() was called before for this utterance")
        self._speaking = self._stream.spawn(self._send_all(text))
        return self

    async def flush(self, timeout_s: float | None = None) -> None:
        """Speak the text that was sent now, even in mid-sentence; wait until its audio has been received.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        if not self._begun or self._silent:
            return
        flush_id = self._stream.next_id("f")
        request = Request(flush=speech_pb2.Flush(flush_id=flush_id, utterance_id=self.id))
        await self._stream.ask(request, flush_id, timeout_s, unless=[self._feed.ended])

    async def interrupt(self, position: AudioPosition | None = None) -> Cut | None:
        """Stop the utterance: no further text of it is sent, and readers get no more audio.

        May be called at any time, also before the start, after the end, and more than once.

        Args:
            position: where playback stopped, such as `Player.position`; None lets the server estimate it.

        Returns:
            What was heard; None if there was nothing left to stop.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        cuts = await interrupt(self._stream, [self], [self.id], position)
        return next((cut for cut in cuts if cut.utterance_id == self.id), None)

    # ---- events ------------------------------------------------------------------------------------------------------

    def audio(self, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        """The samples, in the format of the stream, as they arrive. Ends early when the utterance is interrupted.

        Args:
            timeout_s: longest wait for the next event of the utterance.

        Raises:
            IntoneError: while iterating: the utterance was rejected or has failed, the stream has failed, or TimedOut.
        """
        return FeedReader(self._feed, self._pcm, timeout_s=timeout_s)

    def audio_once(self, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        """As `audio`, but audio that was read is forgotten: for one reader of very long texts."""
        return FeedReader(self._feed, self._pcm, timeout_s=timeout_s, release=True)

    def events(self, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """All events of the utterance as they arrive. The last one is `Done`.

        Args:
            timeout_s: longest wait for the next event.

        Raises:
            IntoneError: while iterating: the stream has failed, or TimedOut.
        """
        return FeedReader(self._feed, lambda event: (event,), timeout_s=timeout_s)

    def words(self, timeout_s: float | None = None) -> AsyncIterator[TimedWord]:
        """Words and their times as they arrive. A word that was corrected comes again, with the same `text_span`.

        Args:
            timeout_s: longest wait for the next event of the utterance.

        Raises:
            Unsupported: the server has no word times.
            RuntimeError: the stream was opened without `timings`.
            IntoneError: while iterating, as `audio` does.
        """
        if "timings" not in self._stream.configured.features:
            message = "this server has no word times: 'timings' is not among the features in `configured`"
            raise error_for(grpc.StatusCode.UNIMPLEMENTED, message, "UNSUPPORTED")
        if self._stream.settings.timings is None:
            raise RuntimeError("word times were not asked for: open the conversation with timings='aligned'")
        return FeedReader(self._feed, self._words, timeout_s=timeout_s)

    async def done(self, timeout_s: float | None = None) -> Done:
        """Wait for the end of the utterance: all its audio was received, though it may still be playing.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        ended, _ = await asyncio.wait({self._feed.ended}, timeout=timeout_s)
        if not ended and timeout_s is not None:
            raise timed_out(f"end of utterance {self.id!r}", timeout_s)
        if self._feed.failure is not None:
            raise self._feed.failure
        assert self._done is not None
        return self._done

    @property
    def ended(self) -> bool:
        """Whether the server has ended it: no more audio comes."""
        return self._feed.ended.done()

    @property
    def interrupted(self) -> bool:
        """Whether it was interrupted from this side."""
        return self._interrupted

    @property
    def speech(self) -> Speech:
        """The text that was sent and the events that were received so far."""
        events = tuple(event for event in self._feed.events if event is not None)
        return Speech(tuple(self._sent), events, self._stream.configured.format)

    # ---- used by the stream and the conversation ---------------------------------------------------------------------

    def receive(self, event: Event) -> None:
        """Take an event from the stream."""
        self._feed.add(event)
        if isinstance(event, Done):
            self._done = event
            self.fail(None)

    def fail(self, failure: BaseException | None) -> None:
        """End the events, with an error if the stream has failed."""
        self._feed.end(failure)
        self._stop_speaking()

    def silence(self) -> None:
        """Send no more text and hand out no more audio."""
        self._interrupted = True
        self._stop_speaking()

    async def begin_silenced(self) -> None:
        """Name an interrupted utterance that the server does not know yet, so that it gets its `Done`."""
        async with self._sending:
            if not self._begun and not self.ended:
                end = speech_pb2.TextInput(utterance_id=self.id, end_of_utterance=True)
                await self._stream.send(Request(text=end))
                self._begun = True

    def give_up(self, error: BaseException) -> None:
        """End the events of an utterance that the server does not know, as its interruption was not sent."""
        if not self._begun:
            cancelled = error_for(grpc.StatusCode.CANCELLED, "the interruption was cancelled")
            self.fail(error if isinstance(error, Exception) else cancelled)

    @property
    def begun(self) -> bool:
        """Whether the server knows of it."""
        return self._begun

    # ---- inside ------------------------------------------------------------------------------------------------------

    @property
    def _silent(self) -> bool:
        return self._interrupted or self.ended and self._feed.failure is None

    async def _begin(self) -> None:
        if self._begun or self._start is None or self._silent:
            return
        if self._clip is not None:
            self._start.settings.emotion.clip_id = await self._stream.setup.upload(self._clip)
        if not self._silent:
            await self._stream.send(Request(start=self._start))
            self._begun = True

    async def _send_text(self, text: str, *, end: bool) -> None:
        limit = self._stream.configured.limits.max_text_characters or _MAX_DELTA_CHARACTERS
        async with self._sending:
            text = self._joiner.push(text)
            if end:
                self._joiner.finish()
            elif not text:
                return
            await self._begin()
            for delta in split(text, min(limit, _MAX_DELTA_CHARACTERS)) or [""]:
                if self._silent:
                    return
                if delta:
                    self._sent.append(SentText(self._stream.setup.clock(), delta))
                message = speech_pb2.TextInput(utterance_id=self.id, delta=delta, end_of_utterance=end)
                await self._stream.send(Request(text=message))
                self._begun = True

    async def _send_all(self, text: TextLike) -> None:
        try:
            async with aclosing(deltas(text)) as parts:
                async for delta in parts:
                    await self.send(delta)
            await self.end()
        except Exception as error:  # noqa: BLE001 (the readers raise it)
            self._speaking = None  # so that it does not cancel itself
            self.fail(error)
            with suppress(IntoneError):
                await self.interrupt()

    def _stop_speaking(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()

    def _pcm(self, event: Event) -> Iterable[bytes]:
        self._raise_failed(event)
        return (event.data,) if isinstance(event, AudioChunk) and not self._interrupted else ()

    def _words(self, event: Event) -> Iterable[TimedWord]:
        self._raise_failed(event)
        return event.words if isinstance(event, Timing) else ()

    @staticmethod
    def _raise_failed(event: Event) -> None:
        if isinstance(event, Done) and event.error is not None:
            raise event.error


async def interrupt(
    stream: Stream, utterances: Iterable[AsyncUtterance], ids: list[str], position: AudioPosition | None
) -> tuple[Cut, ...]:
    """Interrupt utterances and wait for the answer.

    Args:
        utterances: the objects of those that stop.
        ids: their ids on the wire; empty for all that have started.
    """
    utterances = list(utterances)
    for utterance in utterances:
        utterance.silence()
    interrupt_id = stream.next_id("i")
    message = speech_pb2.Interrupt(interrupt_id=interrupt_id, utterance_ids=ids)
    if position is not None:
        message.played.CopyFrom(audio_pb2.AudioPosition(utterance_id=position.utterance_id, sample=position.sample))
    try:
        answer = await stream.ask(Request(interrupt=message), interrupt_id, stream.setup.calls.timeout_s)
        for utterance in utterances if answer is not None else ():
            await utterance.begin_silenced()
    except BaseException as error:
        for utterance in utterances:
            utterance.give_up(error)
        raise
    cuts = answer.cuts if isinstance(answer, Interrupted) else ()
    by_id = {cut.utterance_id: cut for cut in cuts}
    for utterance in utterances:
        utterance.cut = by_id.get(utterance.id, utterance.cut)
    return cuts
