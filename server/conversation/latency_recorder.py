"""Where the time of one utterance went. Knows chunks, not how they are made."""

from collections.abc import Callable
from dataclasses import dataclass, field

from intone.server.events import AudioChunk, AudioKind, LatencyReport


@dataclass(slots=True)
class LatencyRecorder:
    """Times of an utterance, filled in as it is spoken; `report` gives the sum.

    Attributes:
        ready_s: when the text came that completes the first unit.
        covered_ms: of the wait for speech, how much something was heard.
        predicted_ttfa_ms: what was expected when the first unit was routed.
    """

    clock: Callable[[], float]
    ready_s: float | None = None
    first_speech_s: float | None = None
    first_filler_s: float | None = None
    queue_ms: float | None = None
    predicted_ttfa_ms: float | None = None
    covered_ms: float | None = None
    synthesis_ms: float = 0.0
    audio_ms: float = 0.0
    filler_ms: float = 0.0
    pause_ms: float = 0.0
    fillers: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)
    units: int = 0

    def sent(self, audio: AudioChunk) -> None:
        """A chunk was handed to the stream."""
        match audio.kind:
            case AudioKind.SPEECH:
                self.audio_ms += audio.duration_ms
                if audio.audible and self.first_speech_s is None:
                    self.first_speech_s = self.clock()
            case AudioKind.FILLER:
                self.filler_ms += audio.duration_ms
                if self.first_filler_s is None:
                    self.first_filler_s = self.clock()
            case AudioKind.SILENCE:
                self.pause_ms += audio.duration_ms

    def spent(self, stage_ms: dict[str, float]) -> None:
        """An engine reports the stages of a step."""
        for stage, spent_ms in stage_ms.items():
            self.stage_ms[stage] = self.stage_ms.get(stage, 0.0) + spent_ms

    def report(self) -> LatencyReport:
        """The figures so far."""
        ttfa_ms = self._since_ready_ms(self.first_speech_s)
        return LatencyReport(
            ttfa_ms=ttfa_ms,
            filler_ttfa_ms=self._since_ready_ms(self.first_filler_s),
            queue_ms=self.queue_ms,
            rtf=self.synthesis_ms / self.audio_ms if self.audio_ms else None,
            audio_ms=self.audio_ms,
            filler_ms=self.filler_ms,
            synthesis_ms=self.synthesis_ms,
            stage_ms=dict(self.stage_ms),
            units=self.units,
            covered_ms=None if ttfa_ms is None or self.covered_ms is None else min(self.covered_ms, ttfa_ms),
            predicted_ttfa_ms=self.predicted_ttfa_ms,
            pause_ms=self.pause_ms,
            fillers=self.fillers,
        )

    def _since_ready_ms(self, moment_s: float | None) -> float | None:
        return None if moment_s is None or self.ready_s is None else 1000 * (moment_s - self.ready_s)
