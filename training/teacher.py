"""Second stage: synthesizes the corpus with a teacher, for English the small TTS model `hibari-tts`.

The network of `hibari-tts` computes a phoneme alignment internally, which is exposed as an additional output; pitch is
an output already. So the speech comes with exact alignment and pitch at no extra cost.
"""

import multiprocessing
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.corpus import Corpus
from training.shards import (
    LABEL_SAMPLES,
    POINT_SAMPLES,
    RATE_HZ,
    SILENCE,
    SOUND_HZ,
    UNIT_SAMPLES,
    Audio,
    Labels,
    Spoken,
    write_shard,
)

TEACHER_HZ = 24_000
PLACEMENT = "/ReduceSum_1_output_0"
"""Name in the ONNX graph of hibari-tts 0.2.1: index of the input phoneme for each 25 ms."""
PLACEMENT_SAMPLES = 600
PITCH_SAMPLES = 300
PLAIN_PHASE, PLAIN_DELAY_S = -1.35, -0.002
"""Phase in radians and delay of the harmonics in the decoder's target; see `plain_phase`."""

SILENT = -30.0
"""Log magnitude that is inaudible."""

LOWEST_HZ = 40.0
"""Lowest fundamental of a voiced sound; the teacher generates no pulses below it."""

SHARD_SENTENCES = 256
LEAD_MS = 40  # silence kept before the first sound; short, because it adds to the time to first audio
TAIL_MS = 160  # silence kept after the last sound, so that the model learns where speech ends
AUDIBLE = 0.003
SECONDS: dict[str, Callable[[str], float]] = {
    "en": lambda text: 0.32 * len(text.split()),
    "zh": lambda text: 0.27 * len(text),
}
"""Approximate duration of a sentence in seconds, by language; used to select a number of hours."""

Teacher = Callable[[str, int], Spoken | None]
"""Synthesizes a sentence, given its text and index; None if it would be split or has nothing to pronounce."""


class Hibari:
    """The English teacher, with one voice. Its output is deterministic for a given text and index."""

    def __init__(self) -> None:
        import hibari  # optional dependency of this stage only
        import onnxruntime

        self.voice = hibari.Hibari(voice="heart", threads=1)
        self._synthesize = hibari.dsp.synth
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = with_output(Path(self.voice.model_path).read_bytes(), PLACEMENT)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, text: str, number: int) -> Spoken | None:
        """Synthesize one sentence; None if it would be split or has nothing to pronounce."""
        sounds = self.voice.phonemize(text)
        if len(sounds) != 1:
            return None
        ids = self.voice.ids(sounds[0])
        harmonic, phase, noise, free, free_phase, pitch_hz, placement = self.spectra(ids)

        def made(phase: Any, noise: Any, free: Any) -> Audio:
            # The synthesis modifies some of its arguments in place.
            parts = (part.copy() for part in (harmonic, phase, noise, free, free_phase, pitch_hz))
            audio: Audio = self._synthesize(*parts, np.random.default_rng(number))
            return audio

        audio = made(phase, noise, free)
        plain = np.broadcast_to(plain_phase(phase.shape[0]), phase.shape)
        sound, harmonics = (
            made(plain, noise, free),
            made(plain, np.full_like(noise, SILENT), np.full_like(free, SILENT)),
        )
        return trimmed(number, resampled(audio), sound, harmonics, np.array(ids)[placement], pitch_hz)

    def spectra(self, ids: Sequence[int], speed: float = 1.0) -> list[Any]:
        """The network's outputs for phoneme ids: five spectra `[bins, F]`, pitch `[F]` and placement `[F / 2]`.

        The spectra are the magnitudes and phases of the harmonics, the magnitudes of the noise, and those and the
        phases of a free component; magnitudes are natural logarithms.
        """
        given = {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)}
        *spectrum, placement = self._session.run(None, given)
        return [*(part[0] for part in spectrum), placement.ravel()]


