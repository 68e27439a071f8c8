"""Linear layers, layer norms and sinusoidal positions as values. Knows nothing of models."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.weights import Weights

NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weightᵀ + bias`; weight `[out, in]`, bias `[out]` or None."""

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def read(cls, weights: Weights, name: str, bias: bool = True) -> "Linear":
        """From `name.weight`, which may have trailing dimensions of 1, and `name.bias`."""
        return cls(weights[f"{name}.weight"].flatten(1), weights[f"{name}.bias"] if bias else None)

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Norm over the last dimension."""

    weight: Tensor
    bias: Tensor
    eps: float = NORM_EPS

    @classmethod
    def read(cls, weights: Weights, name: str, eps: float = NORM_EPS) -> "LayerNorm":
        """From `name.weight` and `name.bias`."""
        return cls(weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., D]` → `[..., D]`."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def sinusoids(positions: int, dim: int, device: torch.device) -> Tensor:
    """Position embedding of "Attention is all you need", sines and cosines interleaved: `[positions, dim]`."""
    frequencies = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).to(device)
