"""Events of a conversation: one value class for each kind of message from the server."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from intone.client.audio import Format, Samples
from intone.client.errors import IntoneCallError


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency of one utterance, measured at the server; `LatencyReport` on the wire. None means not applicable.

    Attributes:
        ttfa_ms: from the arrival of the text that completes the first unit to the first audible speech handed to the
            stream.
        filler_ttfa_ms: the same, to the first filler.
        queue_ms: the part of `ttfa_ms` spent waiting for the engine.
        rtf: real-time factor, synthesis time ÷ duration of the speech. Below 1 is faster than real time.
        audio_ms, filler_ms, pause_ms: duration of the speech, the fillers and the pauses.
        synthesis_ms: wall time of synthesis.
        stage_ms: wall time by stage of synthesis.
        units: number of units the text was split into.
        covered_ms: the part of `ttfa_ms` in which a filler or earlier speech was playing.
        predicted_ttfa_ms: the server's prediction of `ttfa_ms` when it routed the first unit.
        fillers: number of fillers played.
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
    """Characters (code points) `start` to `end`, exclusive, of the utterance's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance has been routed to an engine and starts.

    Attributes:
        received_s: when the event was read, in seconds of the client's monotonic clock. All events use the same clock.
        route_reason: a code such as "plain" or "strong_emotion"; `route_explanation` is the same for people.
        emotion: eight weights in the order of `settings.EMOTION_WEIGHT_NAMES`; all zeros is neutral.
        format: the audio format of the stream.
        emotion_source: "none", "utterance", "stream", "tag" or "text"; `emotion_explanation` gives the details.
        emotion_intensity: 0 to 1; the server compares it with its threshold for a strong emotion.
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
    """The engine or the emotion changes from `text_span` on. The other fields are as in `Started`."""

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
class AudioChunk:
    """A chunk of audio. The chunks of an utterance arrive in order and without gaps.

    Attributes:
        sequence: number of the chunk in its utterance, from 0.
        offset_samples: position of its first sample in the utterance.
        kind: "speech", "filler" or "silence".
        data: the samples as received, in `format`.
        text_span: the part of the text it belongs to; None for a filler or a pause.
        stage_ms: wall milliseconds spent on it, by stage of synthesis.
        filler: the text of a filler, such as "Hmm"; empty for speech and silence.
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
        """The audio as float32, shape `[samples]`. Decoded on each access."""
        return self.format.decode(self.data)

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.format.seconds(len(self.data))


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything that was sent before the flush has been spoken and its audio sent."""

    received_s: float
    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An utterance was cancelled; no audio of it follows.

    Attributes:
        heard_text: text that the listener has heard, cut at a word.
        unheard_text: the rest of the text that the server had received.
        heard_ms: duration of the utterance's audio that was heard.
    """

    received_s: float
    utterance_id: str
    heard_text: str
    unheard_text: str
    heard_ms: int
    report: LatencyReport


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended without being cancelled.

    Attributes:
        reason: "completed"; "rejected" (its text or settings are invalid) or "failed" (an engine failed).
        error: the cause, if it was not completed.
    """

    received_s: float
    utterance_id: str
    reason: str
    error: IntoneCallError | None
    report: LatencyReport


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was changed or is not available; `Warning` on the wire. Nothing ends because of it.

    Attributes:
        code: such as "untrained_weights".
        message: the same for people.
        utterance_id: empty if it concerns the whole stream.
    """

    received_s: float
    code: str
    message: str
    utterance_id: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The server refused a message; `Error` on the wire. The message had no effect and the conversation goes on.

    Attributes:
        utterance_id: that of the refused message; empty if it named none.
    """

    received_s: float
    utterance_id: str
    error: IntoneCallError


Event = Started | Rerouted | AudioChunk | Flushed | Interrupted | Done | Notice | RequestRefused


_WIRE_NAMES = {AudioChunk: "audio", Notice: "warning", RequestRefused: "error"}
"""Members of the wire's `response` that are not named as the class is, in lower case."""


def event_to_json(event: Event) -> dict[str, Any]:
    """Convert an event to JSON values. Audio is replaced by its size in bytes."""
    kind = type(event)
    values: dict[str, Any] = {"event": _WIRE_NAMES.get(kind, kind.__name__.lower())}
    for item in fields(event):
        value = getattr(event, item.name)
        if isinstance(value, bytes):
            values["bytes"] = len(value)
        elif isinstance(value, Format):
            values["encoding"], values["sample_rate_hz"] = value.encoding, value.sample_rate_hz
        elif isinstance(value, IntoneCallError):
            values["error"] = {"code": value.code.name, "message": value.message, "violations": value.violations}
        elif isinstance(value, LatencyReport):
            values["report"] = report_to_json(value)
        else:
            values[item.name] = dict(value) if isinstance(value, Mapping) else value
    return values


def report_to_json(report: LatencyReport) -> dict[str, Any]:
    """Convert a report to JSON values."""

    values = {item.name: getattr(report, item.name) for item in fields(report)}
    return values | {"stage_ms": dict(report.stage_ms)}
