"""Sampling parameters of semantic codes, and the random numbers they are drawn with.

The sampling loop itself is native (`native_gpt.py`); `reference/sampling.py` has it in torch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PENALISED_FROM_THE_START = 1
"""The official loop represents the whole prefix by this id, so this code is penalised before it is ever generated."""

CODE_STREAM = 0x636F646573
"""Second word of the Philox key: separates these numbers from other uses of a unit's seed."""

TWO_TO_MINUS_53 = 2.0**-53


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters; the defaults are the official ones.

    Attributes:
        temperature: divides the scores; 0 is greedy.
        top_k: number of codes kept; 0 keeps all.
        top_p: nucleus sampling (arXiv 1904.09751): the fewest likeliest codes with this total probability are kept.
        penalty: repetition penalty (arXiv 1909.05858): positive scores of codes generated before are divided by it,
            negative ones multiplied.
        min_tokens_to_keep: codes that top-k and top-p always keep.
    """

    temperature: float = 0.8
    top_k: int = 30
    top_p: float = 0.8
    penalty: float = 10.0
    min_tokens_to_keep: int = 1

    def __post_init__(self) -> None:
        assert self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1
        assert self.penalty > 0 and self.min_tokens_to_keep > 0


def uniforms(seed: int, first: int, count: int) -> Tensor:
    """Uniform numbers in [0, 1) for codes `first` to `first + count - 1` of the unit with `seed`: `[count]`, float64.

    Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with one counter per code, so a
    number depends on the seed (0 to 2**64 - 1) and the position only.
    """
    key = np.array([seed, CODE_STREAM], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=np.array([first, 0, 0, 0], np.uint64)).random_raw(4 * count)[::4]
    return torch.from_numpy((words >> np.uint64(11)).astype(np.float64) * TWO_TO_MINUS_53)
