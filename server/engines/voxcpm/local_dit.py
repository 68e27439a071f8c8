"""LocDiT: the velocity of a noisy patch, given the language models' wish and the patch before. Knows no solver.

Tokens, version 1: [wish + time], the patch before, the noisy patch. Version 2: [base wish], [residual wish], [time],
then the same. All see all; the rows of the noisy patch are the answer.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.backend import TORCH_BACKEND, Backend, Linear
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.weights import Weights

TIME_SCALE = 1000.0
SLOWEST_PERIOD = 10000.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What stays the same through all evaluations for a patch; R rows.

    Attributes:
        wish: `[R, 1 or 2, H]`, from the language models; zeros in rows without guidance.
        before: `[R, P, H]`, the patch before.
    """

    wish: Tensor
    before: Tensor

    def with_unguided(self) -> "Condition":
        """These rows, and after them the same without their wish."""
        wish = torch.cat((self.wish, torch.zeros_like(self.wish)))
        return Condition(wish, self.before.repeat(2, 1, 1))


class LocalDiT:
    """The diffusion transformer and the projections into it; frozen once built."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, kit: Backend = TORCH_BACKEND) -> None:
        inner = weights.scope("feat_decoder.estimator")
        hidden, latent = config.local_dit.hidden, config.latent_dim
        square, between = (hidden, hidden), (hidden, config.base.hidden)
        self.frames = config.patch_frames
        self.split_wish = config.version == 2
        self.stack = kit.stack(config.local_dit, inner.scope("decoder"), 2 * config.patch_frames + 3)
        self.patch_in = inner.affine("in_proj", (hidden, latent))
        self.before_in = kit.read(inner, "cond_proj", (hidden, latent))
        self.patch_out = inner.affine("out_proj", (latent, hidden))
        self.time_mlp = tuple(kit.read(inner, f"time_mlp.linear_{n}", square) for n in (1, 2))
        self.delta_mlp = tuple(kit.read(inner, f"delta_time_mlp.linear_{n}", square) for n in (1, 2))
        base, residual = (weights.affine(name, between) for name in ("lm_to_dit_proj", "res_to_dit_proj"))
        if self.split_wish:
            self.wish_in: tuple[Linear, ...] = (kit.linear(*base), kit.linear(*residual))
        else:  # a sum of two projections is one projection of the two side by side
            self.wish_in = (kit.linear(torch.cat((base[0], residual[0]), dim=1), base[1] + residual[1]),)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.patch_in[0].dtype

    def time_embeddings(self, times: Tensor, lengths: Tensor) -> Tensor:
        """For E evaluations at `times` `[E]` (1 is noise, 0 is speech) of steps of `lengths` `[E]`: `[E, H]`."""
        size = self.stack.config.hidden
        return _mlp(_waves(times, size).to(self.dtype), self.time_mlp) + _mlp(
            _waves(lengths, size).to(self.dtype), self.delta_mlp
        )

    def condition(self, base: Tensor, residual: Tensor, before: Tensor) -> Condition:
        """From the language models' wishes, `[B, their H]` each, and the patches before, `[B, P, D]`."""
        if self.split_wish:
            wishes = zip((base, residual), self.wish_in, strict=True)
            wish = torch.stack([project(hidden) for hidden, project in wishes], dim=1)
        else:
            wish = self.wish_in[0](torch.cat((base, residual), dim=1)).unsqueeze(1)
        return Condition(wish, self.before_in(before.to(self.dtype)))

    def velocity(self, x: Tensor, condition: Condition, time: Tensor) -> Tensor:
        """Noisy patches `[B, P, D]`, one time embedding `[H]` → velocities `[R, P, D]`, float32; R is B or 2B."""
        patch = functional.linear(x.to(self.dtype), *self.patch_in)
        rows = condition.wish.shape[0]
        if rows != patch.shape[0]:
            patch = patch.repeat(2, 1, 1)
        lead = (condition.wish, time.expand(rows, 1, -1)) if self.split_wish else (condition.wish + time,)
        tokens = torch.cat((*lead, condition.before, patch), dim=1)
        count = tokens.shape[1]
        return functional.linear(self.stack.bidirectional(tokens, count - self.frames, count), *self.patch_out).float()


def _mlp(x: Tensor, layers: tuple[Linear, ...]) -> Tensor:
    return layers[1](functional.silu(layers[0](x)))


def _waves(times: Tensor, size: int) -> Tensor:
    """Sines and cosines `[E, size]` of `times` `[E]`, in float32."""
    half = size // 2
    decay = -math.log(SLOWEST_PERIOD) / (half - 1)
    rates = torch.exp(torch.arange(half, dtype=torch.float32, device=times.device) * decay)
    angles = TIME_SCALE * times.unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), dim=-1)
