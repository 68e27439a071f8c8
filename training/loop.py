"""Resumable training loop: budget, checkpoints, JSONL log and loss curves. Independent of the model.

All randomness of a step comes from a generator seeded with the step number. A resumed run is therefore bit-identical to
an uninterrupted one.
"""

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

CHECKPOINT = "state.pt"
LOG = "log.jsonl"


class Trainee(Protocol):
    """Model, optimizer and data of a run."""

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Run training step `number`, counted from 0; returns its metrics as scalars on the device."""

    def examine(self, number: int) -> Mapping[str, float]:
        """Metrics on held-out speech after `number` steps; without side effects."""

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs: tensors, numbers, and lists and dictionaries of them."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends, and how often it saves, logs and evaluates.

    Attributes:
        steps: total number of steps, including those of earlier calls.
        minutes: time limit of this call; None for no limit.
        save_minutes: interval between checkpoints.
        log_steps: interval between lines of the log.
        examine_steps: interval between evaluations on held-out speech; a multiple of `log_steps`.
    """

    steps: int
    minutes: float | None = None
    save_minutes: float = 3.0
    log_steps: int = 20
    examine_steps: int = 500


@dataclass(slots=True)
class _Interruption:
    """Whether a signal asked the run to stop."""

    requested: bool = False


@dataclass(slots=True)
class _MetricSums:
    """Metrics summed since the last line of the log. They stay on the device: reading them would synchronize."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def take(self) -> dict[str, float]:
        """Return the means and reset."""
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def train(trainee: Trainee, folder: Path, budget: Budget, title: str) -> int:
    """Train until the budget is spent or SIGINT or SIGTERM arrives; returns the total number of steps done.

    Resumes from the checkpoint in `folder` if there is one, and writes one there at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = _resume(trainee, folder)
    start_s = saved_s = time.monotonic()
    end_s = float("inf") if budget.minutes is None else start_s + 60 * budget.minutes
    metrics, bar = _MetricSums(), tqdm(total=budget.steps, initial=done, unit="step", desc=title)
    with _interruptible() as interruption, bar, (folder / LOG).open("a", encoding="utf-8") as log:
        while done < budget.steps and time.monotonic() < end_s and not interruption.requested:
            metrics.add(trainee.step(done))
            done += 1
            bar.update()
            if done % budget.log_steps == 0 or done == budget.steps:
                line: dict[str, float] = {"step": done, **metrics.take()}
                if done % budget.examine_steps == 0 or done == budget.steps:
                    line |= trainee.examine(done)
                bar.set_postfix({name: f"{value:.3g}" for name, value in list(line.items())[1:5]}, refresh=False)
                log.write(json.dumps(line) + "\n")
                log.flush()
            if time.monotonic() - saved_s > 60 * budget.save_minutes:
                _save(trainee, folder, done)
                saved_s = time.monotonic()
    _save(trainee, folder, done)
    return done


def read_log(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's log; empty if there is no log."""
    path = folder / LOG
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def draw_log(folder: Path, title: str) -> Path | None:
    """Plot all metrics of a run over its steps to `curves.png`; None without matplotlib or without a log."""
    lines = read_log(folder)
    names = sorted({name for line in lines for name in line} - {"step"})
    try:
        from matplotlib.figure import Figure  # optional dependency
    except ImportError:
        return None
    if not names:
        return None
    columns = 3
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(12, 2.6 * rows), layout="constrained")
    for index, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, columns, index)
        points = [(line["step"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{title}, by step")
    figure.savefig(folder / "curves.png", dpi=110)
    return folder / "curves.png"


def generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The random generator of one step."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)


def load_state(folder: Path) -> dict[str, Any]:
    """Read the checkpoint of a run, on the CPU.

    Raises:
        FileNotFoundError: there is none.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f"{path}: no checkpoint; run the stage that makes it first")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _resume(trainee: Trainee, folder: Path) -> int:
    if not (folder / CHECKPOINT).exists():
        (folder / LOG).unlink(missing_ok=True)
        return 0
    state = load_state(folder)
    trainee.restore(state["trainee"])
    done = int(state["steps"])
    # A run that was killed may have logged steps after its last checkpoint.
    lines = [json.dumps(line) + "\n" for line in read_log(folder) if line["step"] <= done]
    (folder / LOG).write_text("".join(lines), encoding="utf-8")
    return done


def _save(trainee: Trainee, folder: Path, done: int) -> None:
    partial = folder / f"{CHECKPOINT}.partial"
    torch.save({"steps": done, "trainee": trainee.state()}, partial)
    partial.rename(folder / CHECKPOINT)


@contextmanager
def _interruptible() -> Iterator[_Interruption]:
    """Record the first SIGINT or SIGTERM instead of acting on it; a second one has its usual effect."""
    interruption = _Interruption()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        signal.signal(number, previous[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        for number in numbers:
            signal.signal(number, previous[number])
