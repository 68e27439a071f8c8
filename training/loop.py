"""A training run that can be stopped and gone on with: budget, checkpoints, log, plot. Knows no model.

Whatever a step needs at random is drawn from a generator that is seeded with the step's number, so a run that was
stopped and gone on with is the run that was not.
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
    """What a run trains."""

    def step(self, number: int) -> Mapping[str, Tensor]:
        """Do step `number`, from 0; its figures, each a number on the device."""

    def examine(self, number: int) -> Mapping[str, float]:
        """Figures of held-out speech; changes nothing."""

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: tensors, numbers, and lists and dictionaries of them."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends, and what it does on the way.

    Attributes:
        steps: of the whole run, those of earlier calls included.
        minutes: of this call; None for no limit.
        save_minutes: between checkpoints.
        log_steps: between lines of the log.
        examine_steps: between examinations.
    """

    steps: int
    minutes: float | None = None
    save_minutes: float = 3.0
    log_steps: int = 20
    examine_steps: int = 500


@dataclass(slots=True)
class _Interruption:
    """Whether someone asked the run to stop."""

    asked: bool = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@dataclass(slots=True)
class _Figures:
    """Sums of the figures since the last line of the log, on the device: reading them would wait for it."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, figures: Mapping[str, Tensor]) -> None:
        for name, value in figures.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def take(self) -> dict[str, float]:
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def train(trainee: Trainee, folder: Path, budget: Budget, title: str) -> int:
    """Run until the budget is spent or someone interrupts (Ctrl-C, SIGTERM); the steps done so far, in all.

    Goes on from the checkpoint in `folder` where there is one, and leaves one there at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = _resume(trainee, folder)
    began_s = saved_s = time.monotonic()
    end_s = float("inf") if budget.minutes is None else began_s + 60 * budget.minutes
    figures, bar = _Figures(), tqdm(total=budget.steps, initial=done, unit="step", desc=title)
    with _interruptible() as interruption, bar, (folder / LOG).open("a", encoding="utf-8") as log:
        while done < budget.steps and time.monotonic() < end_s and not interruption.asked:
            figures.add(trainee.step(done))
            done += 1
            bar.update()
            if done % budget.log_steps == 0 or done == budget.steps:
                line: dict[str, float] = {"step": done, **figures.take()}
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
    """The lines of a run's log; none if it has none."""
    path = folder / LOG
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def draw_log(folder: Path, title: str) -> Path | None:
    """The figures of a run over its steps, as `curves.png`; None without matplotlib or without figures."""
    lines = read_log(folder)
    names = sorted({name for line in lines for name in line} - {"step"})
    try:
        from matplotlib.figure import Figure  # optional
    except ImportError:
        return None
    if not names:
        return None
    columns = 3
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(12, 2.6 * rows), layout="constrained")
    for at, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, at + 1)
        points = [(line["step"], line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{title}, by step")
    figure.savefig(folder / "curves.png", dpi=110)
    return folder / "curves.png"


def generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The randomness of one step."""
    return torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)


def load_state(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run, on the CPU.

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
    # A run that was killed logged more than it saved.
    kept = [json.dumps(line) + "\n" for line in read_log(folder) if line["step"] <= done]
    (folder / LOG).write_text("".join(kept), encoding="utf-8")
    return done


def _save(trainee: Trainee, folder: Path, done: int) -> None:
    partial = folder / f"{CHECKPOINT}.partial"
    torch.save({"steps": done, "trainee": trainee.state()}, partial)
    partial.rename(folder / CHECKPOINT)


@contextmanager
def _interruptible() -> Iterator[_Interruption]:
    """Turns the first Ctrl-C or SIGTERM into a wish; a second one acts as ever."""
    interruption = _Interruption()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def ask(number: int, frame: FrameType | None) -> None:
        interruption.ask(number, frame)
        signal.signal(number, before[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, ask)
    try:
        yield interruption
    finally:
        for number in numbers:
            signal.signal(number, before[number])
