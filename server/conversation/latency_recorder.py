"""Collects the latency and usage figures of one utterance: for reports only, nothing is decided by them."""

from collections.abc import Callable, Mapping

from intone.server.conversation.utterance_progress import UtteranceProgress
from intone.server.events import AudioChunk, AudioKind, LatencyReport, Usage
from intone.server.spans import NO_SPAN, Span


class LatencyRecorder:
    """Is notified as an utterance is spoken; gives the figures so far. Times are seconds of `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready_s: float | None = None
        self._first_speech_s: float | None = None
        self._first_engine = ""
        self._first_filler_s: float | None = None
        self._queue_ms: float | None = None
        self._predicted_ttfa_ms: float | None = None
        self._covered_ms: float | None = None
        self._synthesis_ms = 0.0
        self._audio_ms = dict.fromkeys(AudioKind, 0.0)
        self._stage_ms: dict[str, float] = {}
        self._filler_count = 0
        self.first_chunk: Span = NO_SPAN
        """From the first speech of an engine to the first chunk of it that leaves."""
        self.sent_samples = 0
        """Audio that has left the server, of all kinds."""

    def text_ready(self, at_s: float) -> None:
        """The text that completes the first unit arrived at `at_s`; latencies count from here."""
        self._ready_s = at_s

    def ttfa_predicted(self, ttfa_ms: float | None) -> None:
        """The forecast for the first unit; the last call counts."""
        self._predicted_ttfa_ms = ttfa_ms

    def wait_covered(self, covered_ms: float) -> None:
        """Something was heard during this much of the wait for a unit; the first call counts."""
        if self._covered_ms is None:
            self._covered_ms = covered_ms

    def engine_stepped(self, stage_ms: Mapping[str, float]) -> None:
        """An engine step took this long, by stage."""
        for stage, step_ms in stage_ms.items():
            self._stage_ms[stage] = self._stage_ms.get(stage, 0.0) + step_ms

    def engine_finished(self, synthesis_ms: float, queue_ms: float | None) -> None:
        """An engine has finished or abandoned a unit; the first unit's time in the engine's queue counts."""
        self._synthesis_ms += synthesis_ms
        if self._queue_ms is None:
            self._queue_ms = queue_ms

    def audio_sent(self, chunk: AudioChunk) -> None:
        """A chunk leaves the server."""
        self.sent_samples += chunk.sample_count
        for kind, samples in chunk.samples.items():
            self._audio_ms[kind] += chunk.duration_ms * samples / chunk.sample_count
        self._filler_count += bool(chunk.filler_text)
        if chunk.audible and self._first_speech_s is None:
            self._first_speech_s, self._first_engine = self._clock(), chunk.engine
            self.first_chunk.end()
        if AudioKind.FILLER in chunk.samples and self._first_filler_s is None:
            self._first_filler_s = self._clock()

    def report(self) -> LatencyReport:
        """The latency figures so far."""
        ttfa_ms, speech_ms = self._since_ready_ms(self._first_speech_s), self._audio_ms[AudioKind.SPEECH]
        return LatencyReport(
            ttfa_ms=ttfa_ms,
            engine=self._first_engine,
            filler_ttfa_ms=self._since_ready_ms(self._first_filler_s),
            queue_ms=self._queue_ms,
            rtf=self._synthesis_ms / speech_ms if speech_ms else None,
            synthesis_ms=self._synthesis_ms,
            stage_ms=dict(self._stage_ms),
            covered_ms=None if ttfa_ms is None or self._covered_ms is None else min(self._covered_ms, ttfa_ms),
            predicted_ttfa_ms=self._predicted_ttfa_ms,
        )

    def usage(self, characters: int, progress: UtteranceProgress) -> Usage:
        """What was spoken so far of an utterance of so many characters."""
        return Usage(
            characters=characters,
            spoken_characters=progress.spoken_characters,
            speech_ms=self._audio_ms[AudioKind.SPEECH],
            filler_ms=self._audio_ms[AudioKind.FILLER],
            pause_ms=self._audio_ms[AudioKind.SILENCE],
            unit_count=progress.unit_count,
            filler_count=self._filler_count,
        )

    def _since_ready_ms(self, moment_s: float | None) -> float | None:
        return None if moment_s is None or self._ready_s is None else 1000 * (moment_s - self._ready_s)
