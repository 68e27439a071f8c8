"""How long each engine will take to its first sound, from what it took lately. Knows no engines, only their names."""

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np

REMEMBERED = 32
"""The last units of an engine, which count: so few that the forecast follows a machine that becomes busy, or idle."""

PRIOR_WEIGHT = 1.0
"""How many units what is assumed beforehand is worth."""

TYPICAL_CHARACTERS = 40
"""Of a unit, for judging an engine as such."""


@dataclass(frozen=True, slots=True)
class _Seen:
    characters: int
    load: int
    ttfa_ms: float


class TTFAForecast:
    """Predicts the time from submitting a unit to its first audible sound.

    A ridge regression (Hoerl and Kennard 1970) over the last units of an engine: a fixed part, a part that grows with
    the text, a part for each unit that the engine was speaking already. With little to go by it assumes that half of
    the time is fixed, that the other half grows with the text, and that every unit ahead costs as much again.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bool], deque[_Seen]] = defaultdict(lambda: deque(maxlen=REMEMBERED))

    def learn(self, engine: str, characters: int, load: int, ttfa_ms: float, whole: bool = False) -> None:
        """A unit of `characters`, submitted while `load` others were being spoken, took `ttfa_ms` to sound.

        A unit that is spoken `whole`, for a client that wants no stream, has times of its own.
        """
        self._seen[engine, whole].append(_Seen(characters, load, ttfa_ms))

    def ttfa_ms(self, engine: str, characters: int, load: int, whole: bool = False) -> float | None:
        """What such a unit would take now; None for an engine that nothing was learnt of."""
        seen = self._seen.get((engine, whole))
        if not seen:
            return None
        rows = np.array([_features(one.characters, one.load) for one in seen])  # [n, 3]
        times_ms = np.array([one.ttfa_ms for one in seen])
        # The usual time of one unit alone, by the same assumption that the prior makes.
        alone_ms = float(np.median(times_ms / (0.5 + 0.5 * rows[:, 1] + rows[:, 2])))
        prior = alone_ms * np.array([0.5, 0.5, 1.0])
        gram = rows.T @ rows + PRIOR_WEIGHT * np.eye(3)
        parts_ms = np.maximum(np.linalg.solve(gram, rows.T @ times_ms + PRIOR_WEIGHT * prior), 0.0)
        return float(np.dot(_features(characters, load), parts_ms))


def _features(characters: int, load: int) -> tuple[float, float, float]:
    return 1.0, characters / TYPICAL_CHARACTERS, float(load)
