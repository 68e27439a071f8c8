"""Finite scalar quantisation: what the base model says of an audio position, rounded to few levels.

arXiv 2309.15505.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import Shapes, Weights


@dataclass(frozen=True, slots=True)
class ScalarQuantizer:
    """Down to `fsq_dim` numbers in [-1, 1], each rounded to a multiple of 1 / scale (ties to even), and up again."""

    down: tuple[Tensor, Tensor]  # [Q, H], [Q]
    up: tuple[Tensor, Tensor]  # [H, Q], [H]
    scale: int

    def __call__(self, hidden: Tensor) -> Tensor:
        """`[N, H]` → `[N, H]`."""
        codes = torch.round(torch.tanh(functional.linear(hidden, *self.down)) * self.scale) / self.scale
        return functional.linear(codes, *self.up)


def fsq_shapes(config: VoxCPMConfig) -> Shapes:
    """Published names and shapes."""
    hidden, inner = config.base.hidden, config.fsq_dim
    return {
        "in_proj.weight": (inner, hidden),
        "in_proj.bias": (inner,),
        "out_proj.weight": (hidden, inner),
        "out_proj.bias": (hidden,),
    }


def build_fsq(config: VoxCPMConfig, weights: Weights) -> ScalarQuantizer:
    """From the tensors of `fsq_shapes`."""
    return ScalarQuantizer(
        down=(weights["in_proj.weight"], weights["in_proj.bias"]),
        up=(weights["out_proj.weight"], weights["out_proj.bias"]),
        scale=config.fsq_scale,
    )
