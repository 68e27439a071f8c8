"""Covers the wait for speech: when a filler plays, where it stops, how speech joins it. Knows no engine and no text."""

import asyncio
import math
from collections.abc import Callable

import numpy as np

from intone.server.audio.encoding import Resampler
from intone.server.conversation.audio_chunker import AudioChunker
from intone.server.conversation.context import FillerSettings
from intone.server.domain import Filler, Samples

LEAD_MS = 120.0
"""How far a filler runs ahead of the listener: what was sent cannot be taken back when speech is ready."""

PIECE_MS = 20.0
"""How much of a filler is sent at a time: between two pieces it can still be stopped."""

NEAR_MS = 100.0
"""A cut this near is waited for; with none in reach the sound is faded out where it is."""

FADE_MS = 60.0
SOFTEN_MS = 10.0
"""Fade at a cut, where there is next to no sound."""

LOOK_S = 0.02
"""How often a wait is looked at again."""

REST_MS = 300.0
"""From the end of earlier speech, or of a filler, to the next filler."""


class FillerPlayer:
    """The wait for one unit. `run` plays while nothing is there; `end` stops it the moment speech is ready."""

    def __init__(
        self,
        settings: FillerSettings,
        sender: AudioChunker,
        choose: Callable[[float], tuple[Filler, float] | None],
        clock: Callable[[], float],
    ) -> None:
        """`choose` is given the expected wait in milliseconds and gives a filler and its gain, or None."""
        self._settings, self._sender, self._choose, self._clock = settings, sender, choose, clock
        self._filler: Filler | None = None
        self._samples: Samples = np.zeros(0, np.float32)
        self._sent = 0  # samples of the filler that were sent
        self._earlier_until_s = -math.inf  # earlier speech is heard until then
        self._fillers_s: list[tuple[float, float]] = []  # and each filler from when to when
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it has ended: no filler plays from here on."""
        return self._over

    async def run(self, waiting_since_s: float, expected_ms: float | None) -> None:
        """Play fillers while the wait lasts.

        Args:
            waiting_since_s: when the text was there.
            expected_ms: from then to the first speech; None where nothing is known.
        """
        expected_s = None if expected_ms is None else waiting_since_s + expected_ms / 1000
        while len(self._fillers_s) < self._settings.most:
            while (due_s := self._due_s(waiting_since_s, expected_s)) > self._clock() + 1e-6:
                await asyncio.sleep(min(due_s - self._clock(), LOOK_S))
                if self._over:
                    return
            left_ms = 0.0 if expected_s is None else max(0.0, 1000 * (expected_s - self._clock()))
            chosen = self._choose(left_ms)
            if chosen is None:
                return
            await self._play(*chosen)
            if self._over:
                return

    def _due_s(self, waiting_since_s: float, expected_s: float | None) -> float:
        """When the next filler is due, as things are now: earlier speech may be interrupted while it is waited for."""
        quiet_s = self._sender.quiet_from_s
        due_s = max(waiting_since_s, quiet_s) + self._settings.threshold_ms / 1000
        if expected_s is None or expected_s <= due_s:
            return due_s
        return max(waiting_since_s, quiet_s + REST_MS / 1000)

    async def _play(self, filler: Filler, gain: float) -> None:
        resampler = Resampler(filler.sample_rate_hz, self._sender.rate_hz)
        self._filler, self._sent = filler, 0
        self._samples = resampler.push(filler.samples, last=True) * np.float32(gain)
        self._note_earlier()
        begun_s = max(self._clock(), self._sender.quiet_from_s)
        self._fillers_s.append((begun_s, begun_s))
        step = max(1, self._at(PIECE_MS))
        while not self._over and self._sent < len(self._samples):
            await asyncio.sleep(max(0.0, self._sender.quiet_from_s - LEAD_MS / 1000 - self._clock()))
            if not self._over:
                self._send(self._samples[self._sent : self._sent + step])

    def end(self) -> None:
        """Speech is ready, or will not come: stop at a good place and never play again."""
        if self._over:
            return
        self._over = True
        self._note_earlier()
        if self._filler is not None and self._sent < len(self._samples):
            self._send_ending(self._filler)

    def abandon(self) -> None:
        """Nobody listens any more: stop where it is and never play again."""
        self._over = True

    def _note_earlier(self) -> None:
        """Note how long earlier speech is heard; once there is a filler, the sender's account is of that."""
        if not self._fillers_s:
            self._earlier_until_s = self._sender.quiet_from_s

    def _send_ending(self, filler: Filler) -> None:
        """Send the rest of the filler up to where it may be stopped."""
        least = max(self._sent, self._at(self._settings.min_ms))
        cut = next((place for place in map(self._at, filler.cuts_ms) if place >= least), len(self._samples))
        fade = self._at(SOFTEN_MS)
        if cut - least > self._at(NEAR_MS):
            fade = self._at(FADE_MS)
            cut = least + fade
        rest = self._samples[self._sent : cut]
        if cut < len(self._samples):
            rest = faded_out(rest, fade)
        self._send(rest)

    def _send(self, piece: Samples) -> None:
        assert self._filler is not None
        self._sender.filler(piece, self._filler)
        self._sent += len(piece)
        self._fillers_s[-1] = (self._fillers_s[-1][0], self._sender.quiet_from_s)

    def covered_ms(self, since_s: float, until_s: float) -> float:
        """How much of a span of time something was heard in: earlier speech, or a filler."""
        heard_s = [(-math.inf, self._earlier_until_s), *self._fillers_s]
        return 1000 * sum(max(0.0, min(end, until_s) - max(start, since_s)) for start, end in heard_s)

    def _at(self, position_ms: float) -> int:
        return round(self._sender.rate_hz * position_ms / 1000)


def faded_out(samples: Samples, length: int) -> Samples:
    """A copy whose last `length` samples fall to silence along a quarter of a cosine: equal power."""
    faded: Samples = samples.copy()
    length = min(length, len(faded))
    if length:
        faded[len(faded) - length :] *= np.cos(0.5 * np.pi * np.arange(1, length + 1) / length).astype(np.float32)
    return faded
