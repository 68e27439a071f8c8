"""What the server says in a conversation, as values. Knows the wire messages, nothing of calls."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import grpc

from intone.client.audio import Format, Samples
from intone.client.errors import IntoneCallError, from_status
from intone.client.settings import wire_name
from intone.proto import audio_pb2, speech_pb2


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


@dataclass(frozen=True, slots=True)
class Audio:
    """A chunk of audio. Those of an utterance come in order, without gaps.

    Attributes:
        sequence: counts the chunks of the utterance from 0.
        offset_samples: position of the first sample in the utterance.
        kind: "speech", "filler" or "silence".
        data: the bytes as received, in `format`.
        text_span: which part of the text it belongs to; None for a filler.
        stage_ms: wall milliseconds spent on it by stage.
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


Event = Started | Audio | Flushed | Interrupted | Done | Warning | Error


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


def decode(response: speech_pb2.StreamSynthesizeResponse, received_s: float, known: Format | None) -> Event | None:
    """The event in a message; None for one that only a newer server knows.

    Args:
        known: what the audio of this stream is, from its first `Started`.

    Raises:
        IntoneCallError: audio before any `Started`: the server breaks the contract.
    """
    match response.WhichOneof("response"):
        case "started":
            return _started(response.started, received_s)
        case "audio":
            return _audio(response.audio, received_s, known)
        case "flushed":
            return Flushed(received_s, response.flushed.flush_id)
        case "interrupted":
            cut = response.interrupted
            texts = (cut.heard_text, cut.unheard_text)
            return Interrupted(received_s, cut.utterance_id, *texts, cut.heard_ms, _report(cut.report))
        case "done":
            return _done(response.done, received_s)
        case "warning":
            warning: Any = response.warning  # mypy takes its type for the builtin of that name
            code = wire_name(speech_pb2.WarningCode, "WARNING_CODE_", warning.code)
            return Warning(received_s, code, warning.message, warning.utterance_id)
        case "error":
            return Error(received_s, response.error.utterance_id, from_status(response.error.status))
    return None


def _started(started: speech_pb2.Started, received_s: float) -> Started:
    encoding = wire_name(audio_pb2.AudioEncoding, "AUDIO_ENCODING_", started.format.encoding)
    return Started(
        received_s,
        started.utterance_id,
        started.engine,
        wire_name(speech_pb2.RouteReason, "ROUTE_REASON_", started.route_reason),
        started.route_explanation,
        tuple(started.emotion.weights),
        Format("pcm_s16le" if encoding == "unspecified" else encoding, started.format.sample_rate_hz),
        started.voice,
        started.seed,
    )


def _audio(chunk: speech_pb2.AudioChunk, received_s: float, known: Format | None) -> Audio:
    if known is None:
        raise IntoneCallError(grpc.StatusCode.INTERNAL, "the server sent audio before it said what the audio is")
    return Audio(
        received_s,
        chunk.utterance_id,
        chunk.sequence,
        chunk.offset_samples,
        wire_name(speech_pb2.AudioKind, "AUDIO_KIND_", chunk.kind),
        chunk.data,
        chunk.engine,
        TextSpan(chunk.text_span.start, chunk.text_span.end) if chunk.HasField("text_span") else None,
        dict(chunk.stage_ms),
        known,
    )


def _done(done: speech_pb2.Done, received_s: float) -> Done:
    return Done(
        received_s,
        done.utterance_id,
        wire_name(speech_pb2.DoneReason, "DONE_REASON_", done.reason),
        from_status(done.error) if done.HasField("error") else None,
        _report(done.report),
    )


def _report(report: speech_pb2.LatencyReport) -> Report:
    return Report(
        report.ttfa_ms if report.HasField("ttfa_ms") else None,
        report.filler_ttfa_ms if report.HasField("filler_ttfa_ms") else None,
        report.queue_ms if report.HasField("queue_ms") else None,
        report.rtf if report.HasField("rtf") else None,
        report.audio_ms,
        report.filler_ms,
        report.synthesis_ms,
        dict(report.stage_ms),
        report.units,
    )
