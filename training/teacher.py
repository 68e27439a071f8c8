"""Second stage: the small packaged voice `hibari-tts` reads the corpus. Knows nothing of what learns from it.

Its network places each sound in time on the way to the spectrum. That placement is asked for as one more output, and
its pitch is one already. So the audio comes with the truth about what is said where and how high, at no cost.
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
"""Of hibari-tts 0.2.1: which of the phonemes each 25 ms belong to."""
PLACEMENT_SAMPLES = 600
PITCH_SAMPLES = 300
PLAIN_PHASE, PLAIN_DELAY_S = -1.35, -0.002
"""Of the harmonics in the decoder's target, see `plain_phase`."""

SILENT = -30.0
"""Logarithm of a magnitude."""

LOWEST_HZ = 40.0
"""Of a voiced sound: below, the teacher makes no pulses."""

SHARD_SENTENCES = 256
LEAD_MS = 40  # of silence kept before the first sound: it is the first thing a listener waits for
TAIL_MS = 160  # after the last one: the model must hear that it is over
AUDIBLE = 0.003
SECONDS: dict[str, Callable[[str], float]] = {
    "en": lambda text: 0.32 * len(text.split()),
    "zh": lambda text: 0.27 * len(text),
}
"""How long a sentence takes, about: to choose as many as make some hours."""

Teacher = Callable[[str, int], Spoken | None]
"""Reads a sentence, given its number, aloud; None where it would read it in two or finds nothing to read."""


class Hibari:
    """The teacher, loaded: English, one voice. Deterministic for a sentence and its number."""

    def __init__(self) -> None:
        import hibari  # an extra dependency, of this stage only
        import onnxruntime

        self._voice = hibari.Hibari(voice="heart", threads=1)
        self._synthesize = hibari.dsp.synth
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = with_output(Path(self._voice.model_path).read_bytes(), PLACEMENT)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, text: str, number: int) -> Spoken | None:
        """One sentence; None where the teacher would read it in two or finds nothing to read."""
        sounds = self._voice.phonemize(text)
        if len(sounds) != 1:
            return None
        ids = np.array([self._voice.ids(sounds[0])], np.int64)
        *spectrum, placement = self._session.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        harmonic, phase, noise, free, free_phase, pitch_hz = (part[0] for part in spectrum)

        def made(phase: Any, noise: Any, free: Any) -> Audio:
            # The synthesis changes some of its arguments in place.
            parts = (part.copy() for part in (harmonic, phase, noise, free, free_phase, pitch_hz))
            audio: Audio = self._synthesize(*parts, np.random.default_rng(number))
            return audio

        audio = made(phase, noise, free)
        plain = np.broadcast_to(plain_phase(phase.shape[0]), phase.shape)
        sound, harmonics = (
            made(plain, noise, free),
            made(plain, np.full_like(noise, SILENT), np.full_like(free, SILENT)),
        )
        return trimmed(number, resampled(audio), sound, harmonics, ids[0][placement.ravel()], pitch_hz)


def plain_phase(bins: int) -> Audio:
    """Phase of the harmonics in the decoder's target, as the network gives it: `[bins, 1]`, before tanh, in half turns.

    The teacher's own phases differ from sound to sound and are not in the latents, so a decoder could only guess them.
    These are the phases of one delay, the best fit to the teacher's. The predicted MOS is the same (4.55 for 4.56), and
    every harmonic's phase follows from the pointer.
    """
    frequencies = np.arange(bins) * (TEACHER_HZ / 2) / (bins - 1)
    turns = (PLAIN_PHASE - 2 * np.pi * frequencies * PLAIN_DELAY_S) / np.pi
    wrapped = np.clip((turns + 1) % 2 - 1, -0.9999, 0.9999)
    phase: Audio = np.arctanh(wrapped).astype(np.float32)[:, None]
    return phase


def with_output(model: bytes, name: str) -> bytes:
    """An ONNX file that also gives the value `name`.

    Protocol buffers merge what is written twice, so that one more output is a few bytes at the end: `ModelProto.graph`
    (7), in it `GraphProto.output` (12), in it `ValueInfoProto.name` (1).
    """
    field = name.encode()
    for tag in (1, 12, 7):
        assert len(field) < 128, "one byte of length is enough for a name"
        field = bytes([tag << 3 | 2, len(field)]) + field
    return model + field


