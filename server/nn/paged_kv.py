"""Keys and values of many sequences in pages of one buffer, and the slots that sequences take while they are spoken.

A position of a sequence is stored at a place: `page · PAGE + offset`. The pages of a sequence need not be neighbours.
Slot and page 0 belong to nobody: rows that fill up a batch use them.
"""

import weakref
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.nn.transfer import fill

PAGE = 64
"""Positions in a page: ten seconds of VoxCPM 1.5."""

NOBODY = 0
"""The slot and the page that belong to no sequence."""


class Lease:
    """A slot and its pages; they are free again when it is dropped.

    Attributes:
        slot: from 1 on.
    """

    __slots__ = ("__weakref__", "slot")

    def __init__(self, slot: int) -> None:
        self.slot = slot


class SlotPool:
    """Which slots and pages are free. Leases may be dropped on any thread."""

    def __init__(self, slots: int, pages: int, positions: int, device: torch.device) -> None:
        """For at most `slots` sequences of at most `positions` positions, in `pages` pages beside page 0."""
        self.slots = slots
        self._free_slots = deque(range(1, slots + 1))
        self._free_pages = deque(range(1, pages + 1))
        self._pages = pages
        self.tables = torch.zeros(slots + 1, -(-positions // PAGE), dtype=torch.int32, device=device)

    def lease(self, positions: int) -> Lease | None:
        """A slot with pages for so many positions; None where too few are free now.

        Raises:
            ValueError: it would never fit.
        """
        count = -(-positions // PAGE)
        if count > min(self._pages, self.tables.shape[1]):
            raise ValueError(f"{positions} positions need {count} pages; there are {self._pages}")
        if not self._free_slots or len(self._free_pages) < count:
            return None
        lease = Lease(self._free_slots.popleft())
        pages = [self._free_pages.popleft() for _ in range(count)]
        row = torch.full(self.tables.shape[1:], NOBODY, dtype=torch.int32)
        row[:count] = torch.tensor(pages)
        fill(self.tables[lease.slot], row)  # all of it: what a former owner had there belongs to others now
        weakref.finalize(lease, _free, self._free_slots, self._free_pages, lease.slot, pages)
        return lease


def _free(slots: "deque[int]", free_pages: "deque[int]", slot: int, pages: list[int]) -> None:
    # What is still queued on the device reads and writes the old owner's places before the new owner's work begins:
    # both are on one stream.
    free_pages.extend(pages)
    slots.append(slot)


class PagedKv:
    """Keys and values of a stack.

    Attributes:
        keys, values: `[layers, places, K, D]`.
    """

    def __init__(
        self, layers: int, heads: int, head_dim: int, pages: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """`pages` beside page 0."""
        shape = (layers, (pages + 1) * PAGE, heads, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def page_bytes(self) -> int:
        """Memory of a page."""
        return 2 * self.keys.nbytes // (self.keys.shape[1] // PAGE)


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the first rows of sequences are; N = B · T rows of B sequences.

    Attributes:
        positions: `[N]`, int64.
        places: `[N]`, int64, where their keys and values are stored.
    """

    positions: Tensor
    places: Tensor

    @classmethod
    def first(cls, tables: Tensor, lengths: Tensor, count: int) -> "Rows":
        """The first `count` positions of each sequence; those from its length on are stored in page 0."""
        batch = tables.shape[0]
        positions = torch.arange(count, device=tables.device).expand(batch, count)
        pages = tables[:, : -(-count // PAGE)].long().repeat_interleave(PAGE, dim=1)[:, :count]
        stored = positions < lengths.unsqueeze(1)
        places = torch.where(stored, pages * PAGE, NOBODY) + positions % PAGE
        return cls(positions.flatten(), places.flatten())