def plain_phase(bins: int) -> Audio:
    """Phase of the harmonics in the decoder's target, `[bins, 1]`, in the form of the network's output.

    That form is the argument of a tanh whose value is the phase in half turns.

    The teacher's own phases vary between phonemes and are not represented in the latents, so a decoder could not
    predict them. This replaces them with a linear phase (constant phase plus delay) fitted to the teacher's. The
    predicted MOS is the same (4.55 instead of 4.56), and the phase of every harmonic follows from the phase of the
    fundamental in the latents.
    """
    frequencies = np.arange(bins) * (TEACHER_HZ / 2) / (bins - 1)
    turns = (PLAIN_PHASE - 2 * np.pi * frequencies * PLAIN_DELAY_S) / np.pi
    wrapped = np.clip((turns + 1) % 2 - 1, -0.9999, 0.9999)
    phase: Audio = np.arctanh(wrapped).astype(np.float32)[:, None]
    return phase


def with_output(model: bytes, name: str) -> bytes:
    """Return an ONNX model with the intermediate value `name` as an additional output.

    Protocol buffers merge repeated occurrences of a message field, so an output can be added by appending a few bytes:
    `ModelProto.graph` (7), containing `GraphProto.output` (12), containing `ValueInfoProto.name` (1).
    """
    field = name.encode()
    for tag in (1, 12, 7):
        assert len(field) < 128, "the length must fit in a one-byte varint"
        field = bytes([tag << 3 | 2, len(field)]) + field
    return model + field


def resampled(audio: Audio) -> Audio:
    """Resample from `TEACHER_HZ` to `RATE_HZ`."""
    from scipy.signal import resample_poly  # slow to import

    samples: Audio = resample_poly(audio, RATE_HZ, TEACHER_HZ).astype(np.float32)
    return samples


