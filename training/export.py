"""Stage `export`: writes the averaged weights as a checkpoint in the published layout, which the server loads."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from intone.server.engines.voxcpm.weights import CONFIG_FILE, MODEL_FILES, VAE_FILES
from training import card, distil, model_sizes, tokens
from training.languages import languages_of
from training.latents import BASIS_FILE
from training.loop import CHECKPOINT, load_state
from training.storage import packed
from training.train_lm import model_tensors


def run(out: Path, size: str, storage: str, folder: Path, reports: Sequence[Path] = ()) -> int:
    """Write `folder` from the latest training checkpoints under `out`; returns its size in bytes.

    The flow decoder is the distilled one if the stage `distil` has run.

    Args:
        size: name of the model size, see `model_sizes`.
        storage: one of `storage.KINDS`.
        reports: of the stage `measure` on these weights, one per language; with any, a model card is written too.

    Raises:
        FileNotFoundError: an earlier stage has not run.
        ValueError: see `card.write`.
    """
    model = model_tensors(load_state(out / "lm")["trainee"])
    vae = load_state(out / "vae")["trainee"]["average"]
    document = {**model_sizes.document(size), "languages": list(languages_of(out))}
    if (out / distil.FOLDER / CHECKPOINT).exists():
        document, model = distil.distilled(document, model, load_state(out / distil.FOLDER)["trainee"])
    write_checkpoint(folder, document, model, vae, storage)
    shutil.copy(out / BASIS_FILE, folder / BASIS_FILE)
    if reports:
        card.write(folder, reports)
    return sum(path.stat().st_size for path in folder.iterdir())


def write_checkpoint(
    folder: Path, document: Mapping[str, Any], model: Mapping[str, Tensor], vae: Mapping[str, Tensor], storage: str
) -> None:
    """Write `config.json`, the tensors in the given `storage` and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
    save_file(packed(model, storage), folder / MODEL_FILES[0])
    save_file(packed(vae, storage), folder / VAE_FILES[0])
    tokens.save(folder)
