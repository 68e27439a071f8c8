"""Scripted test doubles: an engine for the real worker, and a worker for virtual time.

The audio of a text is one sample level for each character, `MS_PER_CHARACTER` long. Tests recover the text from the
audio, and so see whether anything is missing or repeated.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from intone.server.domain import EngineInfo, PreparedVoice, Recording, Samples, SpeakRequest, Step
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import CallerError, EngineError, UnsupportedVoiceError

RATE_HZ = 16_000
MS_PER_CHARACTER = 50
SAMPLES_PER_CHARACTER = RATE_HZ * MS_PER_CHARACTER // 1000


def info(name: str = "starter", **changes: object) -> EngineInfo:
    """An engine's info with plausible values."""
    given: dict[str, object] = {
        "name": name,
        "model": "scripted",
        "sample_rate_hz": RATE_HZ,
        "languages": ("en", "zh"),
        "trained": True,
        "clones_voices": True,
        "voices_emotion": False,
        "device": "cpu, 1 thread",
    }
    return EngineInfo(**{**given, **changes})  # type: ignore[arg-type]


def audio_of(text: str) -> Samples:
    """The audio of a text, one level for each character. `[SAMPLES_PER_CHARACTER * len(text)]`"""
    levels = np.array([ord(character) % 256 + 1 for character in text], np.float32) / 512
    return np.repeat(levels, SAMPLES_PER_CHARACTER)


def text_of(samples: Samples) -> str:
    """The text whose audio this is; the inverse of `audio_of` for code points under 256."""
    levels = np.round(samples[SAMPLES_PER_CHARACTER // 2 :: SAMPLES_PER_CHARACTER] * 512).astype(int) - 1
    return "".join(chr(level) for level in levels)


@dataclass
class Script:
    """Behavior of a scripted engine or worker.

    Attributes:
        characters_per_step: characters spoken in one step.
        step_s: duration of a step.
        first_s: additional duration of a unit's first step.
        fail_at_step: step of every unit, from 0, that raises; None for no failure.
        refuse: texts that raise `CallerError`.
        needs_voice: whether requests without a voice raise `UnsupportedVoiceError`.
    """

    characters_per_step: int = 4
    step_s: float = 0.0
    first_s: float = 0.0
    fail_at_step: int | None = None
    refuse: tuple[str, ...] = ()
    needs_voice: bool = False

    def check(self, request: SpeakRequest) -> None:
        """Raise `CallerError` for what the script refuses."""
        if request.text in self.refuse:
            raise CallerError("text", "refused by the script")
        if self.needs_voice and request.voice is None:
            raise UnsupportedVoiceError("needs a recording")


@dataclass
class ScriptedState:
    """Decoding state of one unit."""

    request: SpeakRequest
    position: int = 0
    steps: int = 0


@dataclass
class ScriptedEngine:
    """An engine for the real worker; `stepped` records the texts of every batch."""

    script: Script = field(default_factory=Script)
    info: EngineInfo = field(default_factory=info)
    fingerprint: str = "scripted-1"
    batches: bool = True
    stepped: list[list[str]] = field(default_factory=list)
    live: int = 0

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """Stores the recording's length. In one piece."""
        yield from ()
        if not recording.transcript:
            raise CallerError("transcript", "this engine needs the words of the recording")
        return PreparedVoice(self.fingerprint, {"length": np.array([len(recording.samples)])}, recording.transcript)

    def start(self, request: SpeakRequest) -> ScriptedState:
        """Raises `CallerError` for what the script refuses."""
        self.script.check(request)
        return ScriptedState(request)

    def held_bytes(self, state: ScriptedState) -> int:
        """1000 for each step so far."""
        return 1000 * state.steps

    def step(self, states: Sequence[ScriptedState]) -> list[Step]:
        """Speaks the next characters of each unit."""
        self.stepped.append([state.request.text for state in states])
        first = any(state.steps == 0 for state in states)
        time.sleep(self.script.step_s + self.script.first_s * first)
        return [advance(state, self.script) for state in states]


def advance(state: ScriptedState, script: Script) -> Step:
    """One step of one unit.

    Raises:
        RuntimeError: at `Script.fail_at_step`.
    """
    if script.fail_at_step == state.steps:
        raise RuntimeError("failed by the script")
    text = state.request.text
    piece = text[state.position : state.position + script.characters_per_step]
    state.position += len(piece)
    state.steps += 1
    return Step(audio_of(piece), state.position >= len(text), stage_ms={"synthesis": 1000 * script.step_s})


class ScriptedWorker:
    """A worker without a thread. Its steps take time on the event loop, so it works on virtual time."""

    def __init__(self, script: Script | None = None, **changes: object) -> None:
        self.script = script or Script()
        self.info = info(**changes)  # type: ignore[arg-type]
        self.fingerprint = "scripted-1"
        self.failing = False
        self.live: list[ScriptedJob] = []
        self.requests: list[SpeakRequest] = []
        self.slacks_s: list[float] = []

    @property
    def load(self) -> int:
        """Units submitted and not finished."""
        return len(self.live)

    @property
    def active(self) -> int:
        """As `load`: no unit of this worker waits for its listener."""
        return self.load

    def submit(self, request: SpeakRequest, slack_s: float = 0.0) -> "ScriptedJob":
        """Start a unit."""
        self.requests.append(request)
        self.slacks_s.append(slack_s)
        job = ScriptedJob(request, self)
        self.live.append(job)
        return job


class ScriptedJob:
    """One unit of a `ScriptedWorker`."""

    def __init__(self, request: SpeakRequest, worker: ScriptedWorker) -> None:
        self.request, self._worker = request, worker
        self.queue_ms: float | None = None
        self.synthesis_ms = 0.0
        self.steps_after_cancel = 0
        self.unread_samples = 0  # each step is made when it is asked for
        self._cancelled = False

    def cancel(self) -> None:
        """Stop."""
        self._cancelled = True
        if self in self._worker.live:
            self._worker.live.remove(self)

    async def __aiter__(self) -> AsyncIterator[Step]:
        script = self._worker.script
        script.check(self.request)
        state = ScriptedState(self.request)
        self.queue_ms = 0.0
        while True:
            spent_s = script.step_s + script.first_s * (state.steps == 0)
            await asyncio.sleep(spent_s)
            self.synthesis_ms += 1000 * spent_s
            try:
                step = advance(state, script)
            except RuntimeError as error:
                self._worker.failing = True
                raise EngineError(self._worker.info.name, "failed by the script") from error
            yield step
            if step.done:
                return
