"""Converts events and values of the server to messages for clients."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server import events
from intone.server.domain import EMOTIONS, Emotion, EngineInfo
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.rpc.wire.requests import FILLER_POLICIES, SWITCHES, TEXT_FORMATS, WIRE_ENCODINGS
from intone.server.rpc.wire.status import to_status
from intone.server.settings import SpeechSettings, StreamLimits, StreamSettings

SERVER_VERSION = version("intone")
"""Read once: it is in the files of the installed package."""


def _numbers(table: dict[Any, Any]) -> dict[Any, Any]:
    """The wire's number of each value, without UNSPECIFIED."""
    return {value: number for number, value in table.items() if number}


_ENCODING_NUMBERS = _numbers(WIRE_ENCODINGS)
_FILLER_NUMBERS = _numbers(FILLER_POLICIES)
_TEXT_FORMAT_NUMBERS = _numbers(TEXT_FORMATS)
_SWITCH_NUMBERS = _numbers(SWITCHES)


def _number(prefix: str, member: Any) -> Any:
    return getattr(speech_pb2, f"{prefix}_{member.value.upper()}")


def response(event: events.ServerEvent, settings: StreamSettings) -> speech_pb2.StreamSynthesizeResponse:
    """The message of an event."""
    if isinstance(event, events.AudioChunk):
        return speech_pb2.StreamSynthesizeResponse(audio=_audio(event, settings.diagnostics))
    member, make = _MESSAGES[type(event)]
    return speech_pb2.StreamSynthesizeResponse(**{member: make(event)})


def single_response(event: events.ServerEvent, settings: StreamSettings) -> speech_pb2.SynthesizeResponse | None:
    """The message of an event in a call with one text; None for what only streams have."""
    whole = response(event, settings)
    kind = whole.WhichOneof("response")
    if kind not in speech_pb2.SynthesizeResponse.DESCRIPTOR.fields_by_name:
        return None
    return speech_pb2.SynthesizeResponse(**{kind: getattr(whole, kind)})


def closed(error: Exception | None, usage: events.Usage) -> speech_pb2.Closed:
    """The last message of a stream."""
    return speech_pb2.Closed(status=to_status(error), usage=_usage(usage))


def resumed(received_count: int) -> speech_pb2.Resumed:
    """Answers `resume`."""
    return speech_pb2.Resumed(received_count=received_count)


def stream_limits(limits: StreamLimits, max_lead_ms: int | None) -> speech_pb2.StreamLimits:
    """The limits of a stream."""
    return speech_pb2.StreamLimits(
        max_text_characters=limits.max_text_characters,
        max_utterance_characters=limits.max_utterance_characters,
        max_open_utterances=limits.max_open_utterances,
        idle_timeout_ms=limits.idle_timeout_ms,
        text_timeout_ms=limits.text_timeout_ms,
        max_lead_ms=max_lead_ms,
        max_clip_bytes=limits.max_clip_bytes,
        max_message_bytes=limits.max_message_bytes,
    )


def _configured(event: events.Configured) -> speech_pb2.Configured:
    settings = event.settings
    return speech_pb2.Configured(
        stream_id=event.stream_id,
        format=audio_pb2.AudioFormat(
            encoding=_ENCODING_NUMBERS[settings.encoding], sample_rate_hz=settings.sample_rate_hz
        ),
        defaults=_speech_settings(settings.defaults),
        limits=stream_limits(event.limits, settings.max_lead_ms),
        features=event.features,
        server_version=SERVER_VERSION,
        resume_token=event.resume_token,
        resume_ms=event.resume_ms,
    )


def _speech_settings(settings: SpeechSettings) -> speech_pb2.SpeechSettings:
    message = speech_pb2.SpeechSettings(
        voice=settings.voice,
        language=settings.language,
        engine=settings.engine,
        filler=_FILLER_NUMBERS.get(settings.filler),
        text_format=_TEXT_FORMAT_NUMBERS.get(settings.text_format),
        normalization=_SWITCH_NUMBERS.get(settings.normalize),
        speed=settings.speed,
        volume_db=settings.volume_db,
        seed=settings.seed,
        engine_parameters=settings.engine_parameters,
        pronunciations=[
            speech_pb2.Pronunciation(
                word=entry.word,
                ipa=entry.ipa or None,
                pinyin=entry.pinyin or None,
                spoken_as=entry.spoken_as or None,
                language=entry.language,
            )
            for entry in settings.pronunciations
        ],
    )
    if settings.emotion is not None and not settings.emotion.clip_id:
        if settings.emotion.description:
            message.emotion.description = settings.emotion.description
            message.emotion.intensity = settings.emotion.intensity
        else:
            message.emotion.weights.CopyFrom(emotion_weights(settings.emotion))
    return message


def emotion_weights(emotion: Emotion) -> emotion_pb2.EmotionWeights:
    """The weights of an emotion by name."""
    return emotion_pb2.EmotionWeights(**dict(zip(EMOTIONS, emotion.weights, strict=True)))


