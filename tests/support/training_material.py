"""Small synthetic training data, for tests of training runs and of their outputs."""

import numpy as np
import torch

from training import model_sizes
from training.__main__ import main
from training.latents import read_latents
from training.shards import (
    LABEL_SAMPLES,
    POINT_SAMPLES,
    RATE_HZ,
    SOUND_HZ,
    UNIT_SAMPLES,
    Spoken,
    read_speech,
    write_shard,
)
from training.train_vae import VaeRecipe, VaeTrainee

CONFIG = model_sizes.config_of("tiny")
CPU = torch.device("cpu")
TEXTS = ("He came.", "She left at once.")


def tone(number, seconds):
    """A harmonic tone in place of speech; pitch and labels depend on the sentence number."""
    length = -(-int(seconds * RATE_HZ) // UNIT_SAMPLES) * UNIT_SAMPLES
    time = np.arange(length) / RATE_HZ
    pitch_hz = 120 + 30 * number
    audio, sound = (
        sum(np.sin(2 * np.pi * pitch_hz * h * at) / h for h in (1, 2, 3)).astype(np.float32) * 0.15
        for at in (time, np.arange(length * SOUND_HZ // RATE_HZ) / SOUND_HZ)
    )
    labels = (np.arange(len(time) // LABEL_SAMPLES) // 5 + 10 * number + 1).astype(np.uint8)
    points = time[POINT_SAMPLES // 2 :: POINT_SAMPLES]
    pitch = np.stack([np.full(len(points), pitch_hz), pitch_hz * points % 1], 1)
    return Spoken(number, audio, labels, pitch.astype(np.float32), sound, sound)


def ready(folder):
    """Fill `folder` with the outputs of the first three stages."""
    for name in ("train", "held_out"):
        (folder / "en" / "speech" / name).mkdir(parents=True)
        write_shard(folder / "en" / "speech" / name / "00000.safetensors", [tone(0, 0.9), tone(1, 1.3)])
        (folder / "en" / "corpus").mkdir(exist_ok=True)
        (folder / "en" / "corpus" / f"{name}.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(["latents", "--out", str(folder), "--size", "tiny"]) == 0
    return folder


def vae_trainee(out, **given):
    recipe = VaeRecipe(
        **{
            "steps": 30,
            "batch": 2,
            "segment_frames": 8,
            "jury_width": 2,
            "jury_silence": 0,
            "history_frames": 2,
            **given,
        }
    )
    speech = read_speech(out / "en" / "speech" / "train")
    latents = read_latents(out / "en" / "latents" / "train")
    return VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU)
