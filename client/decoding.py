"""Decodes the server's wire messages into events."""

from typing import Any

import grpc

from intone.client.audio import Format
from intone.client.errors import IntoneCallError, from_status
from intone.client.events import (
    AudioChunk,
    Done,
    Event,
    Flushed,
    Interrupted,
    LatencyReport,
    Notice,
    RequestRefused,
    Rerouted,
    Started,
    TextSpan,
)
from intone.client.settings import wire_name
from intone.proto import audio_pb2, speech_pb2


def decode_response(
    response: speech_pb2.StreamSynthesizeResponse, received_s: float, stream_format: Format | None
) -> Event | None:
    """Decode one response. Returns None for a kind of message that this client does not know.

    Args:
        received_s: when it was received; stored in the event.
        stream_format: the audio format of the stream, from its first `Started`.

    Raises:
        IntoneCallError: INTERNAL, if audio comes before any `Started`.
    """
    match response.WhichOneof("response"):
        case "started":
            return _started(response.started, received_s)
        case "audio":
            return _audio(response.audio, received_s, stream_format)
        case "rerouted":
            return _rerouted(response.rerouted, received_s)
        case "flushed":
            return Flushed(received_s, response.flushed.flush_id)
        case "interrupted":
            return _interrupted(response.interrupted, received_s)
        case "done":
            return _done(response.done, received_s)
        case "warning":
            warning: Any = response.warning  # mypy mistakes its type for the builtin `Warning`
            code = wire_name(speech_pb2.WarningCode, "WARNING_CODE_", warning.code)
            return Notice(received_s, code, warning.message, warning.utterance_id)
        case "error":
            return RequestRefused(received_s, response.error.utterance_id, from_status(response.error.status))
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
        wire_name(speech_pb2.EmotionSource, "EMOTION_SOURCE_", started.emotion_source),
        started.emotion_explanation,
        started.emotion_intensity,
    )


def _rerouted(rerouted: speech_pb2.Rerouted, received_s: float) -> Rerouted:
    return Rerouted(
        received_s,
        rerouted.utterance_id,
        rerouted.engine,
        wire_name(speech_pb2.RouteReason, "ROUTE_REASON_", rerouted.route_reason),
        rerouted.route_explanation,
        tuple(rerouted.emotion.weights),
        wire_name(speech_pb2.EmotionSource, "EMOTION_SOURCE_", rerouted.emotion_source),
        rerouted.emotion_explanation,
        rerouted.emotion_intensity,
        TextSpan(rerouted.text_span.start, rerouted.text_span.end),
    )


def _audio(chunk: speech_pb2.AudioChunk, received_s: float, stream_format: Format | None) -> AudioChunk:
    if stream_format is None:
        raise IntoneCallError(grpc.StatusCode.INTERNAL, "the server sent audio before `started`, which has its format")
    return AudioChunk(
        received_s,
        chunk.utterance_id,
        chunk.sequence,
        chunk.offset_samples,
        wire_name(speech_pb2.AudioKind, "AUDIO_KIND_", chunk.kind),
        chunk.data,
        chunk.engine,
        TextSpan(chunk.text_span.start, chunk.text_span.end) if chunk.HasField("text_span") else None,
        dict(chunk.stage_ms),
        stream_format,
        chunk.filler,
    )


def _interrupted(interrupted: speech_pb2.Interrupted, received_s: float) -> Interrupted:
    return Interrupted(
        received_s,
        interrupted.utterance_id,
        interrupted.heard_text,
        interrupted.unheard_text,
        interrupted.heard_ms,
        _report(interrupted.report),
    )


def _done(done: speech_pb2.Done, received_s: float) -> Done:
    return Done(
        received_s,
        done.utterance_id,
        wire_name(speech_pb2.DoneReason, "DONE_REASON_", done.reason),
        from_status(done.error) if done.HasField("error") else None,
        _report(done.report),
    )


def _report(report: speech_pb2.LatencyReport) -> LatencyReport:
    return LatencyReport(
        report.ttfa_ms if report.HasField("ttfa_ms") else None,
        report.filler_ttfa_ms if report.HasField("filler_ttfa_ms") else None,
        report.queue_ms if report.HasField("queue_ms") else None,
        report.rtf if report.HasField("rtf") else None,
        report.audio_ms,
        report.filler_ms,
        report.synthesis_ms,
        dict(report.stage_ms),
        report.units,
        report.covered_ms if report.HasField("covered_ms") else None,
        report.predicted_ttfa_ms if report.HasField("predicted_ttfa_ms") else None,
        report.pause_ms,
        report.fillers,
    )