def _audio(event: events.AudioChunk, diagnostics: bool) -> speech_pb2.AudioChunk:
    span = event.unit_span
    return speech_pb2.AudioChunk(
        utterance_id=event.utterance_id,
        sequence=event.sequence,
        offset_samples=event.offset_samples,
        sample_count=event.sample_count,
        kind=_number("AUDIO_KIND", event.kind),
        data=event.data,
        text_span=None if span is None else speech_pb2.TextSpan(start=span[0], end=span[1]),
        filler_text=event.filler_text,
        stage_ms=event.stage_ms if diagnostics else None,
    )


def _started(event: events.Started) -> speech_pb2.Started:
    return speech_pb2.Started(
        utterance_id=event.utterance_id,
        route=_route(event),
        emotion=_emotion(event.resolved_emotion),
        voice=event.voice,
        seed=event.seed,
    )


def _rerouted(event: events.Rerouted) -> speech_pb2.Rerouted:
    return speech_pb2.Rerouted(
        utterance_id=event.utterance_id,
        route=_route(event),
        emotion=_emotion(event.resolved_emotion),
        text_span=speech_pb2.TextSpan(start=event.start, end=event.end),
    )


def _route(event: events.Started | events.Rerouted) -> speech_pb2.Route:
    return speech_pb2.Route(
        engine=event.engine, reason=_number("ROUTE_REASON", event.reason), explanation=event.explanation
    )


def _emotion(resolved: events.ResolvedEmotion) -> speech_pb2.ResolvedEmotion:
    return speech_pb2.ResolvedEmotion(
        weights=emotion_weights(resolved.emotion),
        intensity=resolved.emotion.intensity,
        source=_number("EMOTION_SOURCE", resolved.source),
        explanation=resolved.explanation,
    )


def _interrupted(event: events.Interrupted) -> speech_pb2.Interrupted:
    cuts = [
        speech_pb2.Cut(
            utterance_id=cut.utterance_id,
            heard_samples=cut.heard_samples,
            heard_characters=len(cut.heard_text),
            heard_text=cut.heard_text,
            unheard_text=cut.unheard_text,
            source=_number("HEARD_SOURCE", cut.source),
        )
        for cut in event.cuts
    ]
    return speech_pb2.Interrupted(interrupt_id=event.interrupt_id, cuts=cuts)


def _done(event: events.Done) -> speech_pb2.Done:
    return speech_pb2.Done(
        utterance_id=event.utterance_id,
        reason=_number("DONE_REASON", event.reason),
        error=to_status(event.error) if event.error is not None else None,
        sample_count=event.sample_count,
        usage=_usage(event.usage),
        latency=_latency(event.latency),
    )


def _notice(event: events.Notice) -> speech_pb2.Notice:
    return speech_pb2.Notice(
        code=_number("NOTICE_CODE", event.code), message=event.message, utterance_id=event.utterance_id
    )


def _refused(event: events.RequestRefused) -> speech_pb2.RequestRefused:
    return speech_pb2.RequestRefused(
        request_index=event.request_index, utterance_id=event.utterance_id, error=to_status(event.error)
    )


_MESSAGES: dict[type, tuple[str, Callable[[Any], Any]]] = {
    events.Configured: ("configured", _configured),
    events.Started: ("started", _started),
    events.Rerouted: ("rerouted", _rerouted),
    events.Flushed: ("flushed", lambda event: speech_pb2.Flushed(flush_id=event.flush_id)),
    events.Done: ("done", _done),
    events.Interrupted: ("interrupted", _interrupted),
    events.Notice: ("notice", _notice),
    events.RequestRefused: ("request_refused", _refused),
    events.GoingAway: ("going_away", lambda event: speech_pb2.GoingAway(grace_ms=event.grace_ms)),
    events.Closed: ("closed", lambda event: closed(event.error, event.usage)),
}
"""Member of `StreamSynthesizeResponse.response` and its message, by type of event."""


def _usage(usage: events.Usage) -> speech_pb2.Usage:
    return speech_pb2.Usage(
        characters=usage.characters,
        spoken_characters=usage.spoken_characters,
        speech_ms=round(usage.speech_ms),
        filler_ms=round(usage.filler_ms),
        pause_ms=round(usage.pause_ms),
        unit_count=usage.unit_count,
        filler_count=usage.filler_count,
    )


def _latency(report: events.LatencyReport) -> speech_pb2.LatencyReport:
    return speech_pb2.LatencyReport(
        ttfa_ms=report.ttfa_ms,
        filler_ttfa_ms=report.filler_ttfa_ms,
        queue_ms=report.queue_ms,
        rtf=report.rtf,
        synthesis_ms=report.synthesis_ms,
        stage_ms=report.stage_ms,
        covered_ms=report.covered_ms,
        predicted_ttfa_ms=report.predicted_ttfa_ms,
    )


def emotion_estimate(found: EmotionEstimate) -> speech_pb2.AnalyzeEmotionResponse:
    """What an analyzer found."""
    return speech_pb2.AnalyzeEmotionResponse(
        weights=emotion_weights(found.emotion),
        label=found.label,
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
        parameters=[
            speech_pb2.EngineParameter(
                name=one.name,
                description=one.description,
                min_value=one.low,
                max_value=one.high,
                default_value=one.default,
                integer=one.integer,
            )
            for one in info.parameters
        ],
    )
