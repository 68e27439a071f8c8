"""VoxCPM without its VAE, with gradients, under the published names. Knows no loss and no data.

The arithmetic of `intone.server.engines.voxcpm`, version 1, on batches of whole sequences; `VoxCPM: Tokenizer-Free TTS`
(arXiv 2509.24650).
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
class Wishes:
    """What the language models want each of N patches to say.

    Attributes:
        base, residual: `[N, H]`.
        looks: `[N, 2, S]`, how much of two heads' attention each of S positions of the sequence has for it.
    """

    base: Tensor
    residual: Tensor
    looks: Tensor


class LocalEncoder(nn.Module):
    """A patch → one vector."""

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
    """Two linear layers over the waves of a time."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, waves: Tensor) -> Tensor:
        """`[N, H]` → the same."""
        result: Tensor = self.linear_2(functional.silu(self.linear_1(waves)))
        return result


class Estimator(nn.Module):
    """The diffusion transformer over [wish + time], the patch before, the noisy patch."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        hidden, latent = config.local_dit.hidden, config.latent_dim
        self.frames = config.patch_frames
        self.in_proj, self.cond_proj = nn.Linear(latent, hidden), nn.Linear(latent, hidden)
        self.out_proj = nn.Linear(hidden, latent)
        self.time_mlp, self.delta_time_mlp = TimeNet(hidden), TimeNet(hidden)
        self.decoder = Stack(config.local_dit, 2 * config.patch_frames + 1)

    def forward(self, x: Tensor, times: Tensor, wish: Tensor, before: Tensor) -> Tensor:
        """Noisy patches `[N, P, D]`, times `[N]`, wishes `[N, H]`, patches before → velocities `[N, P, D]`, float32."""
        size = wish.shape[1]
        now, still = waves(times, size), waves(torch.zeros_like(times[:1]), size)
        first = wish + self.time_mlp(now) + self.delta_time_mlp(still)
        tokens = torch.cat((first.unsqueeze(1), self.cond_proj(before), self.in_proj(x)), 1)
        result: Tensor = self.out_proj(self.decoder(tokens, causal=False)[:, -self.frames :])
        return result.float()


class FlowDecoder(nn.Module):
    """What `feat_decoder` holds."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        self.estimator = Estimator(config)


class Quantizer(nn.Module):
    """Finite scalar quantisation (arXiv 2309.15505); gradients pass as if nothing had been rounded."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__()
        self.scale = config.fsq_scale
        self.in_proj = nn.Linear(config.base.hidden, config.fsq_dim)
        self.out_proj = nn.Linear(config.fsq_dim, config.base.hidden)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[N, H]` → the same."""
        exact = torch.tanh(self.in_proj(hidden).float())
        rounded = torch.round(exact * self.scale) / self.scale
        result: Tensor = self.out_proj(exact + (rounded - exact).detach())
        return result


class BaseModel(Stack):
    """The text's model has the embedding among its tensors."""

    def __init__(self, config: VoxCPMConfig) -> None:
        super().__init__(config.base, config.max_length)
        self.embed_tokens = nn.Embedding(config.vocabulary, config.base.hidden)


class VoxCPM(nn.Module):
    """All of it, with the names of a published checkpoint; version 1 only.

    Args:
        seed: of the first weights.
    """

    def __init__(self, config: VoxCPMConfig, seed: int = 0) -> None:
        super().__init__()
        assert config.version == 1 and not config.mean_mode, "what is trained here is told no length of steps"
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

    def wishes(self, tokens: Tensor, at: Tensor, patches: Tensor) -> Wishes:
        """Read whole sequences, as `T 101 A`; what each patch shall be, from what stands before it.

        `tokens` `[B, S]`, 0 where there is audio or nothing; `at` `[N]`, where in `B · S` `patches` `[N, P, D]` stand.
        """
        heard = self.enc_to_lm_proj(self.feat_encoder(patches)).float()  # [N, H]
        words = self.base_lm.embed_tokens(tokens)  # [B, S, H]
        x = words.flatten(0, 1).index_copy(0, at, heard).view_as(words)
        seen: list[Tensor] = []
        coarse = self.base_lm(x, causal=True, seen=seen).float().flatten(0, 1)
        coarse = coarse.index_copy(0, at, self.fsq_layer(coarse[at]).float())
        joined = coarse.index_add(0, at, heard)
        fine = self.residual_lm(joined.view_as(words), causal=True).flatten(0, 1)
        looks = torch.stack([weights.flatten(0, 1)[at - 1] for weights in seen], 1)
        return Wishes(coarse[at - 1], fine[at - 1], looks)

    def condition(self, wishes: Wishes) -> Tensor:
        """The wishes as the flow is told them: `[N, H of the flow]`."""
        wish: Tensor = self.lm_to_dit_proj(wishes.base) + self.res_to_dit_proj(wishes.residual)
        return wish

    def velocity(self, x: Tensor, times: Tensor, wish: Tensor, before: Tensor) -> Tensor:
        """See `Estimator`; `wish` from `condition`, or zeros for none."""
        result: Tensor = self.feat_decoder.estimator(x, times, wish, before)
        return result

    def stop_logits(self, wishes: Wishes) -> Tensor:
        """Going on, ending: `[N, 2]`."""
        logits: Tensor = self.stop_head(functional.silu(self.stop_proj(wishes.base)))
        return logits.float()


def waves(times: Tensor, size: int) -> Tensor:
    """Sines and cosines `[N, size]` of `times` `[N]`, float32."""
    half = size // 2
    rates = torch.exp(torch.arange(half, device=times.device) * (-math.log(SLOWEST_PERIOD) / (half - 1)))
    angles = TIME_SCALE * times.float().unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), 1)
