"""Stages `copies` and `measure`: how good each part is, by the evaluation models of `training/judges.py`.

`copies` resynthesizes held-out sentences of the teacher: from its frames (the vocoder alone), and from its codes (flow
and vocoder). `measure` lets an exported checkpoint speak, through the engine, and compares its prosodies with the
teacher's.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from intone.server.domain import EMOTIONS, Emotion, Samples, SpeakRequest
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.vocoder.source import Source, SourceState
from intone.server.text.normalizer import Normalizer
from training.copy_synthesis import long_term_db
from training.corpus import Corpus
from training.indextts import sizes
from training.indextts.export import averaged
from training.indextts.features import BASIS_FILE, Basis
from training.indextts.flow import Acoustic
from training.indextts.prosody import Mood
from training.indextts.speech import FRAME_S, RATE_HZ, Speech, read_speech
from training.indextts.teacher import Steered
from training.indextts.train_flow import Sentences
from training.indextts.vocoder import BigVGAN
from training.judges import pitch
from training.loop import CHECKPOINT
from training.measure import judged, save

STRENGTHS = (1 / 3, 2 / 3, 1.0)
JUDGE_HZ = 16_000
"""Sample rate of the pitch tracker."""

SIZE_TOLERANCE = 0.35
"""Accepted difference of a change of prosody from the teacher's, relative to it."""


@torch.no_grad()
def copies(out: Path, size: str, sentences: int, report: Path, judges: Path | None) -> str:
    """Resynthesize held-out sentences, write recordings and results to `report`, and return a summary.

    Raises:
        FileNotFoundError: there is no speech, or the vocoder has not been trained.
    """
    speech = read_speech(out / "speech" / "held_out")
    texts = Corpus.load(out / "en" / "corpus").held_out
    config, basis = sizes.config(size), Basis(**load_file(out / BASIS_FILE))
    vocoder = BigVGAN(config)
    vocoder.load_state_dict(averaged(out, "vocoder"))
    indices = range(min(sentences, len(speech)))
    said = [texts[int(speech.numbers[index])] for index in indices]
    wanted = [_samples(speech, index) for index in indices]
    made = {"copies_of_frames": [_vocoded(vocoder, config, *_frames(speech, basis, index)) for index in indices]}
    if (out / "flow" / CHECKPOINT).exists():
        acoustic = Acoustic(config)
        acoustic.load_state_dict(averaged(out, "flow"))
        rows = _rows_of_codes(acoustic, speech, basis, indices)
        made["copies_of_codes"] = [_vocoded(vocoder, config, part, SourceState()) for part in rows]
    reference = save(report / "teacher", said, wanted, RATE_HZ)
    hertz, theirs_db = long_term_db(wanted, RATE_HZ)
    figures: dict[str, Any] = {"teacher": judged(reference, reference, "en", judges), "bands_hz": hertz}
    lines = [_line("teacher", figures["teacher"])]
    for name, audio in made.items():
        figures[name] = judged(save(report / name, said, audio, RATE_HZ), reference, "en", judges)
        figures[f"{name}_bands_db"] = off_db = (long_term_db(audio, RATE_HZ)[1] - theirs_db).tolist()
        lines.append(_line(name, figures[name]))
        lines.append(f"{name}: largest difference of the long-term spectra {max(map(abs, off_db)):.1f} dB")
    (report / "copies.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return "\n".join(lines)


def _line(name: str, totals: dict[str, Any]) -> str:
    return f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in totals.items() if isinstance(value, float))


def _samples(speech: Speech, index: int) -> Samples:
    span = slice(*speech.frames[index : index + 2].tolist())
    samples: Samples = (speech.sound[span].flatten().float() / 32767).numpy()
    return samples


def _frames(speech: Speech, basis: Basis, index: int) -> tuple[Tensor, SourceState]:
    """Rows of a sentence `[F, R]`, and the source before them."""
    span = slice(*speech.frames[index : index + 2].tolist())
    return basis.rows(speech.mel[span], speech.pitch[span]), speech.source(index)


def _vocoded(vocoder: BigVGAN, config: IndexTTSConfig, rows: Tensor, before: SourceState) -> Samples:
    assert config.source is not None
    given, _ = Source(config.source.points, config.source.noise, FRAME_S).rows(rows.t(), before)
    samples: Samples = vocoder(given[None])[0].clamp(-1, 1).numpy()
    return samples


def _rows_of_codes(acoustic: Acoustic, speech: Speech, basis: Basis, indices: Sequence[int]) -> list[Tensor]:
    """Rows that the flow makes of the codes of whole sentences: `[F, R]` each."""
    built, sentences = acoustic.built(), Sentences(speech, basis)
    voice, voice_condition, moments = built.prompt(basis)
    made = []
    for index in indices:
        length = int(sentences.lengths[index])
        condition, _ = built.regulator.whole(built.content.of_codes(sentences.codes(index), None), length)
        noise = torch.randn(1, length, voice.shape[1], generator=torch.Generator().manual_seed(index))
        fixed = built.fixed(voice[None], torch.cat((voice_condition, condition))[None])
        made.append(built.solved(noise, fixed, sizes.FLOW_STEPS)[0])
    return made


