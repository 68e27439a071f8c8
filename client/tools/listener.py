"""A simulated listener: computes what is heard and when, if audio is played in real time as it arrives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import dropwhile, pairwise

import numpy as np

from intone.client.audio import Samples
from intone.client.events import AudioChunk, AudioPosition
from intone.client.latency import Underrun

MIN_UNDERRUN_S = 0.005
"""Shorter gaps between chunks of an utterance are rounding errors of timestamps."""


@dataclass(frozen=True, slots=True)
class HeardChunk:
    """A chunk, or the part of it that was played: seconds on the clock of the events."""

    start_s: float
    end_s: float
    chunk: AudioChunk

    @property
    def duration_s(self) -> float:
        """Duration of the part that was played."""
        return self.end_s - self.start_s

    @property
    def samples(self) -> Samples:
        """The part that was played."""
        return self.chunk.samples[: round(self.duration_s * self.chunk.format.sample_rate_hz)]


class Listener:
    """Computes playback from the arrival times of chunks. Nothing runs, so it is exact on every clock.

    Args:
        clock: the clock of the events, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: list[HeardChunk] = []
        self._dropped: set[str] = set()
        self._late_s: dict[str, float] = {}

    def receive(self, chunk: AudioChunk) -> bool:
        """Queue a chunk that has arrived. Returns False if its utterance was dropped: the chunk is then discarded."""
        if chunk.utterance_id in self._dropped:
            self._late_s[chunk.utterance_id] = self._late_s.get(chunk.utterance_id, 0.0) + chunk.duration_s
            return False
        start_s = max(chunk.received_s, self.end_s)
        self._heard.append(HeardChunk(start_s, start_s + chunk.duration_s, chunk))
        return True

    def drop(self, utterance_id: str) -> None:
        """Discard what has not been played of the latest utterance, because the user has interrupted it."""
        now_s = self._clock()
        self._dropped.add(utterance_id)
        heard: list[HeardChunk] = []
        for part in self._heard:
            if part.chunk.utterance_id != utterance_id or part.end_s <= now_s:
                heard.append(part)
            elif part.start_s < now_s:
                heard.append(replace(part, end_s=now_s))
        self._heard = heard

    @property
    def end_s(self) -> float:
        """When everything that has arrived will have been played; minus infinity before the first chunk."""
        return self._heard[-1].end_s if self._heard else -np.inf

    @property
    def position(self) -> AudioPosition | None:
        """What was played last; None before the first sample."""
        now_s = self._clock()
        part = next((part for part in reversed(self._heard) if part.start_s < now_s), None)
        if part is None:
            return None
        played = round((min(part.end_s, now_s) - part.start_s) * part.chunk.format.sample_rate_hz)
        return AudioPosition(part.chunk.utterance_id, part.chunk.offset_samples + played)

    def heard_ms(self, utterance_id: str) -> float:
        """How much of an utterance's audio has been played by now."""
        return 1000 * self._played_s(part for part in self._heard if part.chunk.utterance_id == utterance_id)

    def late_ms(self, utterance_id: str) -> float:
        """How much audio of an utterance arrived after the utterance was dropped."""
        return 1000 * self._late_s.get(utterance_id, 0.0)

    def _played_s(self, parts: Iterable[HeardChunk]) -> float:
        now_s = self._clock()
        return sum(min(part.end_s, now_s) - part.start_s for part in parts if part.start_s < now_s)

    def heard(self, utterance_id: str = "") -> tuple[HeardChunk, ...]:
        """What is played of one utterance, or of all of them, in order."""
        return tuple(part for part in self._heard if utterance_id in ("", part.chunk.utterance_id))

    def underruns(self, utterance_id: str) -> tuple[Underrun, ...]:
        """Playback underruns of an utterance after its first speech. Before it, silence counts as latency."""
        parts = list(dropwhile(lambda part: part.chunk.kind != "speech", self.heard(utterance_id)))
        gaps = [Underrun(before.end_s, after.start_s) for before, after in pairwise(parts)]
        return tuple(gap for gap in gaps if gap.duration_s > MIN_UNDERRUN_S)

    def recording(self, start_s: float) -> Samples:
        """Everything that is heard from `start_s` on, including silence; shape `[samples]`."""
        if not self._heard:
            return np.zeros(0, np.float32)
        rate_hz = self._heard[0].chunk.format.sample_rate_hz
        audio = np.zeros(max(0, round((self.end_s - start_s) * rate_hz)) + rate_hz, np.float32)
        end = 0
        for part in self._heard:
            samples = part.samples
            start = max(end, round((part.start_s - start_s) * rate_hz))  # rounding must not make chunks overlap
            end = start + len(samples)
            audio[start:end] = samples
        return audio[:end]
