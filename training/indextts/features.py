"""What the models are trained on: normalized rows of mel frames, and semantic codes."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from intone.server.engines.indextts.vocoder.source import REFERENCE_HZ, ROWS_PER_OCTAVE
from training.indextts.codes import (
    EFFORT_EDGES_DB,
    SOUND_COUNT,
    composed,
    frame_spans,
    pitch_levels,
)
from training.indextts.speech import Speech

BASIS_FILE = "basis.safetensors"
LEVEL_BANDS = slice(2, 60)
"""Mel bands, up to 5 kHz, whose mean logarithm is the level of a frame."""

DB_PER_NEPER = 8.685889638
MIN_STD = 0.5


@dataclass(frozen=True, slots=True)
class Basis:
    """Statistics of the training speech.

    Attributes:
        mean, std: of each mel band, `[MEL_BANDS]`: rows are normalized, so that the flow begins at their scale.
        levels_db: mean level of each sound, `[SOUND_COUNT]`.
    """

    mean: Tensor
    std: Tensor
    levels_db: Tensor

    @classmethod
    def of(cls, speech: Speech) -> "Basis":
        """The statistics of some speech."""
        mel = speech.mel.float()
        levels = code_levels_db(speech)
        counts = torch.bincount(speech.sounds, minlength=SOUND_COUNT).clamp_min(1)
        sums = torch.bincount(speech.sounds, levels.double(), minlength=SOUND_COUNT)
        return cls(mel.mean(0), mel.std(0).clamp_min(MIN_STD), (sums / counts).float())

    @classmethod
    def at(cls, out: Path, speech: Speech) -> "Basis":
        """Read the basis of a run, or compute it from `speech` and write it first."""
        path = out / BASIS_FILE
        if not path.exists():
            made = cls.of(speech)
            save_file({"mean": made.mean, "std": made.std, "levels_db": made.levels_db}, path)
        return cls(**load_file(path))

    def rows(self, mel: Tensor, pitch: Tensor) -> Tensor:
        """Rows of frames: log mel `[F, MEL_BANDS]`, and pitch in Hz and voicing `[F, 2]` → `[F, MEL_BANDS + 2]`."""
        octaves = torch.log2(pitch[:, :1] / REFERENCE_HZ)
        return torch.cat(((mel.float() - self.mean) / self.std, ROWS_PER_OCTAVE * octaves, 2 * pitch[:, 1:] - 1), 1)


def code_levels_db(speech: Speech) -> Tensor:
    """Level of each code in dB, `[codes]`."""
    return DB_PER_NEPER * _code_means(speech, speech.mel[:, LEVEL_BANDS].float().mean(1, keepdim=True))[:, 0]


def code_pitch(speech: Speech) -> tuple[Tensor, Tensor]:
    """Mean pitch of each code in Hz, and the voiced part of it, `[codes]` each."""
    voicing = speech.pitch[:, 1:]
    octaves = torch.log2(speech.pitch[:, :1])
    voiced, weighted, plain = _code_means(speech, torch.cat((voicing, voicing * octaves, octaves), 1)).unbind(1)
    return torch.exp2(torch.where(voiced > 0, weighted / voiced.clamp_min(1e-3), plain)), voiced


def codes_of(speech: Speech, basis: Basis) -> Tensor:
    """The semantic codes of all sentences, `[codes]`, int64."""
    pitch_hz, voiced = code_pitch(speech)
    relative_db = code_levels_db(speech) - basis.levels_db[speech.sounds]
    effort = torch.bucketize(relative_db, torch.tensor(EFFORT_EDGES_DB))
    return composed(speech.sounds, pitch_levels(pitch_hz, voiced), effort)


def code_starts(speech: Speech) -> tuple[Tensor, Tensor]:
    """First frame of each code among all frames, and the frame after its last: `[codes]` each."""
    counts = speech.codes.diff()
    spans = frame_spans(int(counts.max()))
    place = torch.arange(len(speech.sounds)) - speech.codes[:-1].repeat_interleave(counts)
    first = speech.frames[:-1].repeat_interleave(counts)
    last = speech.frames[1:].repeat_interleave(counts)
    return first + spans[place], torch.minimum(first + spans[place + 1], last)


def _code_means(speech: Speech, values: Tensor) -> Tensor:
    """Means of `values` `[frames, C]` over the frames of each code: `[codes, C]`."""
    sums = torch.cat((values.new_zeros(1, values.shape[1], dtype=torch.float64), values.double().cumsum(0)))
    starts, ends = code_starts(speech)
    means = (sums[ends] - sums[starts]) / (ends - starts).clamp_min(1).unsqueeze(1)
    return means.float()
