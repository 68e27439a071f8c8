"""Checkpoints small enough to travel: weights in half precision, no optimizer. Knows no model.

A run that goes on from one warms its optimizer up again, and is otherwise where it was.
"""

import shutil
from pathlib import Path
from typing import Any

import torch

from training.latents import BASIS_FILE
from training.loop import CHECKPOINT, LOG, load_state

RUNS = {"vae": "vae", "lm": "lesson"}
"""Folder → what its state calls the weights that learn."""


def run(out: Path) -> int:
    """Write `out/slim` from whatever runs there are; returns its bytes. Copied over `out`, it is where they go on.

    Raises:
        FileNotFoundError: there is no run.
    """
    found = [name for name in RUNS if (out / name / CHECKPOINT).exists()]
    if not found:
        raise FileNotFoundError(f"{out}: no checkpoint of any of {', '.join(RUNS)}")
    slim = out / "slim"
    for name in found:
        (slim / name).mkdir(parents=True, exist_ok=True)
        state = load_state(out / name)
        torch.save(
            {"steps": state["steps"], "trainee": slimmed(state["trainee"], RUNS[name])}, slim / name / CHECKPOINT
        )
        shutil.copy(out / name / LOG, slim / name / LOG)
    if (out / BASIS_FILE).exists():
        shutil.copy(out / BASIS_FILE, slim / BASIS_FILE)  # latents are made with it again
    return sum(path.stat().st_size for path in slim.rglob("*") if path.is_file())


def slimmed(state: dict[str, Any], weights: str) -> dict[str, Any]:
    """The averaged weights, once, for both what learns and what is averaged; the jury, where there is one."""
    average = {name: tensor.half() for name, tensor in state["average"].items()}
    result: dict[str, Any] = {weights: average, "average": average}
    if "jury" in state:
        result["jury"] = {name: t.half() if t.is_floating_point() else t for name, t in state["jury"].items()}
    return result
