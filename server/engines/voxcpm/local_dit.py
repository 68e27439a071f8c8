"""LocDiT: the velocity of a noisy patch, given the language models' hidden states and the previous patch.

Tokens in version 1: [condition + time], the previous patch, the noisy patch. In version 2: [base], [residual], [time],
then the same. Attention is bidirectional; the output is taken at the rows of the noisy patch.
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
    """The input that is the same in all evaluations for a patch; R rows.

    Attributes:
        lm: `[R, 1 or 2, H]`, from the language models; zeros in unconditional rows.
        previous: `[R, P, H]`, the embedded previous patch.
    """

    lm: Tensor
    previous: Tensor

    def with_unconditional(self) -> "Condition":
        """These rows, followed by the same ones without `lm`, for classifier-free guidance."""
        return Condition(torch.cat((self.lm, torch.zeros_like(self.lm))), self.previous.repeat(2, 1, 1))


class LocalDiT:
    """The diffusion transformer and the projections into it; immutable."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, backend: Backend = TORCH_BACKEND) -> None:
        inner = weights.scope("feat_decoder.estimator")
        hidden, latent = config.local_dit.hidden, config.latent_dim
        square, between = (hidden, hidden), (hidden, config.base.hidden)
        self.frames = config.patch_frames
        self.separate_condition = config.version == 2
        self.stack = backend.stack(config.local_dit, inner.scope("decoder"), 2 * config.patch_frames + 3)
        self.patch_in = inner.affine("in_proj", (hidden, latent))
        self.previous_in = backend.read(inner, "cond_proj", (hidden, latent))
        self.patch_out = inner.affine("out_proj", (latent, hidden))
        self.time_mlp = tuple(backend.read(inner, f"time_mlp.linear_{n}", square) for n in (1, 2))
        self.delta_mlp = tuple(backend.read(inner, f"delta_time_mlp.linear_{n}", square) for n in (1, 2))
        base, residual = (weights.affine(name, between) for name in ("lm_to_dit_proj", "res_to_dit_proj"))
        if self.separate_condition:
            self.lm_in: tuple[Linear, ...] = (backend.linear(*base), backend.linear(*residual))
        else:  # the sum of two projections is one projection of the concatenation
            self.lm_in = (backend.linear(torch.cat((base[0], residual[0]), dim=1), base[1] + residual[1]),)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.patch_in[0].dtype

    def time_embeddings(self, times: Tensor, lengths: Tensor) -> Tensor:
        """Embeddings `[E, H]` of evaluations at `times` `[E]` (1 is noise, 0 is data) with step sizes `[E]`."""
        size = self.stack.config.hidden
        return _mlp(_waves(times, size).to(self.dtype), self.time_mlp) + _mlp(
            _waves(lengths, size).to(self.dtype), self.delta_mlp
        )

    def condition(self, base: Tensor, residual: Tensor, previous: Tensor) -> Condition:
        """From the hidden states of the language models, `[B, H_lm]` each, and the previous patches, `[B, P, D]`."""
        if self.separate_condition:
            pairs = zip((base, residual), self.lm_in, strict=True)
            lm = torch.stack([project(hidden) for hidden, project in pairs], dim=1)
        else:
            lm = self.lm_in[0](torch.cat((base, residual), dim=1)).unsqueeze(1)
        return Condition(lm, self.previous_in(previous.to(self.dtype)))

    def velocity(self, x: Tensor, condition: Condition, time: Tensor) -> Tensor:
        """Noisy patches `[B, P, D]`, one time embedding `[H]` → velocities `[R, P, D]`, float32; R is B or 2B."""
        patch = functional.linear(x.to(self.dtype), *self.patch_in)
        rows = condition.lm.shape[0]
        if rows != patch.shape[0]:
            patch = patch.repeat(2, 1, 1)
        lead = (condition.lm, time.expand(rows, 1, -1)) if self.separate_condition else (condition.lm + time,)
        tokens = torch.cat((*lead, condition.previous, patch), dim=1)
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
