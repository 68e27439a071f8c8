"""Client-side latency: time to first audio, gaps, real-time factor, and underruns of a simulated player."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from intone.client.events import AudioChunk

AUDIBLE_PEAK = 0.001
"""A chunk whose peak is below this (-60 dBFS) counts as silent."""

CONTINUITY_THRESHOLD_S = 0.1
"""An underrun up to this long is taken for a pause in the speech."""


@dataclass(frozen=True, slots=True)
class Underrun:
    """A time in which playback had nothing to play, in seconds of the clock of the events."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class SimulatedPlayback:
    """A player that starts at the first arrival and waits whenever it runs out of audio.

    Attributes:
        starts_s: when each arrival starts to play.
        underruns: waits in between, in order.
        end_s: when the last arrival has been played.
    """

    starts_s: tuple[float, ...]
    underruns: tuple[Underrun, ...]
    end_s: float

    @property
    def underrun_s(self) -> float:
        """Total duration of the underruns."""
        return sum(underrun.duration_s for underrun in self.underruns)

    @property
    def continuous(self) -> bool:
        """Whether no underrun is longer than `CONTINUITY_THRESHOLD_S`."""
        return all(underrun.duration_s <= CONTINUITY_THRESHOLD_S for underrun in self.underruns)


def simulate_playback(arrivals: Sequence[tuple[float, float]]) -> SimulatedPlayback:
    """Play (arrival time, duration) pairs, in seconds, in real time."""
    starts_s: list[float] = []
    underruns: list[Underrun] = []
    end_s = arrivals[0][0] if arrivals else 0.0
    for arrival_s, duration_s in arrivals:
        if arrival_s > end_s:
            underruns.append(Underrun(end_s, arrival_s))
        starts_s.append(max(end_s, arrival_s))
        end_s = starts_s[-1] + duration_s
    return SimulatedPlayback(tuple(starts_s), tuple(underruns), end_s)


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one utterance, measured at the client. None means not applicable.

    All times count from the moment the first text delta was sent. If the text is written slowly, they include the time
    until its first unit is complete: this is what a caller waits for. The server's own TTFA starts when the delta that
    completes the unit arrives.

    Attributes:
        ttfa_ms: time to first audio: until the first audible chunk of speech (`AUDIBLE_PEAK`) was received.
        filler_ttfa_ms: the same, to the first audible filler.
        first_chunk_ms: until the first chunk of any kind was received, audible or not.
        gaps_ms: times between the receipts of consecutive chunks.
        rtf: time to the last receipt ÷ duration of the audio. Near 1 when a lead limit holds the server back.
        audio_ms: duration of the audio.
        underrun_s: silence that a player which starts at the first receipt would have to insert.
        continuous: whether no underrun is longer than `CONTINUITY_THRESHOLD_S`.
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
        """Mean gap."""
        return sum(self.gaps_ms) / len(self.gaps_ms) if self.gaps_ms else None

    @property
    def gap_max_ms(self) -> float | None:
        """Longest gap."""
        return max(self.gaps_ms, default=None)


def measure_latency(first_text_s: float | None, chunks: Sequence[AudioChunk]) -> Latency:
    """Measure the chunks of one utterance.

    Args:
        first_text_s: when its first text was sent; None if none was.
        chunks: all its chunks, in order.
    """

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


def is_audible(chunk: AudioChunk) -> bool:
    """Whether the peak of the chunk reaches `AUDIBLE_PEAK`."""
    return bool(chunk.data) and float(np.abs(chunk.samples).max()) >= AUDIBLE_PEAK


def _first_audible_s(chunks: Sequence[AudioChunk], kind: str) -> float | None:
    return next((chunk.received_s for chunk in chunks if chunk.kind == kind and is_audible(chunk)), None)
