"""The KV cache of one sequence, for stacks computed by torch."""

import torch
from torch import Tensor

GROWTH_POSITIONS = 64
"""Positions allocated at a time: one reallocation per ten seconds of speech, and little unused memory."""


class KvCache:
    """Keys and values of all layers of a stack; part of one unit's state, changed in place.

    Attributes:
        length: positions stored in every layer. `write` does not change it: the caller advances it after all layers.
        limit: maximum of positions.
    """

    __slots__ = ("_keys", "_values", "length", "limit")

    def __init__(
        self, layers: int, heads: int, head_dim: int, limit: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (layers, heads, 0, head_dim)
        self._keys = torch.empty(shape, dtype=dtype, device=device)  # [layers, heads, room, head_dim]
        self._values = torch.empty(shape, dtype=dtype, device=device)
        self.length = 0
        self.limit = limit

    @property
    def room(self) -> int:
        """Positions that are allocated."""
        return self._keys.shape[2]

    def reserve(self, positions: int) -> None:
        """Allocate `positions` more."""
        needed = self.length + positions
        assert needed <= self.limit, "the sequence exceeds the limit of its cache"
        if needed > self.room:
            room = min(self.limit, -(-needed // GROWTH_POSITIONS) * GROWTH_POSITIONS)
            self._keys, self._values = self._grown(self._keys, room), self._grown(self._values, room)

    def fork(self, count: int, limit: int) -> "KvCache":
        """An independent cache for at most `limit` positions, starting with the first `count` of this one."""
        layers, heads, _, head_dim = self._keys.shape
        other = KvCache(layers, heads, head_dim, limit, self._keys.dtype, self._keys.device)
        other.reserve(count)
        other._keys[:, :, :count] = self._keys[:, :, :count]
        other._values[:, :, :count] = self._values[:, :, :count]
        other.length = count
        return other

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store `[heads, T, head_dim]` after the existing positions; returns all, `[heads, length + T, head_dim]`."""
        stop = self.length + keys.shape[1]
        self._keys[layer, :, self.length : stop] = keys
        self._values[layer, :, self.length : stop] = values
        return self._keys[layer, :, :stop], self._values[layer, :, :stop]

    def _grown(self, old: Tensor, room: int) -> Tensor:
        new = old.new_empty((*old.shape[:2], room, old.shape[3]))
        new[:, :, : self.length] = old[:, :, : self.length]
        return new
