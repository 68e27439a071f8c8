"""The language model in torch: prefixes in, hidden states and logits of semantic codes out.

GPT-2 blocks (Radford et al. 2019) with two final norms. Chunk-invariant: a sequence read whole, in chunks or code by
code gives the same hidden states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.native_gpt import gpt_tensors
from intone.server.engines.indextts.gpt.prefixes import Prefixes
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights
from intone.server.nn.attention import attend, attend_one
from intone.server.nn.kv_cache import KvCache
from intone.server.nn.transfer import send


@dataclass(slots=True)
class Decoding:
    """The decoding state of one unit; changed in place by `advance` and `replay`.

    Attributes:
        cache: keys and values of all positions read.
        prefix: positions before the start code.
    """

    cache: KvCache
    prefix: int

    @property
    def code_count(self) -> int:
        """Codes read so far, without the start code."""
        return self.cache.length - self.prefix - 1


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of one layer, matrices as published: `[in, out]`."""

    norm_1: LayerNorm
    qkv: tuple[Tensor, Tensor]  # bias [3D], weight [D, 3D]
    out: tuple[Tensor, Tensor]  # [D], [D, D]
    norm_2: LayerNorm
    up: tuple[Tensor, Tensor]  # [4D], [D, 4D]
    down: tuple[Tensor, Tensor]  # [D], [4D, D]


class GPT(Prefixes):
    """The model; immutable. D is its width, V the number of codes.

    Args:
        upstream_positions: number the positions of codes as the official decoding loop does, one too high from the
            first code on, instead of as in training. For comparisons only.
    """

    def __init__(self, config: IndexTTSConfig, weights: Weights, upstream_positions: bool = False) -> None:
        super().__init__(config, weights)
        self._skipped = int(upstream_positions)
        tensors = gpt_tensors(config, weights)
        self._codes = tensors["mel_embedding.weight"]
        self._code_positions = tensors["mel_pos_embedding.emb.weight"]
        self._blocks = tuple(_block(tensors, f"gpt.h.{index}") for index in range(config.gpt.layers))
        self._norms = _norm(tensors, "gpt.ln_f"), _norm(tensors, "final_norm")
        self._head = Linear(tensors["mel_head.weight"], tensors["mel_head.bias"])

    def max_text(self) -> int:
        """Text tokens that the position table has room for."""
        return self.config.max_text

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1 - self._skipped

    def begin(self, prefix: Tensor, max_codes: int) -> tuple[Decoding, Tensor]:
        """Prefill with `[S, D]` and the start code: the state, and the hidden state `[D]` that predicts the first code.

        Args:
            max_codes: upper bound of the unit's codes; sizes its cache.
        """
        start = self._codes[self.config.start_code] + self._code_positions[0]
        x = torch.cat((prefix, start.unsqueeze(0)))
        config = self.config
        size = config.dim // config.heads
        cache = KvCache(config.layers, config.heads, size, len(x) + max_codes, x.dtype, x.device)
        return Decoding(cache, len(prefix)), self._read(x, cache)[-1]

    def advance(self, codes: Tensor, units: Sequence[Decoding]) -> Tensor:
        """Append one code to each unit: `[B]` → the hidden states that predict the next codes, `[B, D]`.

        The acoustic model of IndexTTS-2 takes each code with the hidden state that predicted it.
        """
        places = send(torch.tensor([unit.code_count + 1 + self._skipped for unit in units]), codes.device)
        return self._step(self._codes[codes] + self._code_positions[places], [unit.cache for unit in units])

    def replay(self, codes: Tensor, unit: Decoding) -> Tensor:
        """Append several codes to one unit in one pass: `[N]` → `[N, D]`, the same as `advance` one by one."""
        first = unit.code_count + 1 + self._skipped
        places = self._code_positions[first : first + len(codes)]
        return self._read(self._codes[codes] + places, unit.cache)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next code: `[..., D]` → `[..., V]`, float32."""
        return self._head(hidden).float()

    def _read(self, x: Tensor, cache: KvCache) -> Tensor:
        """Append positions `[T, D]` to those in the cache: `[T, D]`."""
        cached, count = cache.length, len(x)
        cache.reserve(count)
        # New row t attends to all cached rows and to new rows up to t.
        mask = torch.ones(count, cached + count, dtype=torch.bool, device=x.device).tril(cached) if cached else None
        for index, block in enumerate(self._blocks):
            queries, keys, values = self._project(block, x)
            keys, values = cache.write(index, keys.transpose(0, 1), values.transpose(0, 1))  # [heads, cached + T, d]
            if mask is None:
                keys, values = keys.transpose(0, 1), values.transpose(0, 1)
                attended = attend(queries[None], keys[None], values[None], causal=True)[0]
            else:
                whole = functional.scaled_dot_product_attention(queries.transpose(0, 1), keys, values, attn_mask=mask)
                attended = whole.transpose(0, 1).flatten(1)
            x = _finish(block, x, attended)
        cache.length += count
        return self._normed(x)

    def _step(self, x: Tensor, caches: Sequence[KvCache]) -> Tensor:
        """Append one position to each of B units, of any lengths: `[B, D]` → `[B, D]`."""
        for cache in caches:
            cache.reserve(1)
        for index, block in enumerate(self._blocks):
            queries, keys, values = self._project(block, x)
            # Row by row: lengths differ, and attention is a small part of a step.
            attended = [
                attend_one(queries[row], *cache.write(index, keys[row].unsqueeze(1), values[row].unsqueeze(1)))
                for row, cache in enumerate(caches)
            ]
            x = _finish(block, x, torch.stack(attended))
        for cache in caches:
            cache.length += 1
        return self._normed(x)

    def _project(self, block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of rows `[T, D]`: `[T, heads, d]` each."""
        qkv = torch.addmm(block.qkv[0], block.norm_1(x), block.qkv[1])
        queries, keys, values = qkv.unflatten(1, (3, self.config.heads, -1)).unbind(1)
        return queries, keys, values

    def _normed(self, x: Tensor) -> Tensor:
        """Both final norms of the trained model, one after the other."""
        return self._norms[1](self._norms[0](x))


def _block(tensors: Mapping[str, Tensor], prefix: str) -> Block:
    def matrix(name: str) -> tuple[Tensor, Tensor]:
        return tensors[f"{prefix}.{name}.bias"], tensors[f"{prefix}.{name}.weight"]

    return Block(
        norm_1=_norm(tensors, f"{prefix}.ln_1"),
        qkv=matrix("attn.c_attn"),
        out=matrix("attn.c_proj"),
        norm_2=_norm(tensors, f"{prefix}.ln_2"),
        up=matrix("mlp.c_fc"),
        down=matrix("mlp.c_proj"),
    )


def _norm(tensors: Mapping[str, Tensor], name: str) -> LayerNorm:
    return LayerNorm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def _finish(block: Block, x: Tensor, attended: Tensor) -> Tensor:
    """The rest of a layer after attention, on rows `[T, D]`."""
    x = x + torch.addmm(block.out[0], attended, block.out[1])
    wide = functional.gelu(torch.addmm(block.up[0], block.norm_2(x), block.up[1]), approximate="tanh")
    return x + torch.addmm(block.down[0], wide, block.down[1])
