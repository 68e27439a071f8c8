"""Stage `slim`: compact training checkpoints to copy to another machine: half-precision weights, no optimizer state.

A run resumed from one repeats the optimizer's warm-up and otherwise continues where it was.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.latents import BASIS_FILE
from training.loop import CHECKPOINT, LOG, load_state

RUNS = {"vae": "vae", "lm": "lesson"}
"""Folder of a run → key of the trained weights in its state."""


def run(out: Path, names: Mapping[str, str] = RUNS) -> int:
    """Write `out/slim` from the existing runs; returns its size in bytes. To resume, copy its content over `out`.

    `names` are the folders of the runs, see `RUNS`.

    Raises:
        FileNotFoundError: there is no run.
    """
    runs = [name for name in names if (out / name / CHECKPOINT).exists()]
    if not runs:
        raise FileNotFoundError(f"{out}: no checkpoint of any of {', '.join(names)}")
    slim = out / "slim"
    for name in runs:
        (slim / name).mkdir(parents=True, exist_ok=True)
        state = load_state(out / name)
        torch.save(
            {"steps": state["steps"], "trainee": slimmed(state["trainee"], names[name])}, slim / name / CHECKPOINT
        )
        if (out / name / LOG).exists():  # a run that has only begun has none
            shutil.copy(out / name / LOG, slim / name / LOG)
    if (out / BASIS_FILE).exists():
        shutil.copy(out / BASIS_FILE, slim / BASIS_FILE)  # needed to recompute the same latents
    return sum(path.stat().st_size for path in slim.rglob("*") if path.is_file())


def slimmed(state: dict[str, Any], weights: str) -> dict[str, Any]:
    """A state whose trained and averaged weights are both the average, with the discriminators if there are any."""
    average = {name: tensor.half() for name, tensor in state["average"].items()}
    result: dict[str, Any] = {weights: average, "average": average}
    if "jury" in state:
        result["jury"] = {name: t.half() if t.is_floating_point() else t for name, t in state["jury"].items()}
    return result
