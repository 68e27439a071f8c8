"""Untrained tensors for modules that need no care of their own. Knows names and shapes only."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

KEPT_AT_ONE = ("weight", "gamma", "running_var")
SMALL = 0.02


def random_like(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, Tensor]:
    """Norms and variances are ones, other vectors small; what has more dimensions keeps the variance of its input."""
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        if len(shape) == 1 and name.endswith(KEPT_AT_ONE):
            tensors[name] = torch.ones(shape)
        else:
            scale = SMALL if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
            tensors[name] = scale * torch.randn(shape, generator=generator)
    return tensors