def resampled(audio: Audio) -> Audio:
    """24 kHz to `RATE_HZ`."""
    from scipy.signal import resample_poly  # heavy, and the second machine has no other resampler

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
    """A sentence with little silence at its ends, a whole number of patches long; None if it is all silence.

    `sound` and `harmonics` are at `SOUND_HZ`. `placed` holds the label of every `PLACEMENT_SAMPLES` of the teacher's
    audio, `pitch_hz` the fundamental of every `PITCH_SAMPLES`; `pitch_of` is `pitch_at`, or what does the same for a
    teacher of other habits.
    """
    loud = np.flatnonzero(np.abs(audio) > AUDIBLE)
    if len(loud) == 0:
        return None
    first = max(0, int(loud[0]) - LEAD_MS * RATE_HZ // 1000)
    first -= first % 2  # so that it falls on a sample of `sound` too
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
    """From `first` to `last`, with zeros at the end."""
    padded = np.zeros(length, np.float32)
    kept = audio[first:last]
    padded[: len(kept)] = kept
    return padded


def pitch_at(pitch_hz: Any, samples: Any) -> Audio:
    """Fundamental in Hz and phase in cycles `[n, 2]` at some samples of the teacher's audio; zeros after its end.

    The teacher joins its values by straight lines and adds the cycles up from the sentence's beginning.
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
    """Sentences that make one shard: `(number, text)` each."""

    path: Path
    sentences: Sequence[tuple[int, str]]


def portions(
    sentences: Sequence[str],
    folder: Path,
    seconds: Callable[[str], float],
    hours: float | None = None,
    skip_hours: float = 0.0,
) -> list[Portion]:
    """Sentences that make about `hours` of speech after the first `skip_hours`, in the shards that the whole list has.

    `seconds` is how long a sentence takes.
    """
    starts_s = list(accumulate(map(seconds, sentences), initial=0.0))  # of each sentence, and the end of the last
    ends_s = float("inf") if hours is None else 3600 * (skip_hours + hours)
    chosen = list(enumerate(sentences))[: bisect_left(starts_s, ends_s, hi=len(sentences))]
    return [
        Portion(folder / f"{start // SHARD_SENTENCES:05d}.safetensors", chosen[start : start + SHARD_SENTENCES])
        for start in range(0, len(chosen), SHARD_SENTENCES)
        if starts_s[min(start + SHARD_SENTENCES, len(sentences))] > 3600 * skip_hours
    ]


def read_aloud(portion: Portion, teacher: Teacher) -> int:
    """Make one shard; returns its sentences."""
    spoken = [one for number, text in portion.sentences if (one := teacher(text, number)) is not None]
    write_shard(portion.path, spoken)
    return len(spoken)


def teacher_of(language: str, out: Path) -> Teacher:
    """Who reads a language aloud; what it needs is kept in `out/sources`."""
    if language == "zh":
        from training.kokoro import Kokoro  # knows what is here

        return Kokoro(out / "sources")
    return Hibari()


def _work(language: str, out: Path, todo: Sequence[Portion], done: Any) -> None:
    """A process: its share of the shards, one after the other; those that another call has made meanwhile are kept."""
    teacher = teacher_of(language, out)
    for portion in todo:
        done.put(0 if portion.path.exists() else read_aloud(portion, teacher))


def run(out: Path, language: str, hours: float | None, skip_hours: float, jobs: int, minutes: float | None) -> int:
    """Write `out/speech/{train,held_out}`; what exists is kept. Returns the shards that are still missing.

    Raises:
        RuntimeError: a process died; what it had finished is kept.
    """
    corpus, speech, seconds = Corpus.load(out / "corpus"), out / "speech", SECONDS[language]
    held_out = portions(corpus.held_out, speech / "held_out", seconds)
    train = portions(corpus.train, speech / "train", seconds, hours, skip_hours)
    todo = [portion for portion in (*held_out, *train) if not portion.path.exists()]
    for portion in todo:
        portion.path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")  # a forked onnxruntime hangs
    done = context.Queue()
    workers = [
        context.Process(target=_work, args=(language, out, todo[job::jobs], done), daemon=True) for job in range(jobs)
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
    """Wait for `count` shards, or until it is late; the shards that are missing then."""
    finished = 0
    with tqdm(total=count, unit="shard", desc="teacher") as bar:
        while finished < count and (deadline_s is None or time.monotonic() < deadline_s):
            while not done.empty():
                done.get()
                finished += 1
                bar.update()
            if finished < count and any(worker.exitcode for worker in workers):
                raise RuntimeError("a process of the teacher died; its message is above. Run the stage again to go on")
            time.sleep(0.05)
    return count - finished
