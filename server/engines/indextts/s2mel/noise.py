"""The initial noise of mel frames; a frame's noise does not depend on how a unit is chunked."""

from intone.server.domain import Samples
from intone.server.nn.noise import NUMBERS_PER_COUNT, normals

MEL_STREAM = 0x6D656C
"""Second word of the Philox key: separates this noise from other uses of a unit's seed."""


def frame_noise(seed: int, first: int, count: int, bands: int) -> Samples:
    """Standard normal numbers `[count, bands]`, float32, for frames `first` to `first + count - 1` of a unit.

    `seed` is 0 to 2**64 - 1. Frame f uses the counters from f · ⌈bands / 8⌉ on.
    """
    counts = -(-bands // NUMBERS_PER_COUNT)
    numbers = normals((seed, MEL_STREAM), first * counts, count * counts)
    return numbers.reshape(count, counts * NUMBERS_PER_COUNT)[:, :bands]
