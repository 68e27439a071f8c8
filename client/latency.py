"""What a listener would notice, measured where the audio arrives. Knows arrival times, nothing of calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intone.client.events import Audio

AUDIBLE_PEAK = 0.001
"""A chunk whose largest sample is under this (-60 dB of full scale) is silence to a listener."""

CONTINUITY_THRESHOLD_S = 0.1
"""Silence in the middle of speech up to this long passes as a pause."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Playback had nothing to play; `at_s` is on the clock of the arrivals."""

    at_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Playback:
    """A player that starts at the first arrival and waits whenever it runs dry.

    Attributes:
        starts_s: when each arrival begins to play.
        stalls: waits in between, in order.
        end_s: when the last one has been played.
    """

    starts_s: tuple[float, ...]
    stalls: tuple[Stall, ...]
    end_s: float

    @property
    def underrun_s(self) -> float:
        """All stalls together."""
        return sum(stall.length_s for stall in self.stalls)

    @property
    def continuous(self) -> bool:
        """Whether a listener heard no hole: no stall was over `CONTINUITY_THRESHOLD_S`."""
        return all(stall.length_s <= CONTINUITY_THRESHOLD_S for stall in self.stalls)


def simulate_playback(arrivals: Sequence[tuple[float, float]]) -> Playback:
    """Play (arrival second, length in seconds) pairs in real time."""
    starts_s: list[float] = []
    stalls: list[Stall] = []
    end_s = arrivals[0][0] if arrivals else 0.0
    for arrival_s, length_s in arrivals:
        if arrival_s > end_s:
            stalls.append(Stall(end_s, arrival_s - end_s))
        starts_s.append(max(end_s, arrival_s))
        end_s = starts_s[-1] + length_s
    return Playback(tuple(starts_s), tuple(stalls), end_s)


@dataclass(frozen=True, slots=True)
class Latency:
    """Measures of one utterance at the client; None where there was nothing to measure.

    All count from the moment its first piece of text was handed to the stream. A text that is written slowly therefore
    counts until its first unit is complete: this is what a caller waits, where the server's own figure starts at the
    arrival of the piece that completes the unit.

    Attributes:
        ttfa_ms: to the receipt of the first chunk of speech that can be heard (`AUDIBLE_PEAK`).
        filler_ttfa_ms: to the receipt of the first such filler.
        first_chunk_ms: to the receipt of the first chunk of any kind, heard or not.
        gaps_ms: times between the receipts of consecutive chunks.
        rtf: time to the last receipt ÷ length of the audio. A server that is held back by a lead limit reads near 1.
        audio_ms: length of the audio.
        underrun_s: silence that a player starting at the first receipt would have to insert.
        continuous: whether none of it is longer than `CONTINUITY_THRESHOLD_S`.
    """

    ttfa_ms: float | None
    filler_ttfa_ms: float | None
    first_chunk_ms: float | None
    gaps_ms: tuple[float, ...]
    rtf: float | None
    audio_ms: float
    underrun_s: float
    continuous: bool

    @property
    def gap_avg_ms(self) -> float | None:
        """Mean of the gaps."""
        return sum(self.gaps_ms) / len(self.gaps_ms) if self.gaps_ms else None

    @property
    def gap_max_ms(self) -> float | None:
        """The longest gap."""
        return max(self.gaps_ms, default=None)


def measure(first_text_s: float | None, chunks: Sequence[Audio]) -> Latency:
    """Measure the chunks of one utterance; `first_text_s` is None when no text was sent."""

    def since_text_ms(received_s: float | None) -> float | None:
        return None if received_s is None or first_text_s is None else 1000 * (received_s - first_text_s)

    received_s = [chunk.received_s for chunk in chunks]
    playback = simulate_playback([(chunk.received_s, chunk.duration_s) for chunk in chunks])
    audio_ms = 1000 * sum(chunk.duration_s for chunk in chunks)
    last_ms = since_text_ms(received_s[-1] if chunks else None)
    return Latency(
        ttfa_ms=since_text_ms(_first_audible_s(chunks, "speech")),
        filler_ttfa_ms=since_text_ms(_first_audible_s(chunks, "filler")),
        first_chunk_ms=since_text_ms(received_s[0] if chunks else None),
        gaps_ms=tuple(1000 * (later - earlier) for earlier, later in pairwise(received_s)),
        rtf=last_ms / audio_ms if last_ms is not None and audio_ms else None,
        audio_ms=audio_ms,
        underrun_s=playback.underrun_s,
        continuous=playback.continuous,
    )


def largest_first(stage_ms: Mapping[str, float]) -> dict[str, float]:
    """Stages by the time they took: the wire keeps no order."""
    return dict(sorted(stage_ms.items(), key=lambda item: -item[1]))


def audible(chunk: Audio) -> bool:
    """Whether a listener hears anything in it."""
    return bool(chunk.data) and float(np.abs(chunk.samples).max()) >= AUDIBLE_PEAK


def _first_audible_s(chunks: Sequence[Audio], kind: str) -> float | None:
    return next((chunk.received_s for chunk in chunks if chunk.kind == kind and audible(chunk)), None)
