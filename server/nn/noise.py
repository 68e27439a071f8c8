"""Counter-based Gaussian noise: the same numbers for the same key and place, whatever the batch, chunking or device.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), Box-Muller.
"""

import numpy as np

from intone.server.domain import Samples

TWO_TO_32 = 2.0**32
NUMBERS_PER_COUNT = 8
"""Four words of 64 bits, two numbers each."""


def normals(key: tuple[int, int], first_count: int, counts: int) -> Samples:
    """Standard normal numbers `[counts · 8]`, float32, of the stream named by two words of 64 bits.

    Word i from counter `first_count + 1` on gives numbers 2i and 2i + 1: its low half is the radius, its high half the
    angle.
    """
    start = np.array([first_count, 0, 0, 0], dtype=np.uint64)
    generator = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=start)
    words = generator.random_raw(counts * NUMBERS_PER_COUNT // 2)
    low, high = (words & np.uint64(0xFFFFFFFF)).astype(np.float64), (words >> np.uint64(32)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((low + 1.0) / TWO_TO_32))  # the logarithm never sees zero
    angle = 2.0 * np.pi / TWO_TO_32 * high
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).reshape(-1).astype(np.float32)
