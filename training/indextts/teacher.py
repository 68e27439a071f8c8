"""Stage `teacher`: emotional speech of the English teacher, whose pitch, effort and rate are steered.

`hibari-tts` predicts spectra of a source and filter, its pitch and an alignment. All of them are changed before the
synthesis, so emotional speech costs no more than plain speech: two minutes of CPU time per hour. The voice is the one
of nano VoxCPM. The pulses are those of the vocoder's source (`vocoder/source.py`), so its phases are known exactly.
"""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intone.server.engines.indextts.s2mel.length_regulator import mel_frames
from intone.server.engines.indextts.vocoder.source import Source, SourceState
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from training import teacher
from training.corpus import Corpus
from training.indextts.codes import FEATURES_PER_CODE, FRAMES_PER_CODE, Unit, assigned, units_of
from training.indextts.prosody import Mood, effort_gain, mood_of, steered_pitch
from training.indextts.speech import FRAME_S, HOP_SAMPLES, MEL, RATE_HZ, Spoken, write_shard
from training.shards import SOUND_HZ
from training.teacher import PITCH_SAMPLES, PLACEMENT_SAMPLES, Hibari, plain_phase

VOICED_HZ = 75.0
"""Lowest pitch of a voiced frame: the teacher's pitch falls through lower values where voicing ends."""

LEAD_S, TAIL_S = 0.04, 0.16
AUDIBLE = 0.003
LEVEL_DB, LEVEL_PER_EFFORT, MAX_PEAK = -25.0, 0.8, 0.95
"""RMS level of a sentence without effort, change by each dB of effort, and highest amplitude."""
PULSES = Source(HOP_SAMPLES, 0, FRAME_S)


