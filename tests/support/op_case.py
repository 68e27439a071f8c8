"""What the tables of cases of native operations are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Inputs = tuple[Any, ...]
"""Tensors first, then numbers."""


@dataclass(frozen=True)
class Case:
    """Inputs by shape, of variance `scale`²; `dropped` are outputs left out at either end, for windows."""

    shape: tuple[int, ...]
    why: str
    channels_last: bool = False
    scale: float = 1.0
    dropped: tuple[int, int] = (0, 0)
    perf: bool = False


@dataclass(frozen=True)
class Op:
    """An operation.

    Attributes:
        inputs: makes its arguments, numbers in float64, from a case and a generator.
        fixed: dtypes of arguments that do not have that of the others, by index.
        dtypes: of the others.
        changes: indices of arguments that are changed in place.
        exact: whether the result is integers.
        result: dtype of the result, where it is neither integers nor that of the others.
    """

    call: Callable[..., Tensor]
    reference: Callable[..., Tensor]
    inputs: Callable[[Case, torch.Generator], Inputs]
    cases: tuple[Case, ...]
    fixed: dict[int, torch.dtype] = field(default_factory=dict)
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
    changes: tuple[int, ...] = ()
    exact: bool = False
    result: torch.dtype | None = None


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers of variance 1, float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)
