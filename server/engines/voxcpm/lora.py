"""Merges a LoRA fine-tuning (arXiv 2106.09685) into the weights it was trained for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from intone.server.engines.voxcpm.config import ENGINE
from intone.server.engines.weights import find_file, read_tensors
from intone.server.errors import CheckpointError

WEIGHT_FILES = ("lora_weights.safetensors", "lora_weights.ckpt")
CONFIG_FILE = "lora_config.json"
OFFICIAL_ALPHA = 16.0
"""The official package's default."""


def merge_lora(tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """`tensors` with W + alpha / r · B A in place of each weight for which the folder has `lora_A` and `lora_B`.

    Raises:
        CheckpointError: a file cannot be read, a target is unknown, half of a pair is missing, or shapes differ.
    """
    path = find_file(folder, WEIGHT_FILES, ENGINE)
    updates = read_tensors(path, ENGINE)
    alpha, rank = _read_config(folder / CONFIG_FILE)
    merged = dict(tensors)
    for target in sorted({_target(key, path) for key in updates}):
        down, up = (_half(updates, f"{target}.{half}", path) for half in ("lora_A", "lora_B"))
        weight = tensors.get(f"{target}.weight")
        if weight is None:
            raise CheckpointError(ENGINE, f"{path}: {target}.lora_A: the model has no {target}.weight")
        inner = rank or down.shape[0]
        expected = ((inner, weight.shape[1]), (weight.shape[0], inner))
        if (tuple(down.shape), tuple(up.shape)) != expected:
            raise CheckpointError(
                ENGINE,
                f"{path}: {target}: found lora_A {list(down.shape)} and lora_B {list(up.shape)}, "
                f"expected {list(expected[0])} and {list(expected[1])}",
            )
        merged[f"{target}.weight"] = (weight.float() + (alpha / inner) * (up.float() @ down.float())).to(weight.dtype)
    return merged


def _target(key: str, path: Path) -> str:
    target, _, half = key.rpartition(".")
    if half not in ("lora_A", "lora_B") or not target:
        raise CheckpointError(ENGINE, f"{path}: found {key}, expected names that end in .lora_A or .lora_B")
    return target


def _half(updates: Mapping[str, Tensor], key: str, path: Path) -> Tensor:
    if key not in updates or updates[key].dim() != 2:
        raise CheckpointError(ENGINE, f"{path}: {key}: expected a matrix, found none")
    return updates[key]


def _read_config(path: Path) -> tuple[float, int | None]:
    """Alpha and rank. Without a file the rank is None: it follows from the tensors."""
    if not path.is_file():
        return OFFICIAL_ALPHA, None
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        values = document.get("lora_config", document)  # the training script nests it
        alpha, rank = float(values.get("alpha", OFFICIAL_ALPHA)), int(values.get("r", 8))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
    if rank < 1:
        raise CheckpointError(ENGINE, f"{path}: r: found {rank}, expected a positive integer")
    return alpha, rank