def run(out: Path, checkpoint: Path, report: Path, sentences: int, moved: int, judges: Path | None) -> str:
    """Let a checkpoint speak held-out sentences, write recordings and results to `report`, and return a summary.

    Args:
        sentences: spoken neutrally and judged.
        moved: sentences that are spoken with each emotion at each of `STRENGTHS`, by the teacher as well.

    Raises:
        FileNotFoundError: there is no speech.
        CheckpointError: `checkpoint` is not valid.
    """
    texts = Corpus.load(out / "en" / "corpus").held_out
    engine = IndexTTSEngine.from_folder(checkpoint, threads=1)
    chosen = list(texts[:sentences])
    spoken = [_spoken(engine, text, number, Mood()) for number, text in enumerate(tqdm(chosen, desc="sentences"))]
    figures: dict[str, Any] = {
        "rtf": sum(one.elapsed_s for one in spoken) / sum(len(one.audio) / RATE_HZ for one in spoken),
        "first_ms": float(np.median([one.first_s for one in spoken])) * 1000,
        "cut": sum(one.cut for one in spoken),
    }
    teacher = Steered()
    said = {text: one.sound for n, text in enumerate(chosen) if (one := teacher(text, n, Mood())) is not None}
    reference = save(report / "teacher", list(said), list(said.values()), RATE_HZ)
    folder = save(report / "neutral", chosen, [one.audio for one in spoken], RATE_HZ)
    for name, place in (("teacher", reference), ("neutral", folder)):
        figures[name] = judged(place, reference, "en", judges)
    figures["emotions"] = _moved(engine, teacher, list(said)[:moved])
    (report / "measured.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    lines = [_line(name, figures[name]) for name in ("teacher", "neutral")]
    speed = {name: figures[name] for name in ("rtf", "first_ms")}
    return "\n".join([*lines, _line("speed", speed), _line("prosody", figures["emotions"])])


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the engine said: audio, seconds until its first and last sample, and whether a guard cut it."""

    audio: Samples
    first_s: float
    elapsed_s: float
    cut: bool


def _spoken(engine: IndexTTSEngine, text: str, seed: int, mood: Mood) -> Spoken:
    weights = tuple(mood.strength * (number == mood.emotion) for number in range(len(EMOTIONS)))
    emotion = Emotion(weights, mood.strength)
    began_s, first_s, parts, cut = time.perf_counter(), 0.0, [], False
    state = engine.start(SpeakRequest(Normalizer()(text), seed=seed, emotion=emotion))
    while not state.done:
        (step,) = engine.step([state])
        cut = cut or step.cut
        if step.pcm is not None:
            first_s = first_s or time.perf_counter() - began_s
            parts.append(step.pcm)
    audio = np.concatenate(parts) if parts else np.zeros(RATE_HZ, np.float32)
    return Spoken(audio, first_s, time.perf_counter() - began_s, cut)


MEASURES = ("pitch_st", "pitch_range_st", "level_db", "rate")


def _measures(audio: Any) -> np.ndarray:
    """Median pitch and its range in semitones, level in dB and logarithm of the duration."""
    import soxr

    f0_hz = pitch(soxr.resample(audio.astype(np.float32), RATE_HZ, JUDGE_HZ))
    semitones = 12 * np.log2(f0_hz) if len(f0_hz) else np.zeros(1)
    low, high = np.percentile(semitones, (10, 90))
    return np.array([np.median(semitones), high - low, 20 * np.log10(audio.std() + 1e-9), -np.log(len(audio))])


def _moved(engine: IndexTTSEngine, teacher: Any, texts: Sequence[str]) -> dict[str, float]:
    """How the means of `MEASURES` move with emotion and strength, compared with the teacher's.

    `right_way`: fraction of the changes, of those that are not small in the teacher's speech, with the teacher's sign;
    `right_size`: fraction within `SIZE_TOLERANCE` of it; `rising`: fraction of emotions and measures that move on with
    each strength.
    """
    moods = [Mood(), *(Mood(number, strength) for number in range(len(EMOTIONS)) for strength in STRENGTHS)]
    ours, theirs = [], []
    for mood in tqdm(moods, desc="moods"):
        ours.append(np.mean([_measures(_spoken(engine, text, n, mood).audio) for n, text in enumerate(texts)], axis=0))
        theirs.append(np.mean([_measures(teacher(text, n, mood).sound) for n, text in enumerate(texts)], axis=0))
    change, expected = (np.array(part[1:]) - part[0] for part in (ours, theirs))
    large = np.abs(expected) > 0.1 * np.abs(expected).max(0)
    signs = np.sign(change) == np.sign(expected)
    sizes_right = np.abs(change - expected) <= SIZE_TOLERANCE * np.abs(expected)
    steps = (change * np.sign(expected)).reshape(len(EMOTIONS), len(STRENGTHS), -1)
    rising = (np.diff(steps, axis=1) > 0).all(1)[large.reshape(steps.shape)[:, -1]]
    return {
        "right_way": float(signs[large].mean()),
        "right_size": float(sizes_right[large].mean()),
        "rising": float(rising.mean()),
    }
