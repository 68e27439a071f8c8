"""Counter-based Gaussian noise: the same numbers for the same seed and place, whatever the batch, chunking or device.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) keyed by (seed, patch), Box-Muller.
"""

import numpy as np

from intone.server.domain import Samples

TWO_TO_32 = 2.0**32


def patch_noise(seed: int, patch: int, count: int) -> Samples:
    """Standard normal numbers `[count]`, float32, for patch number `patch` of the unit with `seed` (0 to 2**64 - 1).

    Word i of the stream, four to a counter and the counter from 1, gives numbers 2i and 2i + 1: its low half is the
    radius, its high half the angle.
    """
    words = np.random.Philox(key=np.array([seed, patch], dtype=np.uint64)).random_raw(-(-count // 2))
    low, high = (words & np.uint64(0xFFFFFFFF)).astype(np.float64), (words >> np.uint64(32)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((low + 1.0) / TWO_TO_32))  # the logarithm never sees zero
    angle = 2.0 * np.pi / TWO_TO_32 * high
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.reshape(-1)[:count].astype(np.float32)
