"""What the steps of an engine cost, and from it how many streams it can speak in real time."""

import math
from collections import deque
from typing import NamedTuple

import numpy as np

WINDOW_STEPS = 256
"""Steps that are used, the latest ones: few enough to follow a machine that becomes busy or idle."""

MIN_STEPS = 4
"""Steps that have to be known: single ones vary."""

PRIOR_WEIGHT = 1.0
"""Weight of the prior, in steps."""


class _StepCost(NamedTuple):
    units: int
    started: int
    seconds: float
    audio_s: float
    processor_s: float


class StepCosts:
    """The last steps of one engine: units, duration, audio made, processor time.

    The duration of a step of n units is taken to be alpha + beta * n, fitted by ridge regression (Hoerl and Kennard
    1970). By the prior, which decides while all steps had the same number of units, half of the duration of a step of
    one unit grows with their number.
    """

    def __init__(self) -> None:
        self._steps: deque[_StepCost] = deque(maxlen=WINDOW_STEPS)

    def observe(self, units: int, started: int, seconds: float, audio_s: float, processor_s: float = 0.0) -> None:
        """A step of so many units, the first one of `started`, took so long and made so much audio in all.

        `processor_s`: 0 where it is not known.
        """
        self._steps.append(_StepCost(units, started, seconds, audio_s, processor_s))

    def capacity(self, max_batch: int, new_units: int = 1) -> float | None:
        """How many streams the engine can speak at once as fast as they are heard; None if nothing is known.

        A fraction below 1 means that it cannot keep up with one. `max_batch`: units that it steps together; more take
        turns. `new_units`: units that a step begins.
        """
        if len(self._steps) < MIN_STEPS:
            return None
        units, started, seconds, audio_s, _ = np.array(self._steps, np.float64).T
        if not audio_s.sum():
            return None
        audio_step_s = float(audio_s.sum() / units.sum())  # of one unit in one step
        alpha, beta = _fit(units, seconds)
        if alpha + beta * max_batch <= audio_step_s:
            streams = max_batch * audio_step_s / max(alpha + beta * max_batch, 1e-9)
        else:
            streams = (audio_step_s - alpha) / beta if beta > 0 else 0.0
        if streams < 1:
            return min(1.0, audio_step_s / (alpha + beta))
        if not started.sum():
            return streams
        return max(
            1.0, min(streams, _startable(alpha, beta, max_batch, new_units * float(audio_s.sum() / started.sum())))
        )

    def max_streams(self, max_batch: int, part: float, new_units: int = 1) -> int | None:
        """How many streams, at least 1, may be spoken at once in this part of the time; None if nothing is known.

        One more than were stepped together in that part of the time, whatever the fit says: it knows little of batches
        that were never tried.
        """
        capacity = self.capacity(max_batch, new_units)
        if capacity is None:
            return None
        units, _, seconds, audio_s, _ = np.array(self._steps, np.float64).T
        limit_s = part * audio_s.sum() / units.sum()
        tried = max((int(n) for n in np.unique(units) if seconds[units == n].mean() <= limit_s), default=0)
        return max(1, int(part * capacity), min(tried + 1, max_batch) if tried else 0)

    def processors(self, max_batch: int, streams: float) -> float | None:
        """How many processors are busy while the engine speaks so many streams; None if nothing is known.

        Unlike the duration of steps it does not depend on what else the machine does.
        """
        steps = [step for step in self._steps if step.processor_s]
        if len(steps) < MIN_STEPS:
            return None
        units, _, _, audio_s, processor_s = np.array(steps, np.float64).T
        if not audio_s.sum():
            return None
        alpha, beta = _fit(units, processor_s)
        together = min(max(streams, 1.0), max_batch)
        return streams * float((alpha / together + beta) * units.sum() / audio_s.sum())


def _startable(alpha: float, beta: float, max_batch: int, unit_s: float) -> float:
    """How many streams can start one unit after the other in time: each stream has to start one in the time that it
    takes to hear one, and a step starts a few; `unit_s` is the time to hear so many. n * (alpha + beta * n) <= unit_s.
    """
    streams = (math.sqrt(alpha**2 + 4 * beta * unit_s) - alpha) / (2 * beta) if beta > 0 else math.inf
    return streams if streams <= max_batch else unit_s / max(alpha + beta * max_batch, 1e-9)


def _fit(units: np.ndarray, seconds: np.ndarray) -> tuple[float, float]:
    """Alpha and beta, at least 0, in seconds. `units`, `seconds`: `[N]`."""
    rows = np.stack([np.ones_like(units), units], axis=1)  # [N, 2]
    alone_s = float(np.median(seconds / (0.5 + 0.5 * units)))
    prior = alone_s * np.array([0.5, 0.5])
    gram = rows.T @ rows + PRIOR_WEIGHT * np.eye(2)
    alpha, beta = np.linalg.solve(gram, rows.T @ seconds + PRIOR_WEIGHT * prior)
    if alpha < 0:
        return 0.0, float(seconds.sum() / units.sum())
    if beta < 0:
        return float(seconds.mean()), 0.0
    return float(alpha), float(beta)
