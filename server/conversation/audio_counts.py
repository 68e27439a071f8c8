"""Counts of audio that listeners missed or never heard, of all streams of a server, for metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class AudioCounts:
    """Sums since the start of the server.

    Attributes:
        underruns: holes that listeners hear inside of utterances, because text or audio came late.
        underrun_s: their duration.
        unsent_s: audio that engines made and that was dropped before it was sent, in seconds.
        unheard_s: audio that was sent and that the client discarded because of an interrupt, in seconds.
    """

    underruns: int = 0
    underrun_s: float = 0.0
    unsent_s: float = 0.0
    unheard_s: float = 0.0
