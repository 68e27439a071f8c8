"""The transformer stack of VoxCPM for a GPU: fused operations, keys and values of all units in pages.

Computes what `transformer.Stack` does. Shapes depend on the batch only, not on lengths, so that a step can be captured.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.voxcpm.backend import Backend, TorchLinear
from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.transformer import Layer, Stack
from intone.server.engines.weights import Weights
from intone.server.nn.paged_kv import PAGE, PagedKv, Rows

Attention = Callable[[int, Tensor], Tensor]
"""From the index of a layer and rows of queries, keys and values `[N, heads + 2 · K, D]` to `[M, heads · D]`, M ≤ N."""


class SlotStack(Stack):
    """As `Stack`; immutable."""

    def __init__(self, config: StackConfig, weights: Weights, positions: int) -> None:
        super().__init__(config, weights, positions)
        device = self.norm.device
        if self.rope is not None:
            self._cos, self._sin = self.rope.cos[:, 0], self.rope.sin[:, 0]  # [positions, D]
        else:  # a rotation by nothing
            self._cos = torch.ones(positions, config.head_dim, device=device)
            self._sin = torch.zeros(positions, config.head_dim, device=device)

    def new_kv(self, pages: int) -> PagedKv:
        """Pages for its keys and values."""
        config = self.config
        return PagedKv(config.layers, config.kv_heads, config.head_dim, pages, self.norm.dtype, self.norm.device)

    def bidirectional(self, x: Tensor, first: int, last: int) -> Tensor:
        """As `Stack.bidirectional`."""
        batch, count = x.shape[:2]
        heads, kv_heads = self.config.heads, self.config.kv_heads
        positions = torch.arange(count, device=x.device).repeat(batch)

        def attend(_: int, rows: Tensor) -> Tensor:
            rotated = ops.rope(rows, heads + kv_heads, self._cos, self._sin, positions)
            return self._attend(rotated, rows, batch, causal=False)

        return self._through(x, attend, first, last)

    def prefill_rows(self, x: Tensor, kv: PagedKv, rows: Rows) -> Tensor:
        """Read the first positions of B sequences, `Rows.first`: `[B, T, H]` → `[B, T, H]`.

        Rows from the length of a sequence on give nothing of use, and change nothing of it.
        """
        heads = self.config.heads

        def attend(index: int, joined: Tensor) -> Tensor:
            rotated = ops.rope_append(
                joined, heads, self._cos, self._sin, rows.positions, rows.places, kv.keys[index], kv.values[index]
            )
            return self._attend(rotated, joined, x.shape[0], causal=True)

        return self._through(x, attend, 0, x.shape[1])

    def decode_rows(self, x: Tensor, kv: PagedKv, rows: Rows) -> Tensor:
        """Append one position to each of B sequences, `Rows.next`: `[B, H]` → `[B, H]`."""
        heads = self.config.heads

        def attend(index: int, joined: Tensor) -> Tensor:
            keys, values = kv.keys[index], kv.values[index]
            rotated = ops.rope_append(joined, heads, self._cos, self._sin, rows.positions, rows.places, keys, values)
            return ops.decode_attention(rotated[:, :heads], keys, values, rows.tables, rows.lengths, PAGE)

        return self._through(x.unsqueeze(1), attend, 0, 1)[:, 0]

    def _through(self, x: Tensor, attend: Attention, first: int, last: int) -> Tensor:
        """All layers and the final norm over `[B, T, H]`; rows `first` to `last - 1` of each sequence."""
        batch, count, hidden = x.shape
        eps, kept = self.config.norm_eps, last - first
        stream = x.reshape(-1, hidden).contiguous()
        normed = functional.rms_norm(stream, (hidden,), self.layers[0].attention_norm, eps)
        for index, layer in enumerate(self.layers):
            joined = functional.linear(normed, layer.qkv).view(batch * count, -1, self.config.head_dim)
            attended = attend(index, joined)
            if index == len(self.layers) - 1 and kept < count:  # the other rows only give keys and values
                stream, attended = (
                    part.view(batch, count, -1)[:, first:last].reshape(batch * kept, -1) for part in (stream, attended)
                )
            stream, normed = ops.add_rms_norm(stream, functional.linear(attended, layer.out), layer.mlp_norm, eps)
            stream, normed = ops.add_rms_norm(stream, self._feed_forward(layer, normed), self._norm_after(index), eps)
        return normed.view(batch, kept, hidden)

    def _feed_forward(self, layer: Layer, normed: Tensor) -> Tensor:
        return functional.linear(ops.silu_mul(functional.linear(normed, layer.gate_up)), layer.down)

    def _norm_after(self, index: int) -> Tensor:
        """The norm of the next layer, or the last one."""
        return self.layers[index + 1].attention_norm if index + 1 < len(self.layers) else self.norm

    def _attend(self, rotated: Tensor, joined: Tensor, batch: int, causal: bool) -> Tensor:
        """Attention within sequences: rotated queries and keys `[N, heads + K, D]`, all with values `[N, …]`."""
        heads, size = self.config.heads, self.config.head_dim
        queries, keys = rotated.view(batch, -1, *rotated.shape[1:]).split((heads, rotated.shape[1] - heads), dim=2)
        values = joined.view(batch, -1, *joined.shape[1:])[:, :, rotated.shape[1] :]
        attended = functional.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), is_causal=causal, enable_gqa=True
        )
        return attended.transpose(1, 2).reshape(-1, heads * size)


SLOT_BACKEND = Backend(SlotStack, TorchLinear)
