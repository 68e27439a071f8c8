"""One utterance: its text as it arrives, the units it is spoken in, and what of it was heard."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from intone.server.conversation.latency_recorder import LatencyRecorder
from intone.server.conversation.tagged_text import TaggedText
from intone.server.conversation.waiting import wait
from intone.server.domain import SynthesisOptions, Unit, Voice
from intone.server.events import Flush, ResolvedEmotion
from intone.server.text.segmenter import Segmenter

LATIN_MS_PER_CHARACTER = 65.0
CJK_MS_PER_CHARACTER = 220.0
"""Usual pace of speech: used only to place an interruption inside a unit whose audio is not finished."""


@dataclass(slots=True)
class _Stretch:
    """The audio of one unit, in milliseconds of the utterance's audio."""

    unit: Unit
    start_ms: float
    end_ms: float
    finished: bool = False

    def character_at(self, heard_ms: float) -> int:
        """How far into the unit's text the listener is."""
        made_ms = self.end_ms - self.start_ms
        whole_ms = made_ms if self.finished else max(made_ms, usual_ms(self.unit.text))
        if whole_ms <= 0:
            return 0
        return min(len(self.unit.text), int(len(self.unit.text) * (heard_ms - self.start_ms) / whole_ms + 1e-6))


class Utterance:
    """Text goes in with `push`, `flush` and `end`; whoever speaks it takes units out with `take`."""

    def __init__(
        self,
        utterance_id: str,
        voice: Voice,
        feeling: ResolvedEmotion | None,
        options: SynthesisOptions,
        seed: int,
        segmenter: Segmenter,
        clock: Callable[[], float],
    ) -> None:
        """`feeling` is the emotion that the client gave, None where the text decides."""
        self.id, self.voice, self.feeling, self.options, self.seed = utterance_id, voice, feeling, options, seed
        self.account = LatencyRecorder(clock)
        self.text_ended = False
        self.claimed = False  # by a speaker
        self.length = 0
        self._clock, self._cutter = clock, TaggedText(segmenter)
        self._deltas: list[str] = []
        self._pieces: deque[Unit | Flush] = deque()
        self._changed = asyncio.Event()
        self._last_text_s = clock()
        self._expired_length = 0
        self._stretches: list[_Stretch] = []
        self._audio_ms = 0.0  # of everything: speech, fillers, pauses

    @property
    def text(self) -> str:
        """All text received."""
        return "".join(self._deltas)

    # ---- text in

    def push(self, delta: str, end: bool) -> None:
        """More text; `end` when it is the last."""
        self._deltas.append(delta)
        self.length += len(delta)
        self._last_text_s = self._clock()  # before the text is worked on: that time counts too
        self._queue(self._cutter.push(delta))
        if end:
            self.text_ended = True
            self._queue(self._cutter.finish())

    def flush(self, mark: Flush | None) -> None:
        """Speak what is buffered, then give out the mark."""
        self._last_text_s = self._clock()
        if not self.text_ended:
            self._queue(self._cutter.flush())
        if mark is not None:
            self._pieces.append(mark)
            self._changed.set()

    def _queue(self, units: list[Unit]) -> None:
        if self.account.ready_s is None and any(unit.speakable for unit in units):
            self.account.ready_s = self._last_text_s
        self._pieces.extend(units)
        self._changed.set()

    # ---- units out

    async def take(self, wait_ms: float, lead_ms: Callable[[], float]) -> Unit | Flush | None:
        """The next unit or mark, None at the end of the text.

        Text that makes no whole unit is given up after `wait_ms` without more of it, but not while speech runs ahead of
        playback by more than that: there is then time to wait for the rest of the sentence.
        """
        while not self._pieces:
            if self.text_ended:
                return None
            self._changed.clear()
            patience_s = self._patience_s(wait_ms, lead_ms())
            await wait(self._changed, patience_s)
            if not self._pieces and self._patience_s(wait_ms, lead_ms()) == 0.0:
                self._expired_length = self.length
                self._queue(self._cutter.expire())
        return self._pieces.popleft()

    def _patience_s(self, wait_ms: float, lead_ms: float) -> float | None:
        if not self._cutter.pending.strip() or self._expired_length == self.length:
            return None
        since_ms = 1000 * (self._clock() - self._last_text_s)
        left_ms = max(wait_ms - since_ms, lead_ms - wait_ms)
        return left_ms / 1000 if left_ms > 1e-3 else 0.0

    def marks(self) -> list[Flush]:
        """Flush marks not given out yet; the queue is emptied, as nothing more of it will be spoken."""
        found = [piece for piece in self._pieces if isinstance(piece, Flush)]
        self._pieces.clear()
        return found

    # ---- what was heard

    def begin_unit(self, unit: Unit) -> None:
        """The audio of a unit starts here."""
        self._stretches.append(_Stretch(unit, self._audio_ms, self._audio_ms))
        self.account.units += 1

    def grow_unit(self, duration_ms: float) -> None:
        """Audio of the current unit was made."""
        self._audio_ms += duration_ms
        self._stretches[-1].end_ms = self._audio_ms

    def pass_over(self, duration_ms: float) -> None:
        """Audio was made that is no part of the text: a filler or a pause, between two units."""
        self._audio_ms += duration_ms

    def end_unit(self, unit: Unit) -> None:
        """The unit is finished, with or without audio."""
        if not self._stretches or self._stretches[-1].unit is not unit:
            self.begin_unit(unit)
        self._stretches[-1].finished = True

    def unit_audio_ms(self, unit: Unit) -> float:
        """Audio made of a unit so far, over all attempts at it."""
        return sum(stretch.end_ms - stretch.start_ms for stretch in self._stretches if stretch.unit is unit)

    def heard_characters(self, heard_ms: float) -> int:
        """How many characters of the text the listener has heard, cut at a word."""
        text, position = self.text, 0
        for stretch in self._stretches:
            position = stretch.unit.start + stretch.character_at(heard_ms) if heard_ms > stretch.start_ms else position
        return _word_start(text, position)


def usual_ms(text: str) -> float:
    """How long a text usually takes to say."""
    return sum(LATIN_MS_PER_CHARACTER if ord(character) < 0x2E80 else CJK_MS_PER_CHARACTER for character in text)


def _word_start(text: str, position: int) -> int:
    """The last place at or before `position` that cuts no word in two."""
    while 0 < position < len(text) and _inside_word(text[position - 1], text[position]):
        position -= 1
    return position


def _inside_word(before: str, after: str) -> bool:
    return (
        all(character.isalnum() or character in "'’" for character in before + after) and max(before, after) < "\u2e80"
    )
