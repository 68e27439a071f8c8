"""Copy synthesis: evaluate the decoder alone, on the latents of the teacher's held-out sentences.

The reference is the same speech, so the decoder is measured without the language models: with the metrics of `measure`,
by its long-term spectrum, and by the level of its first samples.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import AudioVAE
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.voxcpm.weights import CONFIG_FILE, VAE_FILES
from intone.server.engines.weights import Weights, read_tensors
from training.corpus import Corpus
from training.latents import read_latents
from training.measure import judged, save
from training.shards import RATE_HZ, SOUND_HZ, read_speech

LOWEST_HZ, HIGHEST_HZ = 100.0, 8000.0
BANDS_PER_OCTAVE = 3
FIRST_MS = 20
SKIPPED = 8
"""Number of sentences decoded as warm-up before the decoder is timed."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Results of a decoder.

    Attributes:
        bands_hz: center frequencies of the bands.
        bands_db: difference of the long-term level in each band, copies minus teacher.
        largest_db: largest absolute value of `bands_db`.
        first_db, teacher_first_db: peak level in the first `FIRST_MS` of a sentence, in dB of full scale, median over
            sentences; of the copies and of the teacher.
        rtf: real-time factor of the decoder alone, one patch at a time, in CPU time.
    """

    bands_hz: list[float]
    bands_db: list[float]
    largest_db: float
    first_db: float
    teacher_first_db: float
    rtf: float


def run(out: Path, checkpoint: Path, report: Path, language: str, sentences: int, judges: Path | None) -> str:
    """Decode and evaluate held-out sentences, write recordings and results to `report`, and return a summary.

    Raises:
        FileNotFoundError: speech or latents are missing.
    """
    config = VoxCPMConfig.load(checkpoint / CONFIG_FILE)
    tensors = read_tensors(checkpoint / VAE_FILES[0], "voxcpm")
    vae = NativeAudioVAE(config.vae, Weights(tensors, torch.float32, torch.device("cpu")))
    speech, latents = read_speech(out / "speech" / "held_out"), read_latents(out / "latents" / "held_out")
    texts = Corpus.load(out / "corpus").held_out
    count, width = min(sentences, len(speech)), config.latent_dim  # the packaged checkpoint has no detail latents
    copies: list[Any] = []
    teacher: list[Any] = []
    wanted: list[Any] = []
    elapsed_s = decoded_s = 0.0
    for row in range(count):
        patches = latents.patches[int(latents.starts[row]) : int(latents.starts[row + 1]), :, :width].float()
        began_s = time.process_time()
        copies.append(decoded(vae, patches).numpy())
        if row >= min(SKIPPED, count - 1):
            elapsed_s += time.process_time() - began_s
            decoded_s += len(copies[-1]) / config.vae.out_sample_rate_hz
        teacher.append(speech.sentence(row)[0].numpy())
        start, end = (int(at) * SOUND_HZ // RATE_HZ for at in speech.starts[row : row + 2])
        wanted.append(speech.sound[start:end].float().numpy() / 32768)
    rate_hz = config.vae.out_sample_rate_hz
    said = [texts[int(number)] for number in speech.numbers[:count]]
    reference, made = save(report / "teacher", said, teacher, RATE_HZ), save(report / "copies", said, copies, rate_hz)
    bands_hz, ours_db = long_term_db(copies, rate_hz)
    theirs_db = long_term_db(wanted, SOUND_HZ)[1]
    off_db = (ours_db - theirs_db).tolist()
    found = Copied(
        bands_hz=bands_hz,
        bands_db=off_db,
        largest_db=max(map(abs, off_db)),
        first_db=_first_db(copies, rate_hz),
        teacher_first_db=_first_db(teacher, RATE_HZ),
        rtf=elapsed_s / decoded_s,
    )
    figures: dict[str, Any] = asdict(found)
    for name, folder in (("teacher", reference), ("copies", made)):
        figures[name] = judged(folder, reference, language, judges)
    (report / "copies.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    lines = [
        f"largest difference of long-term spectra {found.largest_db:.1f} dB, first samples {found.first_db:.0f} dB"
    ]
    lines += [f"{hz:.0f} Hz {db:+.1f}" for hz, db in zip(bands_hz, off_db, strict=True)]
    for name in ("teacher", "copies"):
        shown = {key: round(value, 4) for key, value in figures[name].items() if isinstance(value, float)}
        lines.append(f"{name}: {shown}")
    return "\n".join([*lines, f"RTF of the decoder {found.rtf:.4f}"])


def decoded(vae: NativeAudioVAE | AudioVAE, patches: Tensor) -> Tensor:
    """Decode `[N, P, D]` one patch at a time, as the server does; returns the samples `[T]`."""
    state, chunks = vae.initial_state(), []
    for patch in patches:
        audio, state = vae.decode(patch.mT[None], state)
        chunks.append(audio[0])
    return torch.cat(chunks)


def long_term_db(sounds: Sequence[Any], rate_hz: int) -> tuple[list[float], Any]:
    """Center frequencies of the bands in Hz, and the mean level of all sounds in each in dB."""
    edges = LOWEST_HZ * 2 ** (
        np.arange(0, np.log2(HIGHEST_HZ / LOWEST_HZ) * BANDS_PER_OCTAVE + 1e-9) / BANDS_PER_OCTAVE
    )
    edges = np.append(edges, HIGHEST_HZ) if edges[-1] < 0.9 * HIGHEST_HZ else edges
    window = 2 * (rate_hz // 25)
    frames = [np.lib.stride_tricks.sliding_window_view(sound, window)[:: window // 2] for sound in sounds]
    power = sum((np.abs(np.fft.rfft(part * np.hanning(window), axis=1)) ** 2).sum(0) for part in frames) / window**2
    total = sum(len(part) for part in frames)
    bins = np.fft.rfftfreq(window, 1 / rate_hz)
    levels = [power[(bins >= low) & (bins < high)].sum() for low, high in zip(edges, edges[1:], strict=False)]
    return [float(np.sqrt(a * b)) for a, b in zip(edges, edges[1:], strict=False)], 10 * np.log10(
        np.array(levels) / total
    )


def _first_db(sounds: Sequence[Any], rate_hz: int) -> float:
    peaks = [np.abs(sound[: FIRST_MS * rate_hz // 1000]).max() for sound in sounds]
    return float(20 * np.log10(np.median(peaks) + 1e-6))
