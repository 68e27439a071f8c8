"""What is heard where two chunks meet: jumps of samples, and how fast the spectrum changes. Knows samples only.

Used by `indextts_streaming.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]
Values = NDArray[np.float64]

WINDOW, HOP = 512, 128
REACH = (WINDOW + HOP) // 2  # of a change of the spectrum, on either side of its place
NEAR_SAMPLES = 384
"""After a border, where one chunk fades into the next."""

USUAL = 95
"""Percent of the changes elsewhere that are no larger than what is called usual here."""


@dataclass(frozen=True)
class Borders:
    """Of some sounds.

    Attributes:
        jump: the largest difference of neighbouring samples at a border, in parts of the largest of the whole sounds.
        at, elsewhere: spectral flux of frames at borders, and of those that no border is seen in.
        count: of borders.
    """

    jump: float
    at: Values
    elsewhere: Values
    count: int

    @property
    def over_usual(self) -> float:
        """Part of the frames at borders with more flux than `USUAL` percent of the others; 0.05 where there is no
        difference."""
        return float((self.at > np.percentile(self.elsewhere, USUAL)).mean())

    @property
    def largest(self) -> float:
        """The largest flux at a border, in parts of the largest elsewhere."""
        return float(self.at.max() / self.elsewhere.max())


def flux(sound: Sound) -> Values:
    """How much the spectrum changes from one frame to the next, in parts of what is there; `[frames - 1]`.

    Number i is about the samples around `i * HOP + REACH`.
    """
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float64), WINDOW)[::HOP]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1))
    sizes = np.linalg.norm(spectra, axis=1)
    changes: Values = np.linalg.norm(np.diff(spectra, axis=0), axis=1) / (0.5 * (sizes[1:] + sizes[:-1]) + 1e-9)
    return changes


def compare(streamed: Sequence[Sound], borders: Sequence[Sequence[int]], whole: Sequence[Sound]) -> Borders:
    """Sounds that were made in chunks, the numbers of the samples that chunks after the first begin with, and the
    same sounds made whole."""
    jumps, at, elsewhere = [0.0], [], []
    for sound, places in zip(streamed, borders, strict=True):
        steps, changes = np.abs(np.diff(sound)), flux(sound)
        centres = np.arange(len(changes)) * HOP + REACH
        near, untouched = np.zeros(len(changes), bool), np.ones(len(changes), bool)
        for place in places:
            jumps.append(float(steps[place - 1 : place + NEAR_SAMPLES].max()))
            near |= (centres >= place - HOP) & (centres <= place + NEAR_SAMPLES + HOP)
            untouched &= (centres < place - REACH) | (centres > place + NEAR_SAMPLES + REACH)
        at.append(changes[near])
        elsewhere.append(changes[untouched])
    largest = max(float(np.abs(np.diff(sound)).max()) for sound in whole)
    return Borders(max(jumps) / largest, np.concatenate(at), np.concatenate(elsewhere), len(jumps) - 1)
