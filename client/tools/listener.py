"""What a listener hears: audio played in real time as it comes, in order; holes are silence. Knows no device."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import dropwhile, pairwise

import numpy as np

from intone.client.audio import Samples
from intone.client.events import Audio

HOLE_S = 0.005
"""Silence inside an utterance up to this long is the rounding of clocks, no hole."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk, or the part of it that was played: seconds on the clock of the events."""

    start_s: float
    end_s: float
    chunk: Audio

    @property
    def samples(self) -> Samples:
        """What was played of it."""
        return self.chunk.samples[: round((self.end_s - self.start_s) * self.chunk.format.sample_rate_hz)]


@dataclass(frozen=True, slots=True)
class Hole:
    """Playback ran dry inside an utterance."""

    start_s: float
    end_s: float
    utterance_id: str


class Listener:
    """A player in real time, as arithmetic on arrivals: nothing runs, so it is exact on every clock.

    Args:
        clock: seconds, that of the events.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: list[Heard] = []
        self._dropped: set[str] = set()
        self._late_s: dict[str, float] = {}

    def take(self, chunk: Audio) -> bool:
        """A chunk has come; whether it is played: of an utterance that was dropped it is thrown away."""
        if chunk.utterance_id in self._dropped:
            self._late_s[chunk.utterance_id] = self._late_s.get(chunk.utterance_id, 0.0) + chunk.duration_s
            return False
        start_s = max(chunk.received_s, self.end_s)
        self._heard.append(Heard(start_s, start_s + chunk.duration_s, chunk))
        return True

    def drop(self, utterance_id: str) -> None:
        """The user has interrupted: what was not played yet of the utterance that came last never will be."""
        now_s = self._clock()
        self._dropped.add(utterance_id)
        kept = []
        for heard in self._heard:
            if heard.chunk.utterance_id != utterance_id or heard.end_s <= now_s:
                kept.append(heard)
            elif heard.start_s < now_s:
                kept.append(replace(heard, end_s=now_s))
        self._heard = kept

    @property
    def end_s(self) -> float:
        """When all that has come will have been played; minus infinity before the first chunk."""
        return self._heard[-1].end_s if self._heard else -np.inf

    @property
    def played_ms(self) -> int:
        """Of the stream's audio, what has been played by now; what was dropped does not count."""
        return int(1000 * self._played_s(self._heard))

    def heard_ms(self, utterance_id: str) -> float:
        """Of one utterance, what has been played by now."""
        return 1000 * self._played_s(heard for heard in self._heard if heard.chunk.utterance_id == utterance_id)

    def late_ms(self, utterance_id: str) -> float:
        """Audio of an utterance that came after it was dropped."""
        return 1000 * self._late_s.get(utterance_id, 0.0)

    def _played_s(self, pieces: Iterable[Heard]) -> float:
        now_s = self._clock()
        return sum(min(heard.end_s, now_s) - heard.start_s for heard in pieces if heard.start_s < now_s)

    def heard(self, utterance_id: str = "") -> tuple[Heard, ...]:
        """What is played of one utterance, or of all, in order."""
        return tuple(heard for heard in self._heard if utterance_id in ("", heard.chunk.utterance_id))

    def holes(self, utterance_id: str) -> tuple[Hole, ...]:
        """Silences for want of audio, in order, from the first speech of an utterance on: before, they are a wait."""
        pieces = list(dropwhile(lambda piece: piece.chunk.kind != "speech", self.heard(utterance_id)))
        pairs = [(before.end_s, after.start_s) for before, after in pairwise(pieces)]
        return tuple(Hole(*pair, utterance_id) for pair in pairs if pair[1] - pair[0] > HOLE_S)

    def recording(self, start_s: float) -> Samples:
        """Everything that is heard from `start_s` on, silences included."""
        if not self._heard:
            return np.zeros(0, np.float32)
        rate_hz = self._heard[0].chunk.format.sample_rate_hz
        audio = np.zeros(max(0, round((self.end_s - start_s) * rate_hz)) + rate_hz, np.float32)
        end = 0
        for heard in self._heard:
            samples = heard.samples
            at = max(end, round((heard.start_s - start_s) * rate_hz))  # rounding never overlaps two chunks
            end = at + len(samples)
            audio[at:end] = samples
        return audio[:end]
