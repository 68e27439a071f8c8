"""A checkpoint as training exports it, with random weights and a given card, for tests of loading and serving."""

import json
from pathlib import Path

import torch

from intone.server.engines.voxcpm import audio_vae, sizes
from intone.server.engines.voxcpm.bundled_voice import CARD_FILE
from training import export, model_sizes

GOOD, BAD = ({"languages": {"en": {"wer": wer, "mos": 3.9, "per": wer}}} for wer in (0.04, 0.4))
LEADING = {"languages": {"en": {"wer": 0.04, "mos": 4.3, "per": 0.04, "digits": 0.96}}}


def write_voice(folder: Path, storage: str = "int8", size: str = "tiny", card: object = None) -> Path:
    """Returns `folder`; the model is marked as trained, generates noise and never stops."""
    config = model_sizes.config_of(size)
    vae = audio_vae.random_tensors(config.vae, torch.Generator().manual_seed(2))
    export.write_checkpoint(folder, model_sizes.document(size), sizes.random_tensors(config, 1), vae, storage)
    if card is not None:
        (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    return folder
