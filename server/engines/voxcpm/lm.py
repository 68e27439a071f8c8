"""The two causal language models, coarse (base) and fine (residual), that condition the diffusion of a patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.backend import TORCH_BACKEND, Backend, Cache
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.fsq import build_fsq
from intone.server.engines.weights import Weights
from intone.server.nn.paged_kv import PagedKv, Rows

if TYPE_CHECKING:
    from intone.server.engines.voxcpm.slot_stack import SlotStack


@dataclass(frozen=True, slots=True)
class Caches:
    """The KV caches of both models for one unit, each of the kind that its stack makes."""

    base: Cache
    residual: Cache

    @property
    def length(self) -> int:
        """Positions in both caches."""
        return self.residual.length

    def fork(self, count: int, limit: int) -> "Caches":
        """Independent caches for at most `limit` positions, starting with the first `count` of these."""
        return Caches(self.base.fork(count, limit), self.residual.fork(count, limit))


@dataclass(frozen=True, slots=True)
class LMCondition:
    """The hidden states of both models that condition the next patch: `[B, H]` each, or `[H]` for one unit."""

    base: Tensor
    residual: Tensor

    @classmethod
    def stack(cls, conditions: Sequence["LMCondition"]) -> "LMCondition":
        """Several units as one batch."""
        return cls(torch.stack([c.base for c in conditions]), torch.stack([c.residual for c in conditions]))

    def split(self) -> list["LMCondition"]:
        """The condition of each unit of a batch."""
        return [LMCondition(*pair) for pair in zip(self.base.unbind(), self.residual.unbind(), strict=True)]


class LanguageModels:
    """Base and residual model, the quantizer between them and the stop head; immutable."""

    def __init__(self, config: VoxCPMConfig, weights: Weights, backend: Backend = TORCH_BACKEND) -> None:
        hidden = config.base.hidden
        self.embedding = weights.stored("base_lm.embed_tokens.weight", (config.vocabulary, hidden))
        self.base = backend.stack(config.base, weights.scope("base_lm"), config.max_length)
        self.residual = backend.stack(config.residual, weights.scope("residual_lm"), config.max_length)
        self.quantize = build_fsq(config, weights.scope("fsq_layer"), backend)
        self.fusion = backend.read(weights, "fusion_concat_proj", (hidden, 2 * hidden)) if config.version == 2 else None
        self.stop_in = backend.read(weights, "stop_proj", (hidden, hidden))
        self.stop_out = backend.linear(weights.tensor("stop_head.weight", (2, hidden)), None)

    def new_caches(self, limit: int) -> Caches:
        """For a unit of at most `limit` positions."""
        return Caches(self.base.new_cache(limit), self.residual.new_cache(limit))

    def prefill(self, tokens: Tensor, audio_positions: Tensor, audio: Tensor, caches: Caches) -> LMCondition:
        """Append the last S positions of a prompt to the caches.

        `tokens` `[S]`; `audio_positions` `[A]` are the positions of audio, `audio` `[A, H]` its embeddings.
        """
        x = functional.embedding(tokens, self.embedding).to(audio.dtype).index_copy(0, audio_positions, audio)
        coarse = self.base.prefill(x, caches.base)
        coarse = coarse.index_copy(0, audio_positions, self.quantize(coarse[audio_positions]))
        sparse = torch.zeros_like(coarse).index_copy(0, audio_positions, audio)
        fine = self.residual.prefill(self._residual_input(coarse, sparse), caches.residual, first=tokens.shape[0] - 1)
        return LMCondition(coarse[-1], fine[-1])

    def step(self, audio: Tensor, caches: Sequence[Caches]) -> LMCondition:
        """Append the latest patch of each of B units, embedded `[B, H]`, to their caches."""
        coarse = self.quantize(self.base.step(audio, [c.base for c in caches]))
        return LMCondition(
            coarse, self.residual.step(self._residual_input(coarse, audio), [c.residual for c in caches])
        )

    def prefill_rows(
        self, tokens: Tensor, is_audio: Tensor, audio: Tensor, rows: Rows, base_kv: PagedKv, residual_kv: PagedKv
    ) -> tuple[Tensor, Tensor]:
        """`prefill` of B prompts of at most L positions, on slot stacks: the hidden states of every position.

        `tokens` `[B, L]`; `is_audio` `[B, L, 1]` marks the positions of audio, `audio` `[B, L, H]` has its embeddings.
        """
        base, residual = cast("SlotStack", self.base), cast("SlotStack", self.residual)
        sparse = torch.where(is_audio, audio, 0)
        x = torch.where(is_audio, audio, functional.embedding(tokens, self.embedding).to(audio.dtype))
        coarse = base.prefill_rows(x, base_kv, rows)
        coarse = torch.where(is_audio, self.quantize(coarse), coarse)
        return coarse, residual.prefill_rows(self._residual_input(coarse, sparse), residual_kv, rows)

    def decode_rows(
        self, audio: Tensor, tables: Tensor, lengths: Tensor, base_kv: PagedKv, residual_kv: PagedKv
    ) -> tuple[Tensor, Tensor]:
        """`step` on slot stacks: the hidden states, `[B, H]` each; `tables` and `lengths` as in `SlotStack`."""
        base, residual = cast("SlotStack", self.base), cast("SlotStack", self.residual)
        coarse = self.quantize(base.decode_rows(audio, base_kv, tables, lengths))
        return coarse, residual.decode_rows(self._residual_input(coarse, audio), residual_kv, tables, lengths)

    def should_stop(self, base: Tensor) -> Tensor:
        """Whether the patch conditioned on the base hidden states `[B, H]` is the last one: `[B]`, bool."""
        logits = self.stop_out(functional.silu(self.stop_in(base)))
        return logits[:, 1] > logits[:, 0]

    def _residual_input(self, coarse: Tensor, audio: Tensor) -> Tensor:
        if self.fusion is None:
            return coarse + audio
        return self.fusion(torch.cat((coarse, audio), dim=-1))
