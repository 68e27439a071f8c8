"""What a scripted server answers: single responses, a whole utterance, and `Talk`, which answers any request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from intone.proto import audio_pb2, speech_pb2

RATE_HZ = 24000
CHUNK_SAMPLES = 2400
LATENCY = speech_pb2.LatencyReport(ttfa_ms=12.5, queue_ms=1.5, rtf=0.25, synthesis_ms=25, stage_ms={"lm": 20, "vae": 5})
USAGE = speech_pb2.Usage(characters=10, spoken_characters=9, speech_ms=100, unit_count=1)
LIMITS = speech_pb2.StreamLimits(
    max_text_characters=5000,
    max_utterance_characters=100_000,
    max_open_utterances=16,
    idle_timeout_ms=60_000,
    text_timeout_ms=10_000,
    max_lead_ms=5000,
    max_clip_bytes=2**21,
    max_message_bytes=2**22,
)
Request = speech_pb2.StreamSynthesizeRequest
Response = speech_pb2.StreamSynthesizeResponse


def refusal(
    field_name: str,
    description: str,
    code: int = code_pb2.INVALID_ARGUMENT,
    retry_s: float = 0,
    reason: str = "VALUE_INVALID",
) -> Any:
    """A `google.rpc.Status` with a reason, a field violation and, if set, a retry delay."""
    status = status_pb2.Status(code=code, message="no good")
    violation = error_details_pb2.BadRequest.FieldViolation(field=field_name, description=description)
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=reason, domain="intone.v1", metadata={"limit": "3"}),
        error_details_pb2.BadRequest(field_violations=[violation]),
    ]
    if retry_s:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=round(retry_s * 1e9))))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def configured(
    encoding: int = audio_pb2.AUDIO_ENCODING_PCM_S16LE, features: Sequence[str] = (), stream_id: str = "s1"
) -> Response:
    return Response(
        configured=speech_pb2.Configured(
            stream_id=stream_id,
            format=audio_pb2.AudioFormat(encoding=encoding, sample_rate_hz=RATE_HZ),
            defaults=speech_pb2.SpeechSettings(voice="default", text_format=speech_pb2.TEXT_FORMAT_TAGS),
            limits=LIMITS,
            features=features,
            server_version="9.9",
        )
    )


def emotion(happy: float, source: int) -> speech_pb2.ResolvedEmotion:
    return speech_pb2.ResolvedEmotion(
        weights={"happy": happy}, intensity=happy, source=source, explanation="“great”" if happy else ""
    )


def started(utterance_id: str, happy: float = 0.0, source: int = speech_pb2.EMOTION_SOURCE_NONE) -> Response:
    return Response(
        started=speech_pb2.Started(
            utterance_id=utterance_id,
            route={"engine": "starter", "reason": speech_pb2.ROUTE_REASON_PLAIN, "explanation": "plain talk"},
            emotion=emotion(happy, source),
            voice="default",
            seed=7,
        )
    )


def audio(
    utterance_id: str,
    sequence: int,
    level: float = 0.5,
    kind: int = speech_pb2.AUDIO_KIND_SPEECH,
    filler: str = "",
    samples: int = CHUNK_SAMPLES,
    span: tuple[int, int] | None = None,
) -> Response:
    return Response(
        audio=speech_pb2.AudioChunk(
            utterance_id=utterance_id,
            sequence=sequence,
            offset_samples=sequence * samples,
            sample_count=samples,
            kind=kind,
            data=np.full(samples, level * 32767, "<i2").tobytes(),
            text_span=None if span is None else speech_pb2.TextSpan(start=span[0], end=span[1]),
            stage_ms={"lm": 1.0},
            filler_text=filler,
        )
    )


def done(utterance_id: str, error: Any = None, reason: int | None = None, sample_count: int = 0) -> Response:
    usual = speech_pb2.DONE_REASON_REJECTED if error else speech_pb2.DONE_REASON_COMPLETED
    end = speech_pb2.Done(
        utterance_id=utterance_id,
        reason=usual if reason is None else reason,
        error=error,
        sample_count=sample_count,
        usage=USAGE,
        latency=LATENCY,
    )
    return Response(done=end)


def closed(status: Any = None) -> Response:
    return Response(closed=speech_pb2.Closed(status=status or status_pb2.Status(), usage=USAGE))


@dataclass
class _Spoken:
    """An utterance of `Talk`."""

    level: float
    text: str = ""
    chunks: int = 0
    ended: bool = False


@dataclass
class Talk:
    """A server's side of a stream: each text delta becomes 100 ms of audio at once.

    The delta "bad" rejects its utterance. All that was sent counts as heard. The level of the audio is 0.5, or 0.37 for
    the id "s37".
    """

    features: Sequence[str] = ()
    utterances: dict[str, _Spoken] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    config: Any = None
    index: int = -1

    def answer(self, request: Request) -> Iterator[Response]:
        """The responses to a request."""
        self.index += 1
        match request.WhichOneof("request"):
            case "config" if self.config is None:
                self.config = request.config
                yield configured(request.config.format.encoding, self.features)
            case "config":
                refused = speech_pb2.RequestRefused(request_index=self.index, error=refusal("config", "only once"))
                yield Response(request_refused=refused)
            case "start":
                yield from self._start(request.start.utterance_id)
            case "text":
                yield from self._text(request.text)
            case "flush":
                yield Response(flushed=speech_pb2.Flushed(flush_id=request.flush.flush_id))
            case "interrupt":
                yield from self._interrupt(request.interrupt)
            case "finish":
                yield closed()

    def _start(self, utterance_id: str) -> Iterator[Response]:
        if utterance_id in self.barred:
            self.barred.remove(utterance_id)
            self.utterances[utterance_id] = _Spoken(0.0, ended=True)
            yield done(utterance_id, reason=speech_pb2.DONE_REASON_INTERRUPTED)
        elif utterance_id not in self.utterances:
            self.utterances[utterance_id] = _Spoken(level_of(utterance_id))
            yield started(utterance_id)

    def _text(self, text: speech_pb2.TextInput) -> Iterator[Response]:
        yield from self._start(text.utterance_id)
        spoken = self.utterances[text.utterance_id]
        if spoken.ended:
            return
        if text.delta == "bad":
            spoken.ended = True
            yield done(text.utterance_id, refusal("text.delta", "cannot be spoken"))
            return
        if text.delta:
            begin = len(spoken.text)
            spoken.text += text.delta
            yield audio(text.utterance_id, spoken.chunks, spoken.level, span=(begin, len(spoken.text)))
            spoken.chunks += 1
        if text.end_of_utterance:
            spoken.ended = True
            empty = None if spoken.text else speech_pb2.DONE_REASON_EMPTY
            yield done(text.utterance_id, reason=empty, sample_count=spoken.chunks * CHUNK_SAMPLES)

    def _interrupt(self, request: speech_pb2.Interrupt) -> Iterator[Response]:
        answer = speech_pb2.Interrupted(interrupt_id=request.interrupt_id)
        for utterance_id in request.utterance_ids or list(self.utterances):
            spoken = self.utterances.get(utterance_id)
            if spoken is None:
                self.barred.add(utterance_id)
            elif not spoken.ended:
                spoken.ended = True
                samples = spoken.chunks * CHUNK_SAMPLES
                yield done(utterance_id, reason=speech_pb2.DONE_REASON_INTERRUPTED, sample_count=samples)
                reported = request.HasField("played") and request.played.utterance_id == utterance_id
                answer.cuts.add(
                    utterance_id=utterance_id,
                    heard_samples=request.played.sample if reported else samples,
                    heard_characters=2,
                    heard_text=spoken.text[:2],
                    unheard_text=spoken.text[2:],
                    source=speech_pb2.HEARD_SOURCE_REPORTED if reported else speech_pb2.HEARD_SOURCE_ESTIMATED,
                )
        yield Response(interrupted=answer)


def level_of(utterance_id: str) -> float:
    """The level at which `Talk` speaks an utterance."""
    number = utterance_id.removeprefix("s")
    return int(number) / 100 if number.isdigit() else 0.5


def respond(requests: Iterator[Any], features: Sequence[str] = ()) -> Iterator[Response]:
    """Answer as `Talk` does, until `finish` or half-close."""
    talk = Talk(features)
    for request in requests:
        yield from talk.answer(request)
        if request.HasField("finish"):
            return


def varied_utterance(utterance_id: str) -> Iterator[Response]:
    """An utterance with a filler, speech, a pause, a reroute and a notice."""
    yield started(utterance_id)
    yield audio(utterance_id, 0, kind=speech_pb2.AUDIO_KIND_FILLER, filler="Hmm")
    yield audio(utterance_id, 1, span=(0, 7))
    yield audio(utterance_id, 2, 0.0, kind=speech_pb2.AUDIO_KIND_SILENCE)
    yield audio(utterance_id, 3, 0.0, kind=speech_pb2.AUDIO_KIND_SILENCE)
    yield Response(
        rerouted=speech_pb2.Rerouted(
            utterance_id=utterance_id,
            route={
                "engine": "indextts",
                "reason": speech_pb2.ROUTE_REASON_STRONG_EMOTION,
                "explanation": "strong emotion",
            },
            emotion=emotion(0.75, speech_pb2.EMOTION_SOURCE_TEXT),
            text_span=speech_pb2.TextSpan(start=7, end=20),
        )
    )
    code = speech_pb2.NOTICE_CODE_EMOTION_APPROXIMATED
    yield Response(notice=speech_pb2.Notice(code=code, message="read by keywords", utterance_id=utterance_id))
    yield audio(utterance_id, 4, span=(7, 20))
    end = done(utterance_id, sample_count=5 * CHUNK_SAMPLES)
    end.done.latency.MergeFrom(speech_pb2.LatencyReport(covered_ms=100, predicted_ttfa_ms=150))
    end.done.usage.MergeFrom(speech_pb2.Usage(filler_ms=100, pause_ms=200, filler_count=1))
    yield end
