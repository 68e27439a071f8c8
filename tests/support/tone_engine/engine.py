"""The tone engine: every character is 40 ms of a sine, louder with emotion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intone.server.domain import EngineInfo, Recording, SpeakRequest, Step
from intone.server.engines.base import LoadSpec
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import CallerError, Reason

RATE_HZ = 16_000
SAMPLES_PER_CHARACTER = RATE_HZ * 40 // 1000


@dataclass
class ToneState:
    """Position in one unit."""

    request: SpeakRequest
    position: int = 0


class ToneEngine:
    """Implements `intone.server.engines.base.Engine`; a step speaks one character."""

    def __init__(self, frequency_hz: float) -> None:
        self._frequency_hz = frequency_hz
        self.info = EngineInfo(
            name="tone",
            model=f"sine of {frequency_hz:g} Hz",
            sample_rate_hz=RATE_HZ,
            languages=("en",),
            trained=True,
            clones_voices=False,
            voices_emotion=True,
            device="cpu",
        )
        self.fingerprint = f"tone-{frequency_hz:g}"
        self.batches = False

    @classmethod
    def load(cls, spec: LoadSpec) -> "ToneEngine":
        """An engine with the frequency of the settings."""
        return cls(float(spec.settings["tone_hz"]))

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """Always refuses: there is one voice."""
        raise CallerError("audio", "the tone engine has one voice", Reason.CLONING_UNAVAILABLE)

    def start(self, request: SpeakRequest) -> ToneState:
        """Begin a unit."""
        return ToneState(request)

    def step(self, states: Sequence[ToneState]) -> list[Step]:
        """Speak the next character of each unit."""
        return [self._step(state) for state in states]

    def held_bytes(self, state: ToneState) -> int:
        """Of its text."""
        return 0

    def _step(self, state: ToneState) -> Step:
        level = 0.2 + 0.5 * state.request.emotion.intensity
        times_s = (np.arange(SAMPLES_PER_CHARACTER) + state.position * SAMPLES_PER_CHARACTER) / RATE_HZ
        pcm = (level * np.sin(2 * np.pi * self._frequency_hz * times_s)).astype(np.float32)
        state.position += 1
        return Step(pcm, done=state.position >= len(state.request.text))
