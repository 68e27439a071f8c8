"""The transformer stack of VoxCPM for a GPU: fused operations, keys and values of all units in pages.

Computes what `transformer.Stack` does. Shapes depend on the batch only, not on lengths, so that a step can be captured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.voxcpm.backend import Backend, Linear, TorchLinear
from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.weights import Weights
from intone.server.nn.int8_linear import Int8Linear
from intone.server.nn.paged_kv import PAGE, PagedKv, Rows


@dataclass(frozen=True, slots=True)
class SlotLayer:
    """A layer: matrices of `transformer.Layer` as linear layers, and its norms."""

    attention_norm: Tensor
    qkv: Linear
    out: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


Attention = Callable[[int, Tensor], Tensor]
"""From the index of a layer and rows of queries, keys and values `[N, heads + 2 · K, D]` to `[M, heads · D]`, M ≤ N."""


class SlotStack(Stack):
    """As `Stack`; immutable. `linear` makes a linear layer of each matrix."""

    def __init__(
        self,
        config: StackConfig,
        weights: Weights,
        positions: int,
        linear: Callable[[Tensor], Linear] = TorchLinear,
    ) -> None:
        super().__init__(config, weights, positions)
        self._slot_layers = tuple(
            SlotLayer(
                attention_norm=layer.attention_norm,
                qkv=linear(layer.qkv),
                out=linear(layer.out),
                mlp_norm=layer.mlp_norm,
                gate_up=linear(layer.gate_up),
                down=linear(layer.down),
            )
            for layer in self.layers
        )
        self.layers = ()  # the linear layers may have made other weights of them
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
        count, heads = x.shape[1], self.config.heads

        def attend(_: int, joined: Tensor) -> Tensor:
            return ops.local_attention(joined, heads, self._cos, self._sin, count)

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
            return self._attend(rotated, joined, x.shape[0])

        return self._through(x, attend, 0, x.shape[1])

    def decode_rows(self, x: Tensor, kv: PagedKv, tables: Tensor, lengths: Tensor) -> Tensor:
        """Append one position to each of B sequences: `[B, H]` → `[B, H]`.

        `tables` `[B, n]` are their pages, `lengths` `[B]` their positions so far.
        """

        def attend(index: int, joined: Tensor) -> Tensor:
            return ops.append_attention(
                joined, self.config.heads, self._cos, self._sin, kv.keys[index], kv.values[index], tables, lengths, PAGE
            )

        return self._through(x.unsqueeze(1), attend, 0, 1)[:, 0]

    def _through(self, x: Tensor, attend: Attention, first: int, last: int) -> Tensor:
        """All layers and the final norm over `[B, T, H]`; rows `first` to `last - 1` of each sequence."""
        batch, count, hidden = x.shape
        eps, kept = self.config.norm_eps, last - first
        stream = x.reshape(-1, hidden).contiguous()
        normed = functional.rms_norm(stream, (hidden,), self._slot_layers[0].attention_norm, eps)
        for index, layer in enumerate(self._slot_layers):
            joined = layer.qkv(normed).view(batch * count, -1, self.config.head_dim)
            attended = attend(index, joined)
            if index == len(self._slot_layers) - 1 and kept < count:  # the other rows only give keys and values
                stream, attended = (
                    part.view(batch, count, -1)[:, first:last].reshape(batch * kept, -1).contiguous()
                    for part in (stream, attended)
                )
            stream, normed = ops.add_rms_norm(stream, layer.out(attended), layer.mlp_norm, eps)
            wide = ops.silu_mul(layer.gate_up(normed))
            stream, normed = ops.add_rms_norm(stream, layer.down(wide), self._norm_after(index), eps)
        return normed.view(batch, kept, hidden)

    def _norm_after(self, index: int) -> Tensor:
        """The norm of the next layer, or the last one."""
        following = self._slot_layers[index + 1 : index + 2]
        return following[0].attention_norm if following else self.norm

    def _attend(self, rotated: Tensor, joined: Tensor, batch: int) -> Tensor:
        """Causal attention within sequences: rotated queries and keys `[N, heads + K, D]`, all with values `[N, …]`."""
        heads, size = self.config.heads, self.config.head_dim
        queries, keys = rotated.view(batch, -1, *rotated.shape[1:]).split((heads, rotated.shape[1] - heads), dim=2)
        values = joined.view(batch, -1, *joined.shape[1:])[:, :, rotated.shape[1] :]
        attended = functional.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), is_causal=True, enable_gqa=True
        )
        return attended.transpose(1, 2).reshape(-1, heads * size)


SLOT_BACKEND = Backend(SlotStack, TorchLinear)
INT8_SLOT_BACKEND = Backend(partial(SlotStack, linear=Int8Linear.of), TorchLinear)
"""The stacks have int8 weights, all other linear layers those of the checkpoint."""
