"""Counter-based Gaussian noise: a number depends on key and counter only, not on batch, chunking or device.

Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), Box-Muller.
"""

import numpy as np

from intone.server.domain import Samples

TWO_TO_32 = 2.0**32
NUMBERS_PER_COUNT = 8
"""Four 64-bit words, two numbers each."""


def normals(key: tuple[int, int], first_count: int, counts: int) -> Samples:
    """Standard normal numbers `[counts · 8]`, float32, of the stream with a key of two 64-bit words.

    Word i from counter `first_count + 1` on gives numbers 2i and 2i + 1: the low half is the radius, the high half the
    angle (Box-Muller).
    """
    start = np.array([first_count, 0, 0, 0], dtype=np.uint64)
    generator = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=start)
    words = generator.random_raw(counts * NUMBERS_PER_COUNT // 2)
    low, high = (words & np.uint64(0xFFFFFFFF)).astype(np.float64), (words >> np.uint64(32)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((low + 1.0) / TWO_TO_32))  # avoids log(0)
    angle = 2.0 * np.pi / TWO_TO_32 * high
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).reshape(-1).astype(np.float32)
