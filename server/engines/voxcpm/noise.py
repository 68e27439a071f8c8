"""The noise that the diffusion of a patch starts from."""

from intone.server.domain import Samples
from intone.server.nn.noise import NUMBERS_PER_COUNT, normals


def patch_noise(seed: int, patch: int, count: int) -> Samples:
    """Standard normal numbers `[count]`, float32, for patch `patch` of the unit with `seed` (0 to 2**64 - 1)."""
    return normals((seed, patch), 0, -(-count // NUMBERS_PER_COUNT))[:count]
