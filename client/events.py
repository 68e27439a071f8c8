"""What the server says in a conversation, as values. Knows neither wire messages (see `decoding`) nor calls."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from intone.client.audio import Format, Samples
from intone.client.errors import IntoneCallError


@dataclass(frozen=True, slots=True)
class Report:
    """Where the time of an utterance went, as the server measured it; see `LatencyReport` on the wire.

    Attributes:
        ttfa_ms: text that completes the first unit received → first audible speech handed to the stream.
        filler_ttfa_ms: the same, to the first filler.
        queue_ms: of `ttfa_ms`, waiting for the engine.
        rtf: synthesis time ÷ length of the speech. Below 1 keeps up.
        audio_ms, filler_ms: length of speech and of fillers.
        synthesis_ms: wall time of synthesis.
        stage_ms: the same by stage.
        units: pieces the text was spoken in.
        covered_ms: of `ttfa_ms`, what the listener did not wait in silence: a filler or earlier speech was playing.
        predicted_ttfa_ms: what `ttfa_ms` was expected to be when the first unit was routed.
        pause_ms: length of the pauses.
        fillers: how many were played.
    """

    ttfa_ms: float | None
    filler_ttfa_ms: float | None
    queue_ms: float | None
    rtf: float | None
    audio_ms: float
    filler_ms: float
    synthesis_ms: float
    stage_ms: Mapping[str, float]
    units: int
    covered_ms: float | None = None
    predicted_ttfa_ms: float | None = None
    pause_ms: float = 0.0
    fillers: int = 0


class TextSpan(NamedTuple):
    """Characters `start` to `end` (one past the last) of the utterance's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance has been routed and will now be spoken.

    Attributes:
        received_s: monotonic clock, seconds; the same clock for every event.
        route_reason: such as "plain" or "strong_emotion"; `route_explanation` says it in words.
        emotion: eight weights; all zeros is neutral.
        format: of all audio of the stream.
        emotion_source: "none", "utterance", "stream", "tag" or "text"; `emotion_explanation` says what decided.
        emotion_intensity: 0 to 1; what the server compares with its threshold.
    """

    received_s: float
    utterance_id: str
    engine: str
    route_reason: str
    route_explanation: str
    emotion: tuple[float, ...]
    format: Format
    voice: str
    seed: int
    emotion_source: str = "none"
    emotion_explanation: str = ""
    emotion_intensity: float = 0.0


@dataclass(frozen=True, slots=True)
class Rerouted:
    """From `text_span` on, another engine speaks or another emotion is voiced. Fields as in `Started`."""

    received_s: float
    utterance_id: str
    engine: str
    route_reason: str
    route_explanation: str
    emotion: tuple[float, ...]
    emotion_source: str
    emotion_explanation: str
    emotion_intensity: float
    text_span: TextSpan


@dataclass(frozen=True, slots=True)
class Audio:
    """A chunk of audio. Those of an utterance come in order, without gaps.

    Attributes:
        sequence: counts the chunks of the utterance from 0.
        offset_samples: position of the first sample in the utterance.
        kind: "speech", "filler" or "silence".
        data: the bytes as received, in `format`.
        text_span: which part of the text it belongs to; None for a filler and a pause.
        stage_ms: wall milliseconds spent on it by stage.
        filler: what a filler says, such as "Hmm"; empty for speech and silence.
    """

    received_s: float
    utterance_id: str
    sequence: int
    offset_samples: int
    kind: str
    data: bytes
    engine: str
    text_span: TextSpan | None
    stage_ms: Mapping[str, float]
    format: Format
    filler: str = ""

    @property
    def samples(self) -> Samples:
        """The audio as float32; decoded at every call."""
        return self.format.decode(self.data)

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.format.seconds(len(self.data))


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything received before the flush has been spoken and sent."""

    received_s: float
    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An utterance was cancelled; no audio of it follows. Says what was heard and what was not."""

    received_s: float
    utterance_id: str
    heard_text: str
    unheard_text: str
    heard_ms: int
    report: Report


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended by itself.

    Attributes:
        reason: "completed", "rejected" or "failed".
        error: why, when it is not completed.
    """

    received_s: float
    utterance_id: str
    reason: str
    error: IntoneCallError | None
    report: Report


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 - the wire calls it so
    """Something was changed or could not be had, such as `code` "untrained_weights"; `message` says it in words."""

    received_s: float
    code: str
    message: str
    utterance_id: str


@dataclass(frozen=True, slots=True)
class Error:
    """A message of ours was refused; nothing of it was used and the conversation goes on."""

    received_s: float
    utterance_id: str
    error: IntoneCallError


Event = Started | Rerouted | Audio | Flushed | Interrupted | Done | Warning | Error


def to_json(event: Event) -> dict[str, Any]:
    """An event as JSON values; audio bytes are replaced by their count."""
    values: dict[str, Any] = {"event": type(event).__name__.lower()}
    for item in fields(event):
        value = getattr(event, item.name)
        if isinstance(value, bytes):
            values["bytes"] = len(value)
        elif isinstance(value, Format):
            values["encoding"], values["sample_rate_hz"] = value.encoding, value.sample_rate_hz
        elif isinstance(value, IntoneCallError):
            values["error"] = {"code": value.code.name, "message": value.message, "violations": value.violations}
        elif isinstance(value, Report):
            values["report"] = report_to_json(value)
        else:
            values[item.name] = dict(value) if isinstance(value, Mapping) else value
    return values


def report_to_json(report: Report) -> dict[str, Any]:
    """A report as JSON values."""
    values = {item.name: getattr(report, item.name) for item in fields(report)}
    return values | {"stage_ms": dict(report.stage_ms)}
