"""A complete IndexTTS engine with random weights, a voice for it, and helpers that speak units to their end."""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import soundfile
import torch
from torch import Tensor

from intone.server.domain import PreparedVoice, Recording, Samples, SpeakRequest, Step, SynthesisOptions
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.random_weights import vocoder_rules
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.gpt.native_gpt import GeneratedCodes
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.engines.indextts.text.front_end import FrontEnd
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.voice.emotion import vector_of
from intone.server.engines.pieces import complete
from tests.support.indextts_tiny import untrained

TEXT = "These are words to say, a few."
FAST = SynthesisOptions(parameters={"steps": 2})
CLOSE = 1e-5
"""Float32, audio in [-1, 1]: sums in another order differ by a few 1e-7."""


def recording(seconds: float = 2.0, seed: int = 1, rate_hz: int = 22050) -> Recording:
    """Noise of varying loudness."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate_hz))
    loudness = 0.1 * (1.2 + np.sin(np.arange(len(noise)) * (40 / rate_hz)))
    return Recording((loudness * noise).astype(np.float32), rate_hz)


def sound_file(clip: Recording) -> bytes:
    """A float WAV file, lossless."""
    file = io.BytesIO()
    soundfile.write(file, clip.samples, clip.sample_rate_hz, format="WAV", subtype="FLOAT")
    return file.getvalue()


@functools.cache
def checkpoint_of(size: str) -> Checkpoint:
    """Random weights, with a narrow vocoder for speed.

    Scores have the spread of a trained model's, so that text and emotion affect the codes.
    """
    checkpoint = sizes.in_memory(size)
    checkpoint.gpt["mel_head.weight"] *= 3
    vocoder = replace(checkpoint.config.vocoder, channels=64)
    tensors = untrained(partial(BigVGAN, vocoder), 2, vocoder_rules(vocoder))
    return replace(checkpoint, config=replace(checkpoint.config, vocoder=vocoder), vocoder=tensors)


def engine_of(checkpoint: Checkpoint, plan: ChunkPlan | None = None, trained: bool = False) -> IndexTTSEngine:
    """Not warmed up."""
    checkpoint = replace(checkpoint, config=replace(checkpoint.config, trained=trained))
    return IndexTTSEngine(checkpoint, FrontEnd.of_bytes(checkpoint.config), "random", plan or ChunkPlan(), None)


@dataclass
class Subject:
    """An engine and a voice made by it."""

    size: str
    engine: IndexTTSEngine
    voice: PreparedVoice

    @classmethod
    def build(cls, size: str, **how: bool) -> "Subject":
        engine = engine_of(checkpoint_of(size), **how)
        return cls(size, engine, complete(engine.prepare_voice(recording())))

    def request(self, text: str = TEXT, **changes: object) -> SpeakRequest:
        """Fast, with the voice."""
        given: dict[str, object] = {"seed": 1, "voice": self.voice, "options": FAST}
        return SpeakRequest(text, **{**given, **changes})  # type: ignore[arg-type]

    def speak(self, text: str = TEXT, **changes: object) -> "Spoken":
        """One unit, alone."""
        state = self.engine.start(self.request(text, **changes))
        return Spoken(state, finish(self.engine, state))


@dataclass
class Spoken:
    """A unit after its end."""

    state: IndexTTSState
    steps: list[Step]

    @property
    def chunks(self) -> list[Samples]:
        """Its chunks of audio."""
        return [step.pcm for step in self.steps if step.pcm is not None]

    @property
    def sound(self) -> Samples:
        """All of it."""
        return np.concatenate([np.zeros(0, np.float32), *self.chunks])


def finish(engine: IndexTTSEngine, state: IndexTTSState) -> list[Step]:
    """All steps of a unit."""
    steps: list[Step] = []
    while not steps or not steps[-1].done:
        steps += engine.step([state])
    return steps


def features_per_code(subject: Subject) -> int:
    """50 Hz features per code."""
    return 2 if subject.size == "nano" else 1


def plan_codes(subject: Subject, chunk: int) -> int:
    """New codes of chunk number `chunk`."""
    return ChunkPlan().codes(chunk, features_per_code(subject))


def frames_of(codes: int, features_per_code: int, duration_factor: float = 1.0) -> int:
    """Mel frames of so many codes, computed independently."""
    return int(codes * features_per_code * 1.72 * duration_factor)


@dataclass
class ScriptedDecoding:
    """Stands for `NativeDecoding`."""

    codes: list[int]
    max_codes: int
    code_count: int = 0
    stopped: bool = False

    @property
    def ended(self) -> bool:
        """As in the native one: the stop code was drawn, or `max_codes` are generated."""
        return self.stopped or self.code_count >= self.max_codes


@dataclass
class ScriptedGPT:
    """Stands for `NativeGPT`: generates these codes, then the stop code."""

    codes: Sequence[int]
    width: int
    asked: list[int] = field(default_factory=list)

    def begin(self, prefix: torch.Tensor, max_codes: int, *others: object) -> ScriptedDecoding:
        """The prefix is ignored."""
        return ScriptedDecoding(list(self.codes), max_codes)

    def generate(self, units: Sequence[ScriptedDecoding], count: int) -> list[GeneratedCodes]:
        """The next codes of each unit; the stop code takes one draw."""
        self.asked.append(count)
        return [self._next(unit, count) for unit in units]

    def _next(self, unit: ScriptedDecoding, count: int) -> GeneratedCodes:
        first, room = unit.code_count, min(count, unit.max_codes - unit.code_count)
        new = unit.codes[first : first + room]
        unit.code_count += len(new)
        unit.stopped = len(new) < room
        hidden = torch.randn(len(unit.codes) + 1, self.width, generator=torch.Generator().manual_seed(5))
        return GeneratedCodes(torch.tensor(new, dtype=torch.long), hidden[first : first + len(new)])


def emotion_of(engine: IndexTTSEngine, state: IndexTTSState) -> Tensor:
    """The emotion vector of a unit, whose clip is encoded first: `[D]`."""
    while state.clip is not None and state.clip.vector is None:
        engine._clips.advance(state.clip)
    speaker, clip = state.speaker, state.clip.vector if state.clip else None
    return vector_of(state.request.emotion, clip, speaker.emotion, speaker.emotion_rows)
