"""Storage of the teacher's speech with its phoneme alignment and pitch.

A shard is one safetensors file: `audio` int16 at `RATE_HZ`, the concatenated sentences; `labels` uint8, the phoneme of
each 20 ms; `pitch` float16, fundamental frequency and phase every 10 ms; `sentences` `[n, 2]` int64, the index in the
corpus and the number of samples of each sentence. `sound` and `harmonics` are int16 at `SOUND_HZ`, of the same
duration: the target of the decoder, and its harmonic part, whose phase follows from the pitch (zeros if unknown).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

RATE_HZ = 16_000
"""Sample rate of the audio from which latents are computed."""

SOUND_HZ = 24_000
"""Sample rate of the decoder's output."""

LABEL_SAMPLES = 320
"""Samples at `RATE_HZ` per phoneme label: 20 ms."""

POINT_SAMPLES = 160
"""Samples at `RATE_HZ` per pitch value: 10 ms. The value applies to the center of this interval."""

UNIT_SAMPLES = 2560
"""Samples at `RATE_HZ` per patch: 160 ms. Sentences are padded with silence to whole patches."""

SILENCE = 0
"""Label of silence."""

Audio = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence of the teacher's speech.

    Attributes:
        number: index of the sentence in its list.
        audio: `[T]`, -1 to 1 at `RATE_HZ`; T is a multiple of `UNIT_SAMPLES`.
        labels: `[T / LABEL_SAMPLES]`, phoneme labels.
        pitch: `[T / POINT_SAMPLES, 2]`, fundamental in Hz, 0 where unvoiced, and its phase in cycles, 0 to 1, from an
            arbitrary origin.
        sound: `[T · SOUND_HZ / RATE_HZ]`, target of the decoder.
        harmonics: harmonic part of `sound`, whose phase follows from `pitch`; zeros if not known.
    """

    number: int
    audio: Audio
    labels: Labels
    pitch: Audio
    sound: Audio
    harmonics: Audio


@dataclass(frozen=True, slots=True)
class Speech:
    """All shards of a folder in memory, with n sentences in order.

    Attributes:
        audio: `[total]`, int16.
        labels: `[total / LABEL_SAMPLES]`, uint8.
        pitch: `[total / POINT_SAMPLES, 2]`, float16, see `Spoken`.
        sound, harmonics: `[total · SOUND_HZ / RATE_HZ]`, int16, see `Spoken`.
        starts: `[n + 1]`, int64, in samples: sentence i is `audio[starts[i] : starts[i + 1]]`.
        numbers: `[n]`, int64, index of each sentence in its list.
    """

    audio: Tensor
    labels: Tensor
    pitch: Tensor
    sound: Tensor
    harmonics: Tensor
    starts: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        """Number of sentences."""
        return self.numbers.shape[0]

    @property
    def hours(self) -> float:
        """Duration of the audio in hours."""
        return self.audio.shape[0] / RATE_HZ / 3600

    def sentence(self, index: int) -> tuple[Tensor, Tensor]:
        """Audio `[T]`, float32, -1 to 1, and labels `[T / LABEL_SAMPLES]` of one sentence."""
        start, end = int(self.starts[index]), int(self.starts[index + 1])
        return self.audio[start:end].float() / 32768, self.labels[start // LABEL_SAMPLES : end // LABEL_SAMPLES]


def write_shard(path: Path, spoken: Sequence[Spoken]) -> None:
    """Write a shard atomically: a file that exists is complete."""
    content = {
        "audio": _int16([one.audio for one in spoken]),
        "sound": _int16([one.sound for one in spoken]),
        "harmonics": _int16([one.harmonics for one in spoken]),
        "labels": np.concatenate([np.zeros(0, np.uint8), *(one.labels for one in spoken)]),
        "pitch": np.concatenate([np.zeros((0, 2), np.float16), *(one.pitch.astype(np.float16) for one in spoken)]),
        "sentences": np.array([(one.number, len(one.audio)) for one in spoken], np.int64).reshape(-1, 2),
    }
    partial = path.with_suffix(".partial")
    save_file(content, partial)
    partial.rename(path)


def read_speech(folder: Path) -> Speech:
    """Read all shards of a folder.

    Raises:
        FileNotFoundError: there are no shards.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no speech shards; run the stage `teacher` first")
    parts = [load_file(path) for path in paths]
    sentences = np.concatenate([part["sentences"] for part in parts])
    return Speech(
        audio=torch.from_numpy(np.concatenate([part["audio"] for part in parts])),
        labels=torch.from_numpy(np.concatenate([part["labels"] for part in parts])),
        pitch=torch.from_numpy(np.concatenate([part["pitch"] for part in parts])),
        sound=torch.from_numpy(np.concatenate([part["sound"] for part in parts])),
        harmonics=torch.from_numpy(np.concatenate([part["harmonics"] for part in parts])),
        starts=torch.from_numpy(np.concatenate([[0], sentences[:, 1].cumsum()])),
        numbers=torch.from_numpy(sentences[:, 0].copy()),
    )


def _int16(parts: Sequence[Audio]) -> npt.NDArray[np.int16]:
    audio = np.concatenate([np.zeros(0, np.float32), *parts])
    rounded: npt.NDArray[np.int16] = (np.clip(audio, -1, 1) * 32767).round().astype(np.int16)
    return rounded