class Steered:
    """The English teacher, steered. Its output is deterministic for a text, its index and its mood."""

    def __init__(self) -> None:
        import hibari  # optional dependency of this stage only

        assert RATE_HZ == SOUND_HZ
        self._hibari, self._dsp = Hibari(), hibari.dsp

    def characters(self, text: str) -> str | None:
        """The text in phonemes; None if it would be split or has nothing to pronounce."""
        sounds = self._hibari.voice.phonemize(text)
        return sounds[0] if len(sounds) == 1 else None

    def __call__(self, text: str, number: int, mood: Mood | None = None) -> Spoken | None:
        """Speak one sentence, by default in the mood of its number; None if the recipe has no place for it."""
        characters = self.characters(text)
        mood = mood_of(number) if mood is None else mood
        units = None if characters is None else units_of(characters)
        if characters is None or units is None:
            return None
        ids = self._hibari.voice.ids(characters)
        if len(ids) != len(characters) + 2:
            return None
        *spectra, placed = self._hibari.spectra(ids, mood.prosody.speed)
        frames = -(-spectra[0].shape[1] * PITCH_SAMPLES // HOP_SAMPLES)
        pitch = _pitch(spectra[5], frames, mood)
        pulses, _ = PULSES.pulses(pitch[:, 0], pitch[:, 1], SourceState(pitch_hz=float(pitch[0, 0])))
        sound, harmonics = self._synthesized(spectra, pulses.ravel(), number, mood)
        audible = np.flatnonzero(np.abs(sound) > AUDIBLE)
        if len(audible) == 0:
            return None
        gain = _gain(sound[audible[0] : audible[-1] + 1], mood)
        sound, harmonics = gain * sound, gain * harmonics
        first = max(0, int((audible[0] / RATE_HZ - LEAD_S) / FRAME_S))
        count = int(np.ceil(((audible[-1] + 1) / RATE_HZ + TAIL_S) / FRAME_S)) - first
        codes = int(np.ceil(count / FRAMES_PER_CODE))
        placing = _placing(units, placed, first * FRAME_S)
        chosen = assigned(*placing, FRAMES_PER_CODE * FRAME_S, codes)
        if chosen is None:
            return None
        return _cut(number, characters, units, chosen, sound, harmonics, pitch, first, mood)

    def _synthesized(self, spectra: Sequence[Any], pulses: Any, number: int, mood: Mood) -> tuple[Any, Any]:
        """Sound and its harmonic part `[T]` at `RATE_HZ`, of given pulses."""
        dsp, count = self._dsp, spectra[0].shape[1]
        gain = effort_gain(spectra[0].shape[0], RATE_HZ / 2, mood.prosody.effort_db)
        harmonic, noise, free = (part + gain for part in (spectra[0], spectra[2], spectra[3]))
        pulses = np.pad(pulses, (0, max(0, count * PITCH_SAMPLES - len(pulses))))[: count * PITCH_SAMPLES]
        turned = np.exp(1j * np.pi * np.tanh(plain_phase(harmonic.shape[0]))).astype(np.complex64)
        periodic = dsp.stft(pulses.astype(np.float32), count) * dsp.ex(harmonic) * turned
        drawn = np.random.default_rng(number).standard_normal((*noise.shape, 2), np.float32)
        rest = dsp.ex(noise) * drawn.view(np.complex64)[..., 0] + dsp.ex(free) * np.exp(1j * spectra[4])
        both = (periodic + rest, periodic)
        sound, harmonics = (dsp.ola(part.astype(np.complex64)) for part in both)
        return sound, harmonics


def _gain(sound: Any, mood: Mood) -> float:
    """Gain that gives a sentence the level of its effort; harmonics moved to a formant would be much louder."""
    level = 10 ** ((LEVEL_DB + LEVEL_PER_EFFORT * mood.prosody.effort_db) / 20)
    return float(min(level / (sound.std() + 1e-9), MAX_PEAK / (np.abs(sound).max() + 1e-9)))


def _pitch(pitch_hz: Any, frames: int, mood: Mood) -> Any:
    """Steered pitch without gaps, and voicing, at the end of each mel frame: `[frames, 2]`."""
    voiced = pitch_hz > VOICED_HZ
    middles = (np.arange(len(pitch_hz)) + 0.5) * PITCH_SAMPLES
    ends = (np.arange(frames) + 1.0) * HOP_SAMPLES
    if not voiced.any():
        return np.stack((np.full(frames, 200.0), np.zeros(frames)), 1)
    contour = np.exp(np.interp(ends, middles[voiced], np.log(pitch_hz[voiced])))
    nearest = np.minimum(ends / PITCH_SAMPLES, len(pitch_hz) - 1).astype(np.int64)
    return np.stack((steered_pitch(contour, mood.prosody, FRAME_S), voiced[nearest].astype(np.float64)), 1)


def _placing(units: Sequence[Unit], placed: Any, start_s: float) -> tuple[Any, Any]:
    """Start and end of each unit in seconds after `start_s`, from the teacher's alignment, one index for each 25 ms."""
    slot_s = PLACEMENT_SAMPLES / RATE_HZ
    first, last = [unit.first for unit in units], [unit.last for unit in units]
    return np.searchsorted(placed, first) * slot_s - start_s, np.searchsorted(placed, last) * slot_s - start_s


def _cut(
    number: int,
    characters: str,
    units: Sequence[Unit],
    chosen: Any,
    sound: Any,
    harmonics: Any,
    pitch: Any,
    first: int,
    mood: Mood,
) -> Spoken:
    """The sentence from mel frame `first` on, with as many frames as the server makes of its codes."""
    frames = mel_frames(FEATURES_PER_CODE * len(chosen))
    _, before = PULSES.pulses(pitch[:first, 0], pitch[:first, 1], SourceState(pitch_hz=float(pitch[0, 0])))
    start, length = first * HOP_SAMPLES, frames * HOP_SAMPLES
    audio, periodic = (
        np.pad(part[start : start + length], (0, max(0, start + length - len(part)))) for part in (sound, harmonics)
    )
    kept = pitch[first : first + frames]
    kept = np.concatenate((kept, np.tile([[pitch[-1, 0], 0.0]], (frames - len(kept), 1))))
    mel = mel_spectrogram(torch.from_numpy(audio.astype(np.float32)), MEL).t().numpy()
    return Spoken(
        number=number,
        sound=audio,
        harmonics=periodic,
        mel=mel,
        pitch=kept,
        before=before,
        units=np.array([units[index].token for index in chosen]),
        sounds=np.array([units[index].sound for index in chosen]),
        characters=characters,
        mood=mood,
    )


def _work(todo: Sequence[teacher.Portion]) -> None:
    """Speak and write shards, in a process of its own."""
    speak = Steered()
    for portion in todo:
        spoken = [one for number, text in portion.sentences if (one := speak(text, number)) is not None]
        write_shard(portion.path, spoken)


def run(texts: Path, out: Path, hours: float | None, skip_hours: float, jobs: int) -> int:
    """Write `out/speech/{train,held_out}` from the corpus in `texts`; returns how many shards are new.

    The held-out sentences have moods of their own, by their numbers, as the others have.
    """
    corpus, seconds = Corpus.load(texts), teacher.SECONDS["en"]
    held_out = teacher.portions(corpus.held_out, out / "speech" / "held_out", seconds)
    train = teacher.portions(corpus.train, out / "speech" / "train", seconds, hours, skip_hours)
    todo = [portion for portion in (*held_out, *train) if not portion.path.exists()]
    for portion in todo:
        portion.path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")  # onnxruntime hangs in forked processes
    with context.Pool(jobs) as pool:
        pool.map(_work, [todo[job::jobs] for job in range(jobs)], chunksize=1)
    return len(todo)
