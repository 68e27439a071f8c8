"""How values are distributed, for metrics: counts of those up to each bound."""

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Bounds for durations: of steps, waits, texts that are read."""

COUNTS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
"""Bounds for numbers of units."""


class Distribution:
    """Counts of values. `bounds` ascend; values beyond the last one are counted too."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts = bounds, [0] * (len(bounds) + 1)
        self.sum = 0.0
        """Of all values."""

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound as Prometheus writes it, and how many values are at most as large; the last one is `+Inf`."""
        found, below = [], 0
        for bound, count in zip((*map(float, self._bounds), "+Inf"), self._counts, strict=True):
            below += count
            found.append((str(bound), float(below)))
        return found
