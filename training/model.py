"""Trainable VoxCPM without its VAE, with the parameter names of published checkpoints.

Computes the same as `intone.server.engines.voxcpm` for version 1, on batches of whole sequences and with gradients.
Source: VoxCPM, arXiv 2509.24650.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.local_dit import SLOWEST_PERIOD, TIME_SCALE
from intone.server.engines.voxcpm.sizes import random_tensors
from training.transformer import Stack


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Outputs of the language models from which each of N patches is predicted.

    Attributes:
        base, residual: `[N, H]`, of the base and the residual language model.
        attention: `[N, 2, S]`, attention weights of two heads of the base model over the S positions of the sequence.
    """

    base: Tensor
    residual: Tensor
    attention: Tensor


class LocalEncoder(nn.Module):
    """Encodes a patch as one vector."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        hidden = config.local_encoder.hidden
        self.special_token = nn.Parameter(torch.zeros(1, 1, 1, hidden))
        self.in_proj = nn.Linear(config.latent_dim, hidden)
        self.encoder = Stack(config.local_encoder, config.patch_frames + 1)

    def forward(self, patches: Tensor) -> Tensor:
        """`[N, P, D]` → `[N, H]`."""
        frames = self.in_proj(patches)
        token = self.special_token[0].expand(frames.shape[0], -1, -1).to(frames.dtype)
        result: Tensor = self.encoder(torch.cat((token, frames), 1), causal=False)[:, 0]
        return result


class TimeNet(nn.Module):
    """MLP over the sinusoidal embedding of a flow time."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, embedding: Tensor) -> Tensor:
        """`[N, H]` → `[N, H]`."""
        result: Tensor = self.linear_2(functional.silu(self.linear_1(embedding)))
        return result


class Estimator(nn.Module):
    """Local diffusion transformer over the tokens [condition + time, previous patch, noisy patch]."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        hidden, latent = config.local_dit.hidden, config.latent_dim
        self.frames = config.patch_frames
        self.in_proj, self.cond_proj = nn.Linear(latent, hidden), nn.Linear(latent, hidden)
        self.out_proj = nn.Linear(hidden, latent)
        self.time_mlp, self.delta_time_mlp = TimeNet(hidden), TimeNet(hidden)
        self.decoder = Stack(config.local_dit, 2 * config.patch_frames + 1)

    def forward(self, x: Tensor, times: Tensor, condition: Tensor, previous: Tensor) -> Tensor:
        """Velocities `[N, P, D]`, float32.

        Args:
            x: noisy patches, `[N, P, D]`.
            times: `[N]`, 1 for noise, 0 for speech.
            condition: `[N, H]`.
            previous: the patch before each, `[N, P, D]`.
        """
        size = condition.shape[1]
        time, delta = sinusoidal(times, size), sinusoidal(torch.zeros_like(times[:1]), size)
        first = condition + self.time_mlp(time) + self.delta_time_mlp(delta)
        tokens = torch.cat((first.unsqueeze(1), self.cond_proj(previous), self.in_proj(x)), 1)
        result: Tensor = self.out_proj(self.decoder(tokens, causal=False)[:, -self.frames :])
        return result.float()


class FlowDecoder(nn.Module):
    """The module `feat_decoder` of published checkpoints."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        self.estimator = Estimator(config)


class Quantizer(nn.Module):
    """Finite scalar quantization (arXiv 2309.15505) with the straight-through gradient."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        self.scale = config.fsq_scale
        self.in_proj = nn.Linear(config.base.hidden, config.fsq_dim)
        self.out_proj = nn.Linear(config.fsq_dim, config.base.hidden)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[N, H]` → `[N, H]`."""
        exact = torch.tanh(self.in_proj(hidden).float())
        rounded = torch.round(exact * self.scale) / self.scale
        result: Tensor = self.out_proj(exact + (rounded - exact).detach())
        return result


class BaseModel(Stack):
    """The base language model; its checkpoint tensors include the token embedding."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__(config.base, config.max_length)
        self.embed_tokens = nn.Embedding(config.vocabulary, config.base.hidden)


class VoxCPM(nn.Module):
    """The complete model without the VAE; version 1 only.

    Args:
        seed: of the initial weights.
    """

    def __init__(self, config: VoxCPMConfig, seed: int = 0) -> None:
        super().__init__()
        assert config.version == 1 and not config.mean_mode, "only version 1 without mean mode can be trained"
        hidden, inner = config.base.hidden, config.local_dit.hidden
        self.config = config
        self.base_lm = BaseModel(config)
        self.residual_lm = Stack(config.residual, config.max_length)
        self.feat_encoder, self.feat_decoder = LocalEncoder(config), FlowDecoder(config)
        self.fsq_layer = Quantizer(config)
        self.enc_to_lm_proj = nn.Linear(config.local_encoder.hidden, hidden)
        self.lm_to_dit_proj, self.res_to_dit_proj = nn.Linear(hidden, inner), nn.Linear(hidden, inner)
        self.stop_proj, self.stop_head = nn.Linear(hidden, hidden), nn.Linear(hidden, 2, bias=False)
        self.load_state_dict(random_tensors(config, seed))

    def hidden_states(self, tokens: Tensor, positions: Tensor, patches: Tensor) -> HiddenStates:
        """Run both language models on whole sequences (teacher forcing); the states that predict each patch.

        Args:
            tokens: `[B, S]`, text and `AUDIO_START`; 0 at audio and padding positions.
            positions: `[N]`, index of each patch in the flattened `B · S`.
            patches: `[N, P, D]`.
        """
        embedded = self.enc_to_lm_proj(self.feat_encoder(patches)).float()  # [N, H]
        text = self.base_lm.embed_tokens(tokens)  # [B, S, H]
        x = text.flatten(0, 1).index_copy(0, positions, embedded).view_as(text)
        attention: list[Tensor] = []
        coarse = self.base_lm(x, causal=True, attention=attention).float().flatten(0, 1)
        coarse = coarse.index_copy(0, positions, self.fsq_layer(coarse[positions]).float())
        residual_in = coarse.index_add(0, positions, embedded)
        fine = self.residual_lm(residual_in.view_as(text), causal=True).flatten(0, 1)
        previous = positions - 1
        weights = torch.stack([of_layer.flatten(0, 1)[previous] for of_layer in attention], 1)
        return HiddenStates(coarse[previous], fine[previous], weights)

    def condition(self, hidden: HiddenStates) -> Tensor:
        """Condition of the flow: `[N, hidden size of the local DiT]`."""
        result: Tensor = self.lm_to_dit_proj(hidden.base) + self.res_to_dit_proj(hidden.residual)
        return result

    def velocity(self, x: Tensor, times: Tensor, condition: Tensor, previous: Tensor) -> Tensor:
        """See `Estimator.forward`. A `condition` of zeros gives the unconditional velocity."""
        result: Tensor = self.feat_decoder.estimator(x, times, condition, previous)
        return result

    def stop_logits(self, hidden: HiddenStates) -> Tensor:
        """Logits of continue and stop: `[N, 2]`, float32."""
        logits: Tensor = self.stop_head(functional.silu(self.stop_proj(hidden.base)))
        return logits.float()


def sinusoidal(times: Tensor, size: int) -> Tensor:
    """Sinusoidal embedding of `times` `[N]`: `[N, size]`, float32."""
    half = size // 2
    rates = torch.exp(torch.arange(half, device=times.device) * (-math.log(SLOWEST_PERIOD) / (half - 1)))
    angles = TIME_SCALE * times.float().unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), 1)
