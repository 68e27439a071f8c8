"""The noise that mel frames are made from; it belongs to a frame, however speech is cut."""

from intone.server.domain import Samples
from intone.server.nn.noise import NUMBERS_PER_COUNT, normals

STREAM = 0x6D656C
"""Second word of the key: keeps this noise apart from other uses of a unit's seed."""


def frame_noise(seed: int, first: int, count: int, bands: int) -> Samples:
    """Standard normal numbers `[count, bands]`, float32, for frames `first` to `first + count - 1` of a unit.

    `seed` is 0 to 2**64 - 1. Frame f owns the counts from f·⌈bands / 8⌉ on.
    """
    counts = -(-bands // NUMBERS_PER_COUNT)
    numbers = normals((seed, STREAM), first * counts, count * counts)
    return numbers.reshape(count, counts * NUMBERS_PER_COUNT)[:, :bands]
