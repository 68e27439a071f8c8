"""Stage `codes`: how much of the prosody is left in the codes.

The alternative is IndexTTS-2, in which the hidden states of the GPT reach the flow as well. They can carry no more than
the exact values that the codes are compared with here.
"""

from pathlib import Path

import torch
from torch import Tensor

from intone.server.domain import EMOTIONS
from training.indextts.codes import (
    EFFORT_EDGES_DB,
    FRAMES_PER_CODE,
    MIN_PITCH_HZ,
    PAUSE,
    PITCH_STEP_ST,
    parts,
)
from training.indextts.features import Basis, code_levels_db, code_pitch, codes_of
from training.indextts.prosody import NEUTRAL
from training.indextts.speech import FRAME_S, Speech, read_speech

MIN_STRENGTH = 0.5
"""Weaker moods are left out of the classification: they lie between the classes."""

RIDGE = 1e-3
EFFORT_STEP_DB = EFFORT_EDGES_DB[1] - EFFORT_EDGES_DB[0]


def run(out: Path, shards: int | None) -> str:
    """Errors of pitch and level as the codes give them, and how often a linear classifier names the emotion."""
    speech = read_speech(out / "speech" / "train", shards)
    basis = Basis.at(out, speech)
    sounds, level, effort = parts(codes_of(speech, basis))
    voiced = level > 0
    exact_st = 12 * torch.log2(code_pitch(speech)[0] / MIN_PITCH_HZ)
    coded_st = (level - 0.5) * PITCH_STEP_ST
    exact_db = code_levels_db(speech) - basis.levels_db[sounds]
    coded_db = (effort - (len(EFFORT_EDGES_DB)) / 2) * EFFORT_STEP_DB
    spoken = sounds != PAUSE
    lines = [
        f"{len(speech)} sentences, {len(sounds)} codes",
        f"pitch: standard deviation {exact_st[voiced].std():.2f} semitones,"
        f" RMS error of the levels {(exact_st - coded_st)[voiced].square().mean().sqrt():.2f}",
        f"effort: standard deviation {exact_db[spoken].std():.2f} dB,"
        f" RMS error of the levels {(exact_db - coded_db)[spoken].square().mean().sqrt():.2f}",
    ]
    for name, given in (
        ("exact pitch, level and rate", (exact_st, exact_db)),
        ("codes", (coded_st, coded_db)),
        ("sounds of the codes only", (torch.zeros_like(exact_st), torch.zeros_like(exact_db))),
    ):
        lines.append(f"emotion of held-out sentences named from {name}: {100 * _accuracy(speech, *given):.0f} %")
    return "\n".join(lines)


def _accuracy(speech: Speech, pitch_st: Tensor, level_db: Tensor) -> float:
    """Accuracy of a linear classifier of neutral and the eight emotions, trained on two thirds of the sentences."""
    wanted = speech.emotions - NEUTRAL
    chosen = (speech.emotions == NEUTRAL) | (speech.strengths >= MIN_STRENGTH)
    features = torch.stack([_summary(speech, index, pitch_st, level_db) for index in range(len(speech))])[chosen]
    wanted = wanted[chosen]
    features = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    features = torch.cat((features, features.square(), torch.ones(len(features), 1)), 1)
    train = torch.arange(len(features)) % 3 > 0
    targets = torch.nn.functional.one_hot(wanted, len(EMOTIONS) + 1).float()
    known = features[train]
    weights = torch.linalg.solve(
        known.T @ known + RIDGE * len(known) * torch.eye(known.shape[1]), known.T @ targets[train]
    )
    return float(((features[~train] @ weights).argmax(1) == wanted[~train]).float().mean())


def _summary(speech: Speech, index: int, pitch_st: Tensor, level_db: Tensor) -> Tensor:
    """Mean, spread and final rise of the pitch, mean level, and seconds per sound of a sentence."""
    span = slice(*speech.codes[index : index + 2].tolist())
    sounds = speech.sounds[span]
    pitch, level = pitch_st[span][sounds != PAUSE], level_db[span][sounds != PAUSE]
    count = max(1, len(torch.unique_consecutive(speech.units[span])) - 2)
    seconds = FRAMES_PER_CODE * FRAME_S * len(pitch) / count
    return torch.stack((pitch.mean(), pitch.std(), pitch[-8:].mean(), level.mean(), pitch.new_tensor(seconds)))
