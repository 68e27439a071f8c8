"""The transformer of the flow for a GPU: the layers of `dit.DiT` with fewer, fused operations, for the same result."""

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.indextts.s2mel.dit import NORM_EPS, DiT, modulated
from intone.server.nn.attention import attend


class FusedLayers:
    """Layers and last norm, a `dit.Transform`; immutable."""

    def __init__(self, dit: DiT) -> None:
        self._layers = dit.layers
        self._size = dit.head_dim
        self._cos, self._sin = dit.rope.cos[:, 0], dit.rope.sin[:, 0]  # [positions, D]
        self._joined = tuple(torch.cat((layer.queries.weight, layer.keys_values.weight)) for layer in self._layers)

    def __call__(self, h: Tensor, first: int, norms: Tensor, visible: Tensor | None) -> Tensor:
        """See `dit.Transform`; changes `h`."""
        rows, count, width = h.shape
        positions = torch.arange(count, device=h.device).repeat(rows)
        stream, skips, depth = h.reshape(-1, width), list[Tensor](), len(self._layers)
        normed = modulated(stream, norms[0])
        for index, layer in enumerate(self._layers):
            if layer.skip is not None:
                stream = layer.skip(torch.cat((stream, skips.pop()), dim=1))
                normed = modulated(stream, norms[2 * index])
            start = first if index == depth - 1 else 0
            joined = functional.linear(normed, self._joined[index]).view(rows * count, -1, self._size)
            attended = self._attend(joined, positions, rows, start, visible)
            if start:
                stream = stream.view(rows, count, width)[:, start:].reshape(-1, width)
            normed = _added(stream, layer.out(attended), norms[2 * index + 1])
            wide = ops.silu_mul(functional.linear(normed, layer.gate_up.weight))
            normed = _added(stream, layer.down(wide), norms[2 * index + 2])
            if index < depth // 2:
                skips.append(stream.clone())
        return normed.view(rows, -1, width)

    def _attend(self, joined: Tensor, positions: Tensor, rows: int, first: int, visible: Tensor | None) -> Tensor:
        """Attention of each sequence's rows from `first` on: `[N, 3 · heads, D]` → `[M, heads · D]`."""
        heads = joined.shape[1] // 3
        rotated = ops.rope(joined, 2 * heads, self._cos, self._sin, positions).unflatten(0, (rows, -1))
        values = joined.unflatten(0, (rows, -1))[:, :, 2 * heads :]
        queries, keys = rotated.split(heads, dim=2)
        return attend(queries[:, first:], keys, values, causal=False, visible=visible).flatten(0, 1)


def _added(stream: Tensor, delta: Tensor, norm: Tensor) -> Tensor:
    """Add to the stream in place, and norm it; `norm` is scale and shift, `[2, D]`."""
    return ops.add_norm(stream, delta, norm[0], norm[1], NORM_EPS, centred=False)
