"""Converts events and values of the server to messages for clients."""

from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server import events
from intone.server.domain import EngineInfo
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.rpc.wire.requests import WIRE_ENCODINGS
from intone.server.rpc.wire.status import to_status

ENCODING_NUMBERS = {name: number for number, name in WIRE_ENCODINGS.items() if number}  # without UNSPECIFIED


def _number(prefix: str, member: Any) -> Any:
    return getattr(speech_pb2, f"{prefix}_{member.value.upper()}")


def audio_format(settings: events.StreamSettings) -> audio_pb2.AudioFormat:
    """The format of a stream."""
    return audio_pb2.AudioFormat(encoding=ENCODING_NUMBERS[settings.encoding], sample_rate_hz=settings.sample_rate_hz)


def response(event: events.ServerEvent, settings: events.StreamSettings) -> speech_pb2.StreamSynthesizeResponse:
    """The message of an event."""
    make = speech_pb2.StreamSynthesizeResponse
    match event:
        case events.AudioChunk():
            return make(audio=_audio(event))
        case events.Started():
            return make(started=_started(event, settings))
        case events.Rerouted():
            return make(rerouted=_rerouted(event))
        case events.Flushed():
            return make(flushed=speech_pb2.Flushed(flush_id=event.flush_id))
        case events.Interrupted():
            return make(interrupted=_interrupted(event))
        case events.Done():
            return make(done=_done(event))
        case events.Notice():
            return make(warning=_warning(event))
        case events.RequestRefused():
            return make(error=speech_pb2.Error(utterance_id=event.utterance_id, status=to_status(event.error)))


def single_response(event: events.ServerEvent, settings: events.StreamSettings) -> speech_pb2.SynthesizeResponse:
    """The message of an event in a call with one text."""
    whole = response(event, settings)
    kind = whole.WhichOneof("response")
    return speech_pb2.SynthesizeResponse(**{kind: getattr(whole, kind)})


def _audio(event: events.AudioChunk) -> speech_pb2.AudioChunk:
    return speech_pb2.AudioChunk(
        utterance_id=event.utterance_id,
        sequence=event.sequence,
        offset_samples=event.offset_samples,
        kind=_number("AUDIO_KIND", event.kind),
        data=event.data,
        engine=event.engine,
        text_span=_span(event) if event.kind is events.AudioKind.SPEECH else None,
        stage_ms=event.stage_ms,
        filler=event.filler_text,
    )


def _started(event: events.Started, settings: events.StreamSettings) -> speech_pb2.Started:
    return speech_pb2.Started(
        utterance_id=event.utterance_id,
        engine=event.engine,
        route_reason=_number("ROUTE_REASON", event.reason),
        route_explanation=event.explanation,
        format=audio_format(settings),
        voice=event.voice,
        seed=event.seed,
        **_emotion(event.resolved_emotion),
    )


def _rerouted(event: events.Rerouted) -> speech_pb2.Rerouted:
    return speech_pb2.Rerouted(
        utterance_id=event.utterance_id,
        engine=event.engine,
        route_reason=_number("ROUTE_REASON", event.reason),
        route_explanation=event.explanation,
        text_span=_span(event),
        **_emotion(event.resolved_emotion),
    )


def _emotion(resolved: events.ResolvedEmotion) -> dict[str, Any]:
    return {
        "emotion": emotion_pb2.EmotionVector(weights=resolved.emotion.weights),
        "emotion_source": _number("EMOTION_SOURCE", resolved.source),
        "emotion_explanation": resolved.explanation,
        "emotion_intensity": resolved.emotion.intensity,
    }


def _span(event: events.AudioChunk | events.Rerouted) -> speech_pb2.TextSpan:
    return speech_pb2.TextSpan(start=event.start, end=event.end)


def _interrupted(event: events.Interrupted) -> speech_pb2.Interrupted:
    return speech_pb2.Interrupted(
        utterance_id=event.utterance_id,
        heard_text=event.heard_text,
        unheard_text=event.unheard_text,
        heard_ms=event.heard_ms,
        report=_report(event.report),
    )


def _done(event: events.Done) -> speech_pb2.Done:
    return speech_pb2.Done(
        utterance_id=event.utterance_id,
        reason=_number("DONE_REASON", event.reason),
        error=to_status(event.error) if event.error is not None else None,
        report=_report(event.report),
    )


def _warning(event: events.Notice) -> speech_pb2.Warning:
    return speech_pb2.Warning(
        code=_number("WARNING_CODE", event.code), message=event.message, utterance_id=event.utterance_id
    )


def _report(report: events.LatencyReport) -> speech_pb2.LatencyReport:
    return speech_pb2.LatencyReport(
        ttfa_ms=report.ttfa_ms,
        filler_ttfa_ms=report.filler_ttfa_ms,
        queue_ms=report.queue_ms,
        rtf=report.rtf,
        audio_ms=report.audio_ms,
        filler_ms=report.filler_ms,
        synthesis_ms=report.synthesis_ms,
        stage_ms=report.stage_ms,
        units=report.unit_count,
        covered_ms=report.covered_ms,
        predicted_ttfa_ms=report.predicted_ttfa_ms,
        pause_ms=report.pause_ms,
        fillers=report.filler_count,
    )


def emotion_estimate(found: EmotionEstimate) -> speech_pb2.AnalyzeEmotionResponse:
    """What an analyzer found."""
    return speech_pb2.AnalyzeEmotionResponse(
        emotion=emotion_pb2.EmotionVector(weights=found.emotion.weights),
        label=getattr(emotion_pb2, f"EMOTION_LABEL_{found.label.upper()}"),
        intensity=found.emotion.intensity,
        explanation=found.explanation,
    )


def engine_info(
    info: EngineInfo, healthy: bool, expected_ms: float | None = None, load: int = 0
) -> speech_pb2.EngineInfo:
    """The message that describes a loaded engine."""
    return speech_pb2.EngineInfo(
        name=info.name,
        model=info.model,
        sample_rate_hz=info.sample_rate_hz,
        languages=info.languages,
        trained=info.trained,
        clones_voices=info.clones_voices,
        voices_emotion=info.voices_emotion,
        healthy=healthy,
        device=info.device,
        changes_speed=info.changes_speed,
        predicted_ttfa_ms=expected_ms,
        load=load,
    )