def trimmed(
    number: int,
    audio: Audio,
    sound: Audio,
    harmonics: Audio,
    placed: Any,
    pitch_hz: Any,
    pitch_of: Callable[[Any, Any], Audio] | None = None,
) -> Spoken | None:
    """Trim the silence at both ends of a sentence and pad it to whole patches; None if all of it is silent.

    Args:
        number: index of the sentence in its list.
        audio: at `RATE_HZ`.
        sound, harmonics: at `SOUND_HZ`.
        placed: phoneme label of every `PLACEMENT_SAMPLES` of the teacher's audio.
        pitch_hz: fundamental frequency of every `PITCH_SAMPLES` of the teacher's audio.
        pitch_of: replacement for `pitch_at`, for a teacher that computes the phase differently.
    """
    loud = np.flatnonzero(np.abs(audio) > AUDIBLE)
    if len(loud) == 0:
        return None
    first = max(0, int(loud[0]) - LEAD_MS * RATE_HZ // 1000)
    first -= first % 2  # even, so that it coincides with a sample of `sound`
    last = min(len(audio), int(loud[-1]) + 1 + TAIL_MS * RATE_HZ // 1000)
    length = -(-(last - first) // UNIT_SAMPLES) * UNIT_SAMPLES
    count = length // LABEL_SAMPLES
    middles = first + LABEL_SAMPLES * np.arange(count) + LABEL_SAMPLES // 2
    frames = middles * TEACHER_HZ // RATE_HZ // PLACEMENT_SAMPLES
    labels: Labels = np.where(frames < len(placed), placed[np.minimum(frames, len(placed) - 1)], SILENCE).astype(
        np.uint8
    )
    padded = _padded(audio, first, last, length)
    finer = [_padded(part, *(at * SOUND_HZ // RATE_HZ for at in (first, last, length))) for part in (sound, harmonics)]
    points = first + POINT_SAMPLES * np.arange(length // POINT_SAMPLES) + POINT_SAMPLES // 2
    pitch = (pitch_of or pitch_at)(pitch_hz, points * TEACHER_HZ // RATE_HZ)
    return Spoken(number, padded, labels, pitch, *finer)


def _padded(audio: Audio, first: int, last: int, length: int) -> Audio:
    """Samples from `first` to `last`, padded with zeros to `length`."""
    padded = np.zeros(length, np.float32)
    kept = audio[first:last]
    padded[: len(kept)] = kept
    return padded


def pitch_at(pitch_hz: Any, samples: Any) -> Audio:
    """Fundamental in Hz and phase in cycles, `[n, 2]`, at given samples of the teacher's audio.

    As in the teacher, the frequency is interpolated linearly and integrated from the start of the sentence. Both values
    are 0 where unvoiced and after the end.
    """
    total = len(pitch_hz) * PITCH_SAMPLES
    frames = (np.arange(total) + 0.5) / PITCH_SAMPLES - 0.5
    each_hz = np.interp(frames, np.arange(len(pitch_hz)), pitch_hz)
    cycles = np.cumsum(np.maximum(each_hz, LOWEST_HZ)) / TEACHER_HZ % 1
    known = np.minimum(samples, total - 1)
    voiced = (each_hz[known] > LOWEST_HZ) & (samples < total)
    found: Audio = np.stack([each_hz[known], cycles[known]], 1).astype(np.float32) * voiced[:, None]
    return found


@dataclass(frozen=True, slots=True)
class Portion:
    """The sentences of one shard, as pairs `(number, text)`, and its path."""

    path: Path
    sentences: Sequence[tuple[int, str]]


def portions(
    sentences: Sequence[str],
    folder: Path,
    seconds: Callable[[str], float],
    hours: float | None = None,
    skip_hours: float = 0.0,
) -> list[Portion]:
    """Select the sentences for about `hours` of speech after the first `skip_hours`, divided into shards.

    The division does not depend on the selection, except that the last shard may be shorter. `seconds` estimates the
    duration of a sentence.
    """
    starts_s = list(accumulate(map(seconds, sentences), initial=0.0))  # start of each sentence, and the end of the last
    ends_s = float("inf") if hours is None else 3600 * (skip_hours + hours)
    chosen = list(enumerate(sentences))[: bisect_left(starts_s, ends_s, hi=len(sentences))]
    return [
        Portion(folder / f"{start // SHARD_SENTENCES:05d}.safetensors", chosen[start : start + SHARD_SENTENCES])
        for start in range(0, len(chosen), SHARD_SENTENCES)
        if starts_s[min(start + SHARD_SENTENCES, len(sentences))] > 3600 * skip_hours
    ]


def read_aloud(portion: Portion, teacher: Teacher) -> int:
    """Synthesize and write one shard; returns the number of its sentences."""
    spoken = [one for number, text in portion.sentences if (one := teacher(text, number)) is not None]
    write_shard(portion.path, spoken)
    return len(spoken)


def teacher_of(language: str, out: Path, speakers: int = 0) -> Teacher:
    """Load the teacher of a language; files that it needs are kept in `out/sources`.

    With a number of `speakers`, the teacher of either language has as many voices, see `speakers.py`.
    """
    if language == "zh" or speakers:
        from training.kokoro import Kokoro  # imports this module

        return Kokoro(out / "sources", language, speakers)
    return Hibari()


def _work(language: str, out: Path, speakers: int, todo: Sequence[Portion], done: Any) -> None:
    """Worker process: synthesize the shards in `todo`, skipping those that another call has written meanwhile."""
    teacher = teacher_of(language, out, speakers)
    for portion in todo:
        done.put(0 if portion.path.exists() else read_aloud(portion, teacher))


def run(
    out: Path,
    language: str,
    hours: float | None,
    skip_hours: float,
    jobs: int,
    minutes: float | None,
    speakers: int = 0,
) -> int:
    """Write `out/speech/{train,held_out}`, keeping existing shards; returns the number of missing shards.

    Raises:
        RuntimeError: a worker process died; the shards that it finished are kept.
    """
    corpus, speech, seconds = Corpus.load(out / "corpus"), out / "speech", SECONDS[language]
    held_out = portions(corpus.held_out, speech / "held_out", seconds)
    train = portions(corpus.train, speech / "train", seconds, hours, skip_hours)
    todo = [portion for portion in (*held_out, *train) if not portion.path.exists()]
    for portion in todo:
        portion.path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")  # onnxruntime hangs in forked processes
    done = context.Queue()
    workers = [
        context.Process(target=_work, args=(language, out, speakers, todo[job::jobs], done), daemon=True)
        for job in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        missing = _watch(workers, done, len(todo), None if minutes is None else time.monotonic() + 60 * minutes)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return missing


def _watch(workers: Sequence[Any], done: Any, count: int, deadline_s: float | None) -> int:
    """Wait for `count` shards or until the deadline; returns the number of shards still missing."""
    finished = 0
    with tqdm(total=count, unit="shard", desc="teacher") as bar:
        while finished < count and (deadline_s is None or time.monotonic() < deadline_s):
            while not done.empty():
                done.get()
                finished += 1
                bar.update()
            if finished < count and any(worker.exitcode for worker in workers):
                raise RuntimeError("a worker process died; see its message above. Run the stage again to resume")
            time.sleep(0.05)
    return count - finished
