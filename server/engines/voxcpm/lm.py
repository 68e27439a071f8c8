"""The two causal language models: what to say next, coarse (base) and fine (residual). Knows nothing of diffusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.backend import TORCH_BACKEND, Backend
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.fsq import build_fsq
from intone.server.engines.weights import Weights


@dataclass(frozen=True, slots=True)
class Caches:
    """What both models remember of one unit, each in the kind of cache that its stack makes."""

    base: Any
    residual: Any

    @property
    def length(self) -> int:
        """Positions that both have read."""
        return int(self.residual.length)

    def fork(self, count: int, limit: int) -> "Caches":
        """Caches of their own, for at most `limit` positions, that begin with the first `count` of these."""
        return Caches(self.base.fork(count, limit), self.residual.fork(count, limit))


@dataclass(frozen=True, slots=True)
class Wish:
    """What the models want the next patch to say: `[B, H]` each, or `[H]` for one unit."""

    base: Tensor
    residual: Tensor

    @classmethod
    def stack(cls, wishes: Sequence["Wish"]) -> "Wish":
        """Those of several units as one batch."""
        return cls(torch.stack([w.base for w in wishes]), torch.stack([w.residual for w in wishes]))

    def split(self) -> list["Wish"]:
        """The wish of each unit of a batch."""
        return [Wish(*pair) for pair in zip(self.base.unbind(), self.residual.unbind(), strict=True)]


class LanguageModels:
    """Base and residual model with what stands between them; frozen once built."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, kit: Backend = TORCH_BACKEND) -> None:
        hidden = config.base.hidden
        self.embedding = weights.stored("base_lm.embed_tokens.weight", (config.vocabulary, hidden))
        self.base = kit.stack(config.base, weights.scope("base_lm"), config.max_length)
        self.residual = kit.stack(config.residual, weights.scope("residual_lm"), config.max_length)
        self.quantize = build_fsq(config, weights.scope("fsq_layer"), kit)
        self.fusion = kit.read(weights, "fusion_concat_proj", (hidden, 2 * hidden)) if config.version == 2 else None
        self.stop_in = kit.read(weights, "stop_proj", (hidden, hidden))
        self.stop_out = kit.linear(weights.tensor("stop_head.weight", (2, hidden)), None)

    def new_caches(self, limit: int) -> Caches:
        """For a unit of at most `limit` positions."""
        return Caches(self.base.new_cache(limit), self.residual.new_cache(limit))

    def prefill(self, tokens: Tensor, audio_at: Tensor, audio: Tensor, caches: Caches) -> Wish:
        """Read S positions, the end of a prompt, after those that are in the caches.

        `tokens` `[S]`; `audio_at` `[A]` says which positions are audio, `audio` `[A, H]` what stands there.
        """
        x = functional.embedding(tokens, self.embedding).to(audio.dtype).index_copy(0, audio_at, audio)
        coarse = self.base.prefill(x, caches.base)
        coarse = coarse.index_copy(0, audio_at, self.quantize(coarse[audio_at]))
        heard = torch.zeros_like(coarse).index_copy(0, audio_at, audio)
        fine = self.residual.prefill(self._joined(coarse, heard), caches.residual, first=tokens.shape[0] - 1)
        return Wish(coarse[-1], fine[-1])

    def step(self, audio: Tensor, caches: Sequence[Caches]) -> Wish:
        """The patch just made for each of B units, embedded `[B, H]`, into their caches."""
        coarse = self.quantize(self.base.step(audio, [c.base for c in caches]))
        return Wish(coarse, self.residual.step(self._joined(coarse, audio), [c.residual for c in caches]))

    def wants_to_stop(self, base: Tensor) -> Tensor:
        """Whether the patch made from the base wishes `[B, H]` is the last: `[B]`, bool."""
        logits = self.stop_out(functional.silu(self.stop_in(base)))
        return logits[:, 1] > logits[:, 0]

    def _joined(self, coarse: Tensor, audio: Tensor) -> Tensor:
        """Input of the residual model."""
        if self.fusion is None:
            return coarse + audio
        return self.fusion(torch.cat((coarse, audio), dim=-1))
