"""Levels of audio over short frames."""

import numpy as np
from numpy.typing import NDArray

from intone.server.domain import Samples


def frame_length(rate_hz: int, frame_ms: int) -> int:
    """Samples of a frame, at least 1."""
    return max(1, frame_ms * rate_hz // 1000)


def frame_levels(samples: Samples, rate_hz: int, frame_ms: int) -> NDArray[np.float64]:
    """RMS level of each frame of `[T]`, of which the last may be shorter. `[frames]`"""
    length = frame_length(rate_hz, frame_ms)
    starts = np.arange(0, len(samples), length)
    if len(starts) == 0:
        return np.zeros(0)
    energy = np.add.reduceat(samples.astype(np.float64) ** 2, starts)
    levels: NDArray[np.float64] = np.sqrt(energy / np.minimum(length, len(samples) - starts))
    return levels
