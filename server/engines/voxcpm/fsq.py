"""Finite scalar quantisation: what the base model says of an audio position, rounded to few levels.

arXiv 2309.15505.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.voxcpm.backend import Backend, Linear
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import Shapes, Weights


@dataclass(frozen=True, slots=True)
class ScalarQuantizer:
    """Down to `fsq_dim` numbers in [-1, 1], each rounded to a multiple of 1 / scale (ties to even), and up again."""

    down: Linear  # H to Q
    up: Linear  # Q to H
    scale: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """`[N, H]` → `[N, H]`."""
        codes = torch.round(torch.tanh(self.down(hidden)) * self.scale) / self.scale
        return self.up(codes)


def fsq_shapes(config: VoxCPMConfig) -> Shapes:
    """Published names and shapes."""
    hidden, inner = config.base.hidden, config.fsq_dim
    return {
        "in_proj.weight": (inner, hidden),
        "in_proj.bias": (inner,),
        "out_proj.weight": (hidden, inner),
        "out_proj.bias": (hidden,),
    }


def build_fsq(config: VoxCPMConfig, weights: Weights, kit: Backend) -> ScalarQuantizer:
    """From the tensors of `fsq_shapes`."""
    return ScalarQuantizer(kit.named(weights, "in_proj"), kit.named(weights, "out_proj"), config.fsq_scale)
