"""The transformer stack (MiniCPM4) of which VoxCPM has four, in torch. `native_stack.py` is the one used on the CPU.

x ← x + Attention(Norm(x)); x ← x + Down(SiLU(Gate(n)) · Up(n)) with n = Norm(x); a final norm at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.weights import Weights
from intone.server.nn.attention import attend, attend_one
from intone.server.nn.kv_cache import KvCache
from intone.server.nn.norms import rms_norm
from intone.server.nn.rope import RopeTable, longrope_amplitude, longrope_table
from intone.server.nn.transfer import send


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one layer. Q = heads · head_dim, K = kv_heads · head_dim, F = feed_forward."""

    attention_norm: Tensor  # [H]
    qkv: Tensor  # [Q + 2K, H]
    out: Tensor  # [H, Q]
    mlp_norm: Tensor  # [H]
    gate_up: Tensor  # [2F, H]
    down: Tensor  # [H, F]


class Stack:
    """Layers and the final norm; immutable.

    Args:
        positions: the maximum of positions in a sequence.
    """

    def __init__(self, config: StackConfig, weights: Weights, positions: int) -> None:
        self.config = config
        self.layers: tuple[Layer, ...] = tuple(
            read_layer(config, weights.scope(f"layers.{index}")) for index in range(config.layers)
        )
        self.norm = weights.tensor("norm.weight", (config.hidden,))
        self.rope = rope_of(config, positions, self.norm.device)

    def new_cache(self, limit: int) -> KvCache:
        """An empty cache for at most `limit` positions."""
        config = self.config
        return KvCache(config.layers, config.kv_heads, config.head_dim, limit, self.norm.dtype, self.norm.device)

    def bidirectional(self, x: Tensor, first: int, last: int) -> Tensor:
        """Bidirectional attention: `[B, T, H]` → rows `first` to `last - 1` of the result, `[B, last - first, H]`.

        In the last layer the other rows only get keys and values.
        """
        rope = self.rope.at(0, x.shape[1]) if self.rope else None
        for layer in self.layers[:-1]:
            queries, keys, values = self._project(layer, x, rope)
            x = self._finish(layer, x, attend(queries, keys, values, causal=False))
        layer, kept = self.layers[-1], x[:, first:last]
        queries, keys, values = self._project_kept(layer, x, rope, first, last)
        return self._normed(self._finish(layer, kept, attend(queries, keys, values, causal=False)))

    def prefill(self, x: Tensor, cache: KvCache, first: int = 0) -> Tensor:
        """Append a sequence `[T, H]` to `cache`; rows `first` and on of the result, `[T - first, H]`."""
        count = x.shape[0]
        cache.reserve(count)
        x = x.unsqueeze(0)
        rope = self.rope.at(cache.length, cache.length + count) if self.rope else None
        for index, layer in enumerate(self.layers):
            queries, keys, values = self._project(layer, x, rope)
            stored = cache.write(index, keys[0].transpose(0, 1), values[0].transpose(0, 1))  # [kv_heads, S, D]
            attn_out = attend(queries, *(part.transpose(0, 1).unsqueeze(0) for part in stored), causal=True)
            if index == len(self.layers) - 1:
                x, attn_out = x[:, first:], attn_out[:, first:]
            x = self._finish(layer, x, attn_out)
        cache.length += count
        return self._normed(x)[0]

    def step(self, x: Tensor, caches: Sequence[KvCache]) -> Tensor:
        """Append one position to each of B sequences, of any lengths: `[B, H]` → `[B, H]`."""
        for cache in caches:
            cache.reserve(1)
        positions = send(torch.tensor([cache.length for cache in caches]), x.device)
        rope = self.rope.gather(positions) if self.rope else None
        x = x.unsqueeze(1)
        for index, layer in enumerate(self.layers):
            queries, keys, values = self._project(layer, x, rope)
            # Row by row: each sequence has its own length, and attention is a small part of a step.
            attn_out = [
                attend_one(queries[row, 0], *cache.write(index, keys[row].transpose(0, 1), values[row].transpose(0, 1)))
                for row, cache in enumerate(caches)
            ]
            x = self._finish(layer, x, torch.stack(attn_out).unsqueeze(1))
        for cache in caches:
            cache.length += 1
        return self._normed(x)[:, 0]

    def _project(self, layer: Layer, x: Tensor, rope: RopeTable | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of every row, `[B, T, heads, D]` each; queries and keys rotated."""
        config = self.config
        normed = rms_norm(x, layer.attention_norm, config.norm_eps)
        joined = functional.linear(normed, layer.qkv).view(*x.shape[:2], -1, config.head_dim)
        rotated_part, values = joined.split((config.heads + config.kv_heads, config.kv_heads), dim=2)
        rotated = rope.rotate(rotated_part) if rope else rotated_part
        queries, keys = rotated.split((config.heads, config.kv_heads), dim=2)
        return queries, keys, values

    def _project_kept(
        self, layer: Layer, x: Tensor, rope: RopeTable | None, first: int, last: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `_project`, with queries of rows `first` to `last - 1` only."""
        config = self.config
        normed = rms_norm(x, layer.attention_norm, config.norm_eps)
        rows = config.heads * config.head_dim
        queries = functional.linear(normed[:, first:last], layer.qkv[:rows])
        queries = queries.view(len(x), last - first, config.heads, config.head_dim)
        joined = functional.linear(normed, layer.qkv[rows:]).view(*x.shape[:2], 2, config.kv_heads, config.head_dim)
        keys, values = joined.unbind(2)
        if rope:
            queries, keys = rope.at(first, last).rotate(queries), rope.rotate(keys)
        return queries, keys, values

    def _finish(self, layer: Layer, x: Tensor, attn_out: Tensor) -> Tensor:
        """The rest of a layer after attention."""
        x = x + functional.linear(attn_out, layer.out)
        gate, up = functional.linear(rms_norm(x, layer.mlp_norm, self.config.norm_eps), layer.gate_up).chunk(2, dim=-1)
        return x + functional.linear(functional.silu(gate) * up, layer.down)

    def _normed(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.norm, self.config.norm_eps)


def read_layer(config: StackConfig, weights: Weights) -> Layer:
    """The tensors of one layer, by their published names; projections of the same input are joined."""
    hidden, feed_forward = config.hidden, config.feed_forward
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    qkv = {
        f"self_attn.{name}_proj.weight": (rows, hidden) for name, rows in zip("qkv", (queries, keys, keys), strict=True)
    }
    return Layer(
        attention_norm=weights.tensor("input_layernorm.weight", (hidden,)),
        qkv=weights.fused(qkv),
        out=weights.tensor("self_attn.o_proj.weight", (hidden, queries)),
        mlp_norm=weights.tensor("post_attention_layernorm.weight", (hidden,)),
        gate_up=weights.fused({f"mlp.{name}_proj.weight": (feed_forward, hidden) for name in ("gate", "up")}),
        down=weights.tensor("mlp.down_proj.weight", (hidden, feed_forward)),
    )


def rope_of(config: StackConfig, positions: int, device: torch.device) -> RopeTable | None:
    """The rotary table of a stack; None for a stack without positional encoding."""
    rope = config.rope
    if rope is None:
        return None
    amplitude = longrope_amplitude(rope.max_positions, rope.original_positions)
    return longrope_table(positions, config.head_dim, rope.theta, rope.factors, amplitude, device)
