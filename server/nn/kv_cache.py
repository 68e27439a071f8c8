"""Keys and values of the positions that one sequence has seen. Knows nothing of what they mean."""

import torch
from torch import Tensor

GROWTH_POSITIONS = 64
"""Room is made for this many positions at a time: a reallocation every ten seconds of speech, little memory unused."""


class KvCache:
    """The cache of one sequence for a stack of layers; belongs to one unit's state and is changed in place.

    Attributes:
        length: positions stored in every layer. `write` does not change it: the caller advances it once all layers are
            written.
        limit: positions that it may ever hold.
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
        """Positions for which memory is held."""
        return self._keys.shape[2]

    def reserve(self, positions: int) -> None:
        """Make room for `positions` more."""
        needed = self.length + positions
        assert needed <= self.limit, "the caller keeps a sequence within its limit"
        if needed > self.room:
            room = min(self.limit, -(-needed // GROWTH_POSITIONS) * GROWTH_POSITIONS)
            self._keys, self._values = self._grown(self._keys, room), self._grown(self._values, room)

    def fork(self, count: int, limit: int) -> "KvCache":
        """A cache of its own, for at most `limit` positions, that begins with the first `count` of this one."""
        layers, heads, _, head_dim = self._keys.shape
        other = KvCache(layers, heads, head_dim, limit, self._keys.dtype, self._keys.device)
        other.reserve(count)
        other._keys[:, :, :count] = self._keys[:, :, :count]
        other._values[:, :, :count] = self._values[:, :, :count]
        other.length = count
        return other

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store `[heads, T, head_dim]` after the known positions; all so far, `[heads, length + T, head_dim]`."""
        stop = self.length + keys.shape[1]
        self._keys[layer, :, self.length : stop] = keys
        self._values[layer, :, self.length : stop] = values
        return self._keys[layer, :, :stop], self._values[layer, :, :stop]

    def _grown(self, old: Tensor, room: int) -> Tensor:
        new = old.new_empty((*old.shape[:2], room, old.shape[3]))
        new[:, :, : self.length] = old[:, :, : self.length]
        return new
