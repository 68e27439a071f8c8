"""Counter-based Gaussian noise of mel frames: the same numbers for the same seed and frame, however speech is cut.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), Box-Muller.
"""

import numpy as np

from intone.server.domain import Samples

TWO_TO_32 = 2.0**32
STREAM = 0x6D656C  # second word of the key: keeps this noise apart from other uses of a unit's seed
NUMBERS_PER_COUNT = 8  # four words of 64 bits, two numbers each


def frame_noise(seed: int, first: int, count: int, bands: int) -> Samples:
    """Standard normal numbers `[count, bands]`, float32, for frames `first` to `first + count - 1` of a unit.

    `seed` is 0 to 2**64 - 1. Frame f owns the counters from 1 + f·⌈bands / 8⌉ on; word i of them gives its numbers 2i
    and 2i + 1: the low half is the radius, the high half the angle.
    """
    counts = -(-bands // NUMBERS_PER_COUNT)
    start = np.array([first * counts, 0, 0, 0], dtype=np.uint64)
    key = np.array([seed, STREAM], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=start).random_raw(count * counts * NUMBERS_PER_COUNT // 2)
    low, high = (words & np.uint64(0xFFFFFFFF)).astype(np.float64), (words >> np.uint64(32)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((low + 1.0) / TWO_TO_32))  # the logarithm never sees zero
    angle = 2.0 * np.pi / TWO_TO_32 * high
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.reshape(count, counts * NUMBERS_PER_COUNT)[:, :bands].astype(np.float32)
