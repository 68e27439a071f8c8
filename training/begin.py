"""Runs that go on from an exported checkpoint, where their own files are gone. Knows no training.

What an export leaves behind begins anew: the jury, the second teacher's linear head, the optimizers. So does the count
of steps, and with it the learning rate.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from intone.server.engines.voxcpm.weights import read_checkpoint
from training import model_sizes
from training.latents import BASIS_FILE
from training.loop import CHECKPOINT
from training.model import VoxCPM
from training.objective import Lesson
from training.shards import LABEL_SAMPLES, UNIT_SAMPLES
from training.vae import AudioVAE


def run(out: Path, size: str, folder: Path) -> None:
    """Write the checkpoints of both runs, and the basis of the latents, below `out` from the checkpoint in `folder`.

    Raises:
        CheckpointError: `folder` is no checkpoint.
        ValueError: it is one of another size, or there are runs that this would overwrite.
        FileNotFoundError: it has no basis.
    """
    config = model_sizes.config_of(size)
    checkpoint = read_checkpoint(folder)
    lesson = Lesson(VoxCPM(config), UNIT_SAMPLES // LABEL_SAMPLES)
    vae = AudioVAE(config.vae)
    for name, module, tensors in (("language models", lesson.model, checkpoint.model), ("VAE", vae, checkpoint.vae)):
        expected = {key: tensor.shape for key, tensor in module.state_dict().items()}
        if {key: tensor.shape for key, tensor in tensors.items()} != expected:
            raise ValueError(f"{folder}: the {name} are not of size {size}")
        module.load_state_dict(tensors)
    if not (folder / BASIS_FILE).is_file():
        raise FileNotFoundError(f"{folder}: no {BASIS_FILE}, so nobody knows what its latents mean")
    known = out / BASIS_FILE
    if known.exists() and known.read_bytes() != (folder / BASIS_FILE).read_bytes():
        raise ValueError(f"{known} is not that of {folder}, and its latents are other ones: choose another --out")
    for name in ("lm", "vae"):
        if (out / name / CHECKPOINT).exists():
            raise ValueError(f"{out / name} has a run already: remove it, or choose another --out")
    _save(out / "lm", lesson, "lesson")
    _save(out / "vae", vae, "vae")
    shutil.copy(folder / BASIS_FILE, out / BASIS_FILE)


def _save(folder: Path, module: nn.Module, name: str) -> None:
    weights = module.state_dict()
    state: dict[str, Any] = {"steps": 0, "trainee": {name: weights, "average": weights}}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / CHECKPOINT)
