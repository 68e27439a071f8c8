"""Predicts each engine's time to first audio from its recent times."""

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

WINDOW_UNITS = 32
"""Units of an engine that are used, the latest ones: few enough to follow a machine that becomes busy or idle."""

PRIOR_WEIGHT = 1.0
"""Weight of the prior, in observations."""

TYPICAL_CHARACTERS = 40
"""Length of a unit for comparing engines."""


@dataclass(frozen=True, slots=True)
class _Observation:
    characters: int
    load: int
    ttfa_ms: float


class TTFAForecast:
    """Predicts the time from submitting a unit to its first audible audio.

    Ridge regression (Hoerl and Kennard 1970) over the last `WINDOW_UNITS` units of an engine, on three features: a
    constant, the length of the text, and the engine's load. The prior, which decides while there are few observations:
    for a unit of `TYPICAL_CHARACTERS` half of the time is constant and half grows with the text, and each unit of load
    adds as much again.
    """

    def __init__(self) -> None:
        self._observations: dict[tuple[str, bool], deque[_Observation]] = defaultdict(
            lambda: deque(maxlen=WINDOW_UNITS)
        )
        self._parts_ms: dict[tuple[str, bool], np.ndarray] = {}  # fitted to all observations
        np.linalg.solve(np.eye(3), np.ones(3))  # the first time takes milliseconds

    def learn(self, engine: str, characters: int, load: int, ttfa_ms: float, whole: bool = False) -> None:
        """Add an observation: a unit of `characters`, submitted at this load, took `ttfa_ms` to its first audio.

        Units that are synthesized `whole`, for buffered delivery, are predicted apart from the others.
        """
        self._observations[engine, whole].append(_Observation(characters, load, ttfa_ms))
        self._parts_ms.pop((engine, whole), None)

    def ttfa_ms(self, engine: str, characters: int, load: int, whole: bool = False) -> float | None:
        """The predicted time of such a unit in milliseconds; None for an engine without observations."""
        observations = self._observations.get((engine, whole))
        if not observations:
            return None
        parts_ms = self._parts_ms.get((engine, whole))
        if parts_ms is None:
            parts_ms = self._parts_ms[engine, whole] = _fitted(observations)
        return float(np.dot(_features(characters, load), parts_ms))


def _fitted(observations: Collection[_Observation]) -> np.ndarray:
    """What each feature adds to the time, `[3]`."""
    rows = np.array([_features(one.characters, one.load) for one in observations])  # [n, 3]
    times_ms = np.array([one.ttfa_ms for one in observations])
    # The median time of a typical unit alone, by the prior's assumption.
    alone_ms = float(np.median(times_ms / (0.5 + 0.5 * rows[:, 1] + rows[:, 2])))
    prior = alone_ms * np.array([0.5, 0.5, 1.0])
    gram = rows.T @ rows + PRIOR_WEIGHT * np.eye(3)
    return np.maximum(np.linalg.solve(gram, rows.T @ times_ms + PRIOR_WEIGHT * prior), 0.0)


def _features(characters: int, load: int) -> tuple[float, float, float]:
    return 1.0, characters / TYPICAL_CHARACTERS, float(load)
