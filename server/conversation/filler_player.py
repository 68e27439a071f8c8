"""Plays fillers during the wait for a unit: when one starts, where it stops, and how speech follows it."""

import asyncio
import math
from collections.abc import Callable

import numpy as np

from intone.server.audio.encoding import Resampler
from intone.server.conversation.audio_chunker import AudioChunker
from intone.server.conversation.context import FillerSettings
from intone.server.domain import Filler, Samples

FILLER_LEAD_MS = 120.0
"""How far a filler is sent ahead of playback. What was sent cannot be taken back when speech is ready."""

PIECE_MS = 20.0
"""A filler is sent in pieces of this length; it can be stopped between two of them."""

MAX_CUT_DISTANCE_MS = 100.0
"""A filler plays on to a cut position that is this close; otherwise it fades out where it is."""

FADE_OUT_MS = 60.0
CUT_FADE_MS = 10.0
"""Fade at a cut position, which is nearly silent already."""

RECHECK_S = 0.02
"""Interval at which a waiting player checks again when its filler is due."""

GAP_BEFORE_FILLER_MS = 300.0
"""Silence from earlier speech, or from a filler, to the next filler."""


class FillerPlayer:
    """Fillers before one unit. `run` plays them as long as the unit has no audio; `finish` or `abort` ends them."""

    def __init__(
        self,
        settings: FillerSettings,
        chunker: AudioChunker,
        choose: Callable[[float], tuple[Filler, float] | None],
        clock: Callable[[], float],
    ) -> None:
        """`choose` maps the predicted wait in milliseconds to a filler and its gain; None for no filler."""
        self._settings, self._chunker, self._choose, self._clock = settings, chunker, choose, clock
        self._filler: Filler | None = None
        self._samples: Samples = np.zeros(0, np.float32)
        self._sent_samples = 0  # of the current filler
        self._earlier_until_s = -math.inf  # when the audio before the first filler ends
        self._spans_s: list[tuple[float, float]] = []  # when each filler plays, from and to
        self._ended = False
        self._held = False

    @property
    def ended(self) -> bool:
        """Whether no more fillers will play."""
        return self._ended

    async def run(self, waiting_since_s: float, expected_ms: float | None, threshold_ms: float | None = None) -> None:
        """Play fillers until `finish`, `abort` or `hold` is called.

        Args:
            waiting_since_s: when the wait began: when the unit's text was complete, or the utterance was started.
            expected_ms: predicted time from then to the first speech; None if unknown.
            threshold_ms: silence that needs no filler; None for that of the settings.
        """
        self._held = False
        threshold_s = (self._settings.threshold_ms if threshold_ms is None else threshold_ms) / 1000
        expected_s = None if expected_ms is None else waiting_since_s + expected_ms / 1000
        while len(self._spans_s) < self._settings.max_in_a_row:
            while (due_s := self._due_s(waiting_since_s, expected_s, threshold_s)) > self._clock() + 1e-6:
                await asyncio.sleep(min(due_s - self._clock(), RECHECK_S))
                if self._ended or self._held:
                    return
            left_ms = 0.0 if expected_s is None else max(0.0, 1000 * (expected_s - self._clock()))
            chosen = self._choose(left_ms)
            if chosen is None:
                return
            await self._play(*chosen)
            if self._ended or self._held:
                return

    def hold(self) -> None:
        """Start no further filler until `run` is called again; the current one plays on."""
        self._held = True

    def _due_s(self, waiting_since_s: float, expected_s: float | None, threshold_s: float) -> float:
        """When the next filler is due; may change while earlier speech plays, which may be interrupted."""
        silent_s = self._chunker.silent_from_s
        due_s = max(waiting_since_s, silent_s) + threshold_s
        if expected_s is None or expected_s <= due_s:
            return due_s
        return max(waiting_since_s, silent_s + GAP_BEFORE_FILLER_MS / 1000)

    async def _play(self, filler: Filler, gain: float) -> None:
        resampler = Resampler(filler.sample_rate_hz, self._chunker.rate_hz)
        self._filler, self._sent_samples = filler, 0
        self._samples = resampler.push(filler.samples, last=True) * np.float32(gain)
        self._note_earlier_audio()
        start_s = max(self._clock(), self._chunker.silent_from_s)
        self._spans_s.append((start_s, start_s))
        step = max(1, self._samples_in(PIECE_MS))
        while not self._ended and self._sent_samples < len(self._samples):
            await asyncio.sleep(max(0.0, self._chunker.silent_from_s - FILLER_LEAD_MS / 1000 - self._clock()))
            if not self._ended:
                self._send(self._samples[self._sent_samples : self._sent_samples + step])

    def finish(self) -> None:
        """Speech is ready, or will not come: let the current filler play to a good place to stop, then no more."""
        if self._ended:
            return
        self._ended = True
        self._note_earlier_audio()
        if self._filler is not None and self._sent_samples < len(self._samples):
            self._send_ending(self._filler)

    def abort(self) -> None:
        """The utterance was stopped: send nothing more."""
        self._ended = True

    def _note_earlier_audio(self) -> None:
        """Note when earlier audio ends. From the first filler on, the chunker's time includes the fillers."""
        if not self._spans_s:
            self._earlier_until_s = self._chunker.silent_from_s

    def _send_ending(self, filler: Filler) -> None:
        """Send the filler up to its next cut position, or faded out if none is close."""
        earliest = max(self._sent_samples, self._samples_in(self._settings.min_ms))
        cuts = map(self._samples_in, filler.cuts_ms)
        cut = next((position for position in cuts if position >= earliest), len(self._samples))
        fade = self._samples_in(CUT_FADE_MS)
        if cut - earliest > self._samples_in(MAX_CUT_DISTANCE_MS):
            fade = self._samples_in(FADE_OUT_MS)
            cut = earliest + fade
        rest = self._samples[self._sent_samples : cut]
        if cut < len(self._samples):
            rest = faded_out(rest, fade)
        self._send(rest)

    def _send(self, piece: Samples) -> None:
        assert self._filler is not None
        self._chunker.filler(piece, self._filler)
        self._sent_samples += len(piece)
        self._spans_s[-1] = (self._spans_s[-1][0], self._chunker.silent_from_s)

    def covered_ms(self, since_s: float, until_s: float) -> float:
        """For how much of a time span earlier speech or a filler was playing."""
        spans_s = [(-math.inf, self._earlier_until_s), *self._spans_s]
        return 1000 * sum(max(0.0, min(end, until_s) - max(start, since_s)) for start, end in spans_s)

    def _samples_in(self, duration_ms: float) -> int:
        return round(self._chunker.rate_hz * duration_ms / 1000)


def faded_out(samples: Samples, length: int) -> Samples:
    """A copy whose last `length` samples fade to zero along a quarter cosine (equal power)."""
    faded: Samples = samples.copy()
    length = min(length, len(faded))
    if length:
        faded[len(faded) - length :] *= np.cos(0.5 * np.pi * np.arange(1, length + 1) / length).astype(np.float32)
    return faded
