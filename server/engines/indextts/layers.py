"""Layers shared by the IndexTTS modules: linear, gated, layer norm, sinusoidal positions."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.weights import Shape, Weights

NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Linear:
    """`x @ weightᵀ + bias`; weight `[out, in]`, bias `[out]` or None."""

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def read(cls, weights: Weights, name: str, shape: Shape, bias: bool = True) -> "Linear":
        """Read `name.weight` of `shape`, `(out, in)` with optional trailing ones, and `name.bias`."""
        weight = weights.tensor(f"{name}.weight", shape).flatten(1)
        return cls(weight, weights.tensor(f"{name}.bias", shape[:1]) if bias else None)

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Gated:
    """SwiGLU (arXiv 2002.05202): `SiLU(x @ gateᵀ) · (x @ upᵀ)`; weight `[2 · out, in]`, gate first."""

    weight: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        gate, up = functional.linear(x, self.weight).chunk(2, dim=-1)
        return functional.silu(gate) * up


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Layer norm over the last dimension."""

    weight: Tensor
    bias: Tensor
    eps: float = NORM_EPS

    @classmethod
    def read(cls, weights: Weights, name: str, dim: int, eps: float = NORM_EPS) -> "LayerNorm":
        """Read `name.weight` and `name.bias`, `[dim]` each."""
        return cls(*weights.affine(name, (dim,)), eps)

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., dim]` → `[..., dim]`."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def sinusoids(positions: int, dim: int, device: torch.device) -> Tensor:
    """Sinusoidal position embedding (arXiv 1706.03762), sines and cosines interleaved: `[positions, dim]`."""
    frequencies = torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim))
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).to(device)
