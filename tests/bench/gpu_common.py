"""What the steps of `gpu.py` share: their arguments, results that are kept at once, and units spoken side by side."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Given:
    """`device` is "cuda" or "cpu"; `size` "full" or "nano"; `wheels` the folder of `gpu_wheels.py`, if there is one."""

    device: str
    size: str
    wheels: Path | None = None


class Results:
    """A mapping that is written to disk at every assignment, so that a crash loses nothing."""

    def __init__(self, found: dict[str, Any], write: Callable[[], None]) -> None:
        self._found, self._write = found, write
        write()

    def __setitem__(self, key: str, value: Any) -> None:
        self._found[key] = value
        self._write()

    def add(self, key: str, row: dict[str, Any]) -> None:
        """A row of the table `key`."""
        self[key] = [*self._found.get(key, []), row]


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


@dataclass
class Unit:
    """A unit that is spoken: when its audio arrived, and how much of it.

    Attributes:
        began_s: when it was asked for.
        arrivals: (seconds on the same clock, samples) of each piece.
    """

    state: Any
    began_s: float
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    @property
    def ttfa_ms(self) -> float:
        """To the first audio."""
        return 1000 * (self.arrivals[0][0] - self.began_s)

    def rtf(self, rate_hz: int) -> float:
        """Wall time, first audio included, to audio time."""
        return (self.arrivals[-1][0] - self.began_s) * rate_hz / self.samples

    @property
    def samples(self) -> int:
        """Of all pieces."""
        return sum(count for _, count in self.arrivals)

    def stall_ms(self, rate_hz: int) -> float:
        """The longest time that a listener who plays from the first piece on waits for a later one."""
        end_s, longest_s = self.arrivals[0][0], 0.0
        for at_s, count in self.arrivals:
            longest_s = max(longest_s, at_s - end_s)
            end_s = max(end_s, at_s) + count / rate_hz
        return 1000 * longest_s


@dataclass
class Spoken:
    """Units that were spoken together, and milliseconds by stage of each step."""

    units: list[Unit]
    stages: list[dict[str, float]] = field(default_factory=list)
    steps_ms: list[float] = field(default_factory=list)


def speak(engine: Any, requests: Sequence[Any]) -> Spoken:
    """Units that are all asked for at once, to their ends; as in a worker, a step takes a few new ones at a time."""
    new_per_step, began_s = engine.info.new_units, time.perf_counter()
    spoken = Spoken([Unit(engine.start(request), began_s) for request in requests])
    begun: list[Unit] = []
    while any(not unit.state.done for unit in spoken.units):
        begun = spoken.units[: len(begun) + new_per_step]
        batch = [unit for unit in begun if not unit.state.done]
        at_s = time.perf_counter()
        steps = engine.step([unit.state for unit in batch])
        now_s = time.perf_counter()
        spoken.stages.append(steps[0].stage_ms)
        spoken.steps_ms.append(1000 * (now_s - at_s))
        for unit, step in zip(batch, steps, strict=True):
            if step.pcm is not None and len(step.pcm):
                unit.arrivals.append((now_s, len(step.pcm)))
    return spoken


def audio_of(engine: Any, requests: Sequence[Any]) -> list[np.ndarray]:
    """The audio of units that are spoken together."""
    states = [engine.start(request) for request in requests]
    pieces: list[list[np.ndarray]] = [[] for _ in states]
    while any(not state.done for state in states):
        live = [row for row, state in enumerate(states) if not state.done]
        for row, step in zip(live, engine.step([states[row] for row in live]), strict=True):
            if step.pcm is not None:
                pieces[row].append(step.pcm)
    return [np.concatenate(each) for each in pieces]


def noise(seconds: float, rate_hz: int) -> np.ndarray:
    """A recording for a voice."""
    return (0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate_hz))).astype(np.float32)


def quantile(values: Sequence[float], share: float) -> float:
    """Of measured values."""
    return float(np.quantile(np.asarray(values), share))
