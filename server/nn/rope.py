"""Rotary position embedding with the per-frequency scaling of LongRoPE.

Papers: RoFormer (arXiv 2104.09864), LongRoPE (arXiv 2402.13753).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RopeTable:
    """Rotations for positions 0, 1, 2, …

    Attributes:
        cos: `[positions, 1, head_dim]`, float32; both halves hold the same angles.
        sin: the same shape; the first half is negated, because it multiplies the second half of the input.
    """

    cos: Tensor
    sin: Tensor

    def at(self, start: int, stop: int) -> "RopeTable":
        """Rotations for positions `start` to `stop - 1`."""
        return RopeTable(self.cos[start:stop], self.sin[start:stop])

    def gather(self, positions: Tensor) -> "RopeTable":
        """Rotations `[B, 1, 1, head_dim]` for one position per row of a batch, `positions` `[B]`."""
        return RopeTable(self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1))

    def rotate(self, x: Tensor) -> Tensor:
        """Rotate queries or keys `[B, T, heads, head_dim]` in float32; the result has the dtype of `x`."""
        wide = x.float()
        first, second = wide.chunk(2, dim=-1)
        turned = torch.addcmul(wide * self.cos, torch.cat((second, first), dim=-1), self.sin)
        return turned.to(x.dtype)


def longrope_table(
    positions: int, head_dim: int, theta: float, factors: Sequence[float], amplitude: float, device: torch.device
) -> RopeTable:
    """Angles position / factor_j · theta^(-2j / head_dim) for `positions` positions; cos and sin times `amplitude`."""
    steps = torch.arange(positions, dtype=torch.float32, device=device)
    frequencies = 1.0 / (theta ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim))
    stretch = 1.0 / torch.tensor(factors, dtype=torch.float32, device=device)
    angles = torch.outer(steps, stretch) * frequencies  # [positions, head_dim / 2]
    cos, sin = angles.cos() * amplitude, angles.sin() * amplitude
    return RopeTable(torch.cat((cos, cos), dim=-1).unsqueeze(1), torch.cat((-sin, sin), dim=-1).unsqueeze(1))


def longrope_amplitude(max_positions: int, original_positions: int) -> float:
    """LongRoPE's factor of cos and sin; 1 for a model used at the length it was trained for."""
    return math.sqrt(1 + math.log(max_positions / original_positions) / math.log(original_positions))
