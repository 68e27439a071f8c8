"""Linear layers, by torch and packed, layer norms and sinusoidal positions as values. Knows nothing of models."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

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
class Gated:
    """`SiLU(x @ gateᵀ) · (x @ upᵀ)`; weight `[2 · out, in]`, gate first."""

    weight: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        gate, up = functional.linear(x, self.weight).chunk(2, dim=-1)
        return functional.silu(gate) * up


Projection = Callable[[Tensor], Tensor]
"""`[..., in]` → `[..., out]`."""


def projection(layer: Linear | Gated, packed: str) -> Projection:
    """The layer itself for "fp32", where torch is as fast; for "int8" and "bf16" its native form, on the CPU."""
    if packed == "fp32":
        return layer
    bias = layer.bias if isinstance(layer, Linear) else None
    native = ensure_built().Linear(layer.weight, bias, type=packed, gated=isinstance(layer, Gated))

    def project(x: Tensor) -> Tensor:
        y: Tensor = native(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        return y

    return project


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
