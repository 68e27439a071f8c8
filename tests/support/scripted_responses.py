"""Longer sequences of responses for `scripted_server`."""

from collections.abc import Iterator
from typing import Any

from intone.proto import speech_pb2
from tests.support.scripted_server import Response, audio, done, started


def emotion_fields(happy: float, source: int) -> dict[str, Any]:
    """The emotion fields that `started` and `rerouted` have in common."""
    return {
        "emotion": {"weights": [happy, *[0.0] * 7]},
        "emotion_source": source,
        "emotion_explanation": "“great”",
        "emotion_intensity": happy,
    }


def varied_utterance(utterance_id: str) -> Iterator[Response]:
    """An utterance with a filler, speech, a pause, a reroute and a warning."""
    first = started(utterance_id)
    first.started.MergeFrom(speech_pb2.Started(emotion_source=speech_pb2.EMOTION_SOURCE_NONE))
    yield first
    yield audio(utterance_id, 0, kind=speech_pb2.AUDIO_KIND_FILLER, filler="Hmm")
    yield audio(utterance_id, 1)
    yield audio(utterance_id, 2, 0.0, kind=speech_pb2.AUDIO_KIND_SILENCE)
    yield audio(utterance_id, 3, 0.0, kind=speech_pb2.AUDIO_KIND_SILENCE)
    yield Response(
        rerouted=speech_pb2.Rerouted(
            utterance_id=utterance_id,
            engine="indextts",
            route_reason=speech_pb2.ROUTE_REASON_STRONG_EMOTION,
            route_explanation="strong emotion",
            text_span=speech_pb2.TextSpan(start=7, end=20),
            **emotion_fields(0.75, speech_pb2.EMOTION_SOURCE_TEXT),
        )
    )
    code = speech_pb2.WARNING_CODE_EMOTION_APPROXIMATED
    yield Response(warning=speech_pb2.Warning(code=code, message="read by keywords", utterance_id=utterance_id))
    yield audio(utterance_id, 4)
    end = done(utterance_id)
    measured = {"covered_ms": 100, "predicted_ttfa_ms": 150, "pause_ms": 200, "filler_ms": 100, "fillers": 1}
    end.done.report.MergeFrom(speech_pb2.LatencyReport(**measured))
    yield end
