"""Finite scalar quantization (arXiv 2309.15505) of the base model's hidden states at audio positions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.voxcpm.backend import Backend, Linear
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import Weights


@dataclass(frozen=True, slots=True)
class ScalarQuantizer:
    """Projects to `fsq_dim` numbers in [-1, 1], rounds to multiples of 1 / scale, ties to even, and projects back."""

    down: Linear  # H to Q
    up: Linear  # Q to H
    scale: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """`[N, H]` → `[N, H]`."""
        codes = torch.round(torch.tanh(self.down(hidden)) * self.scale) / self.scale
        return self.up(codes)


def build_fsq(config: VoxCPMConfig, weights: Weights, backend: Backend) -> ScalarQuantizer:
    """From the tensors `in_proj` and `out_proj`."""
    hidden, inner = config.base.hidden, config.fsq_dim
    down, up = backend.read(weights, "in_proj", (inner, hidden)), backend.read(weights, "out_proj", (hidden, inner))
    return ScalarQuantizer(down, up, config.fsq_scale)
