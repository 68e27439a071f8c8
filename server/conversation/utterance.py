"""One utterance: receives text as it arrives and gives out the units to be spoken."""

import asyncio
from collections import deque
from collections.abc import Callable

from intone.server.conversation.latency_recorder import LatencyRecorder
from intone.server.conversation.tagged_text import TaggedText, TextUnit
from intone.server.conversation.utterance_progress import UtteranceProgress
from intone.server.conversation.waiting import wait_for_event
from intone.server.domain import Voice
from intone.server.errors import CallerError, Reason
from intone.server.events import Flush, ResolvedEmotion, StartUtterance, TextInput
from intone.server.settings import SpeechSettings
from intone.server.text.cues import SsmlError, TextFormat
from intone.server.text.segmenter import Segmenter

SLICE_CHARACTERS = 250
"""Text that is made into units at once; it takes up to some milliseconds, in which nothing else happens."""


class Utterance:
    """Text goes in through `push`, `read_on` and `flush`; `next_unit` gives out units.

    `progress` holds its state, on which decisions are based; `latency` only records figures for the report.
    """

    def __init__(
        self,
        start: StartUtterance,
        settings: SpeechSettings,
        voice: Voice,
        given_emotion: ResolvedEmotion | None,
        segmenter: Segmenter,
        rate_hz: int,
        clock: Callable[[], float],
    ) -> None:
        """An utterance without text.

        Args:
            start: the message that starts it.
            settings: completed with those of the stream and with a seed.
            given_emotion: set by the client; None if tags and text decide.
            rate_hz: of the stream.
            clock: monotonic, in seconds.
        """
        self.start, self.id, self.settings, self.voice = start, start.utterance_id, settings, voice
        self.given_emotion = given_emotion
        self.seed = settings.seed or 0
        self.progress = UtteranceProgress(rate_hz)
        self.latency = LatencyRecorder(clock)
        self.text_ended = False
        self.length = 0
        """Characters received."""
        self.started_s = clock()
        self.last_text_s = clock()
        """When text was last received; before that, when the utterance was started."""
        self.text_format = settings.text_format or TextFormat.TAGS
        self._clock, self._tagged_text = clock, TaggedText(segmenter, self.text_format)
        self._deltas: list[str] = []
        self._unread: deque[str | None] = deque()  # received, not given to `_tagged_text` yet; None is the end
        self._queue: deque[TextUnit | Flush] = deque()
        self._changed = asyncio.Event()
        self._expired_length = 0

    @property
    def text(self) -> str:
        """All text received."""
        return "".join(self._deltas)

    @property
    def ignored_cues(self) -> list[str]:
        """Names of the cues in the text received that have no effect, each once."""
        return self._tagged_text.ignored_cues

    @property
    def waits_for_text(self) -> bool:
        """Whether the next unit needs more text."""
        return not self._queue and not self._unread and not self.text_ended

    def differs_from(self, start: StartUtterance) -> bool:
        """Whether a repeated start asks for other settings than the first one; one without any does not."""
        return _settings_of(start) not in (_settings_of(self.start), _settings_of(StartUtterance("")))

    # ---- text in

    def unreceived(self, message: TextInput, max_length: int) -> str:
        """The part of a message's text that was not received before. `max_length`: of the whole text, in characters.

        Raises:
            CallerError: the message is invalid, leaves a gap, or makes the utterance too long.
        """
        if message.fault is not None:
            raise message.fault
        delta = message.delta
        if message.offset is not None:
            if message.offset > self.length:
                text = f"is {message.offset}, but {self.length} characters were received before"
                raise CallerError("text.text_offset", text, Reason.TEXT_GAP, received=self.length)
            delta = delta[self.length - message.offset :]
        length = self.length + len(delta)
        if length > max_length and not self.text_ended:
            text = f"makes {length} characters; an utterance has at most {max_length}"
            raise CallerError("text.delta", text, Reason.UTTERANCE_TOO_LONG, limit=max_length)
        return delta

    def push(self, delta: str, end: bool) -> None:
        """Append text, which `read_on` makes units of; `end` marks the last."""
        if delta:
            self._deltas.append(delta)
        self.length += len(delta)
        self.last_text_s = self._clock()  # before segmentation, whose time counts towards the latency
        self.text_ended = self.text_ended or end
        self._unread.extend(delta[at : at + SLICE_CHARACTERS] for at in range(0, len(delta), SLICE_CHARACTERS))
        if end:
            self._unread.append(None)

    def read_on(self) -> bool:
        """Make units of the next slice of the text received. Returns whether there is another one.

        Raises:
            CallerError: the format is SSML and the text is not. No more text may follow.
        """
        try:
            if self._unread and self._unread[0] is not None:
                self._enqueue(self._tagged_text.push(self._unread.popleft() or ""))
            if self._unread and self._unread[0] is None:
                self._unread.clear()
                self._enqueue(self._tagged_text.finish())
        except SsmlError as error:
            raise CallerError("text.delta", str(error), Reason.TEXT_INVALID) from None
        return bool(self._unread)

    def flush(self, flush: Flush | None) -> None:
        """Make units of all buffered text, then queue `flush` behind them."""
        if not self.text_ended:
            self.last_text_s = self._clock()
            self._enqueue(self._tagged_text.flush())
        if flush is not None:
            self._queue.append(flush)
            self._changed.set()

    def _enqueue(self, units: list[TextUnit]) -> None:
        if self.progress.ready_s is None and any(unit.speakable for unit in units):
            self.progress.ready_s = self.last_text_s
            self.latency.text_ready(self.last_text_s)
        self._queue.extend(units)
        self._changed.set()

    # ---- units out

    async def next_unit(self, wait_ms: float, lead_ms: Callable[[], float]) -> TextUnit | Flush | None:
        """The next unit or flush request; None at the end of the text.

        Text without a unit boundary becomes a unit after `wait_ms` without more text, but not before playback has less
        than that left to play (`lead_ms`): until then there is time for the rest of the sentence to arrive.
        """
        while not self._queue:
            if self.text_ended and not self._unread:
                return None
            self._changed.clear()
            await wait_for_event(self._changed, self._time_left_s(wait_ms, lead_ms()))
            if not self._queue and self._time_left_s(wait_ms, lead_ms()) == 0.0:
                self._expired_length = self.length
                self._enqueue(self._tagged_text.expire())
        return self._queue.popleft()

    def _time_left_s(self, wait_ms: float, lead_ms: float) -> float | None:
        """Seconds until buffered text becomes a unit; None if no text is buffered or expiring it gave nothing."""
        if not self._tagged_text.pending.strip() or self._expired_length == self.length:
            return None
        since_ms = 1000 * (self._clock() - self.last_text_s)
        left_ms = max(wait_ms - since_ms, lead_ms - wait_ms)
        return left_ms / 1000 if left_ms > 1e-3 else 0.0

    def take_flushes(self) -> list[Flush]:
        """Empty the queue and return the flush requests in it."""
        flushes = [item for item in self._queue if isinstance(item, Flush)]
        self._queue.clear()
        return flushes


def _settings_of(start: StartUtterance) -> tuple[SpeechSettings, int | None, int | None]:
    return start.settings, start.text_timeout_ms, start.cover_after_ms
