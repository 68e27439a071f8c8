"""Speech that training can learn from in a second, for the tests of its runs and of what they leave."""

import numpy as np
import torch

from training import model_sizes
from training.__main__ import main
from training.latents import read_latents
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, UNIT_SAMPLES, Spoken, read_speech, write_shard
from training.train_vae import VaeRecipe, VaeTrainee

CONFIG = model_sizes.config_of("tiny")
CPU = torch.device("cpu")
TEXTS = ("He came.", "She left at once.")


def tone(number, seconds):
    """A hum that stands for speech: pitch and labels differ from sentence to sentence."""
    time = np.arange(-(-int(seconds * 16_000) // UNIT_SAMPLES) * UNIT_SAMPLES) / 16_000
    pitch_hz = 120 + 30 * number
    audio = sum(np.sin(2 * np.pi * pitch_hz * h * time) / h for h in (1, 2, 3)) * 0.15
    labels = (np.arange(len(time) // LABEL_SAMPLES) // 5 + 10 * number + 1).astype(np.uint8)
    points = time[POINT_SAMPLES // 2 :: POINT_SAMPLES]
    pitch = np.stack([np.full(len(points), pitch_hz), pitch_hz * points % 1], 1)
    return Spoken(number, audio.astype(np.float32), labels, pitch.astype(np.float32))


def ready(folder):
    """`folder` as the first three stages leave it."""
    for name in ("train", "held_out"):
        (folder / "en" / "speech" / name).mkdir(parents=True)
        write_shard(folder / "en" / "speech" / name / "00000.safetensors", [tone(0, 0.9), tone(1, 1.3)])
        (folder / "en" / "corpus").mkdir(exist_ok=True)
        (folder / "en" / "corpus" / f"{name}.txt").write_text("\n".join(TEXTS) + "\n")
    assert main(["latents", "--out", str(folder), "--size", "tiny"]) == 0
    return folder


def vae_trainee(out, **given):
    recipe = VaeRecipe(**{"steps": 30, "batch": 2, "segment_frames": 8, "jury_width": 2, "jury_silence": 0, **given})
    speech = read_speech(out / "en" / "speech" / "train")
    latents = read_latents(out / "en" / "latents" / "train")
    return VaeTrainee(CONFIG.vae, recipe, {"en": (speech, latents)}, {"en": (speech, latents)}, CPU)
