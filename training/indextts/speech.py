"""Storage of the steered teacher's speech: audio, mel frames, pitch, units, and the emotion of each sentence.

A shard is one safetensors file with the sentences of all lists joined; `sentences` and `moods` say where each is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import MelConfig
from intone.server.engines.indextts.vocoder.source import SourceState
from training.indextts.prosody import Mood

RATE_HZ = 24_000
HOP_SAMPLES = 256
FRAME_S = HOP_SAMPLES / RATE_HZ
MEL_BANDS = 80
MEL = MelConfig(RATE_HZ, 1024, 1024, HOP_SAMPLES, MEL_BANDS, 0.0, None)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One sentence of F mel frames and n codes.

    Attributes:
        number: index of the sentence in its list.
        sound, harmonics: `[F · HOP_SAMPLES]`, the target of the vocoder and its harmonic part, -1 to 1.
        mel: `[F, MEL_BANDS]`, natural logarithms.
        pitch: `[F, 2]`, fundamental frequency in Hz, without gaps, and voicing, at the end of each frame.
        before: the source before the first frame.
        units, sounds: `[n]`, of each code the index of the text's character, and the sound.
        characters: the text in phonemes.
    """

    number: int
    sound: np.ndarray
    harmonics: np.ndarray
    mel: np.ndarray
    pitch: np.ndarray
    before: SourceState
    units: np.ndarray
    sounds: np.ndarray
    characters: str
    mood: Mood


@dataclass(frozen=True, slots=True)
class Speech:
    """All shards of a folder in memory: N sentences, joined; sentence i has the rows `[starts[i], starts[i + 1])`.

    Attributes:
        sound, harmonics: `[frames, HOP_SAMPLES]`, int16.
        mel: `[frames, MEL_BANDS]`, float16.
        pitch: `[frames, 2]`, float32, see `Spoken`.
        units, sounds: `[codes]`, int64.
        texts: of each sentence, in phonemes.
        frames, codes: `[N + 1]`, int64: the starts.
        numbers, emotions: `[N]`, int64; see `Mood`.
        strengths: `[N]`, float32.
        before: `[N, 3]`, float64: pitch in Hz, voicing and phase in cycles before the first frame.
    """

    sound: Tensor
    harmonics: Tensor
    mel: Tensor
    pitch: Tensor
    units: Tensor
    sounds: Tensor
    texts: Sequence[str]
    frames: Tensor
    codes: Tensor
    numbers: Tensor
    emotions: Tensor
    strengths: Tensor
    before: Tensor

    def __len__(self) -> int:
        """Number of sentences."""
        return self.numbers.shape[0]

    @property
    def hours(self) -> float:
        """Duration in hours."""
        return self.mel.shape[0] * FRAME_S / 3600

    def mood(self, index: int) -> Mood:
        """The mood of a sentence."""
        return Mood(int(self.emotions[index]), float(self.strengths[index]))

    def source(self, index: int) -> SourceState:
        """The source before the first frame of a sentence."""
        pitch_hz, voicing, phase = self.before[index].tolist()
        return SourceState(pitch_hz, voicing, phase)


def write_shard(path: Path, spoken: Sequence[Spoken]) -> None:
    """Write a shard atomically: a file that exists is complete."""

    def joined(name: str, dtype: type, scale: float = 1.0) -> np.ndarray:
        parts = [np.asarray(getattr(one, name)) * scale for one in spoken]
        return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)

    lengths = [(one.number, len(one.mel), len(one.units), len(one.characters), one.mood.emotion) for one in spoken]
    moods = [(one.mood.strength, one.before.pitch_hz, one.before.voicing, one.before.phase) for one in spoken]
    content = {
        "sound": joined("sound", np.int16, 32767),
        "harmonics": joined("harmonics", np.int16, 32767),
        "mel": joined("mel", np.float16),
        "pitch": joined("pitch", np.float32),
        "units": joined("units", np.int16),
        "sounds": joined("sounds", np.uint8),
        "characters": np.array([ord(character) for one in spoken for character in one.characters], np.int32),
        "sentences": np.array(lengths, np.int64).reshape(-1, 5),
        "moods": np.array(moods, np.float64).reshape(-1, 4),
    }
    partial = path.with_suffix(".partial")
    save_file(content, partial)
    partial.rename(path)


def read_speech(folder: Path, max_shards: int | None = None) -> Speech:
    """Read the shards of a folder, or the first `max_shards` of them.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = sorted(folder.glob("*.safetensors"))[:max_shards]
    if not paths:
        raise FileNotFoundError(f"{folder}: no speech; run the stage `teacher` first")
    shards = [load_file(path) for path in paths]

    def joined(name: str) -> Tensor:
        return torch.from_numpy(np.concatenate([shard[name] for shard in shards]))

    sentences, moods = joined("sentences"), joined("moods")
    ends = torch.cat((torch.zeros(1, 3, dtype=torch.int64), sentences[:, 1:4].cumsum(0)))
    letters = "".join(map(chr, joined("characters").tolist()))
    bounds = ends[:, 2].tolist()
    return Speech(
        sound=joined("sound").view(-1, HOP_SAMPLES),
        harmonics=joined("harmonics").view(-1, HOP_SAMPLES),
        mel=joined("mel").view(-1, MEL_BANDS),
        pitch=joined("pitch").view(-1, 2),
        units=joined("units").long(),
        sounds=joined("sounds").long(),
        texts=[letters[start:end] for start, end in zip(bounds, bounds[1:], strict=False)],
        frames=ends[:, 0].clone(),
        codes=ends[:, 1].clone(),
        numbers=sentences[:, 0].clone(),
        emotions=sentences[:, 4].clone(),
        strengths=moods[:, 0].float(),
        before=moods[:, 1:].clone(),
    )
