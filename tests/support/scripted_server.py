"""A gRPC server without engines, for tests of the client: a script decides what it answers; speech is a constant."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from intone.client import IntoneCallError
from intone.proto import audio_pb2, emotion_pb2, speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc

RATE_HZ = 24000
CHUNK_SAMPLES = 2400
REPORT = speech_pb2.LatencyReport(
    ttfa_ms=12.5, queue_ms=1.5, rtf=0.25, audio_ms=100, synthesis_ms=25, stage_ms={"lm": 20, "vae": 5}, units=1
)
Response = speech_pb2.StreamSynthesizeResponse


def refusal(field_name: str, description: str, code: int = code_pb2.INVALID_ARGUMENT, retry_s: float = 0) -> Any:
    """A `google.rpc.Status` with a field violation and, if set, a retry delay."""
    status = status_pb2.Status(code=code, message="no good")
    violation = error_details_pb2.BadRequest.FieldViolation(field=field_name, description=description)
    details: list[Any] = [error_details_pb2.BadRequest(field_violations=[violation])]
    if retry_s:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(nanos=round(retry_s * 1e9))))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def started(utterance_id: str, encoding: int = audio_pb2.AUDIO_ENCODING_PCM_S16LE) -> Response:
    return Response(
        started=speech_pb2.Started(
            utterance_id=utterance_id,
            engine="starter",
            route_reason=speech_pb2.ROUTE_REASON_PLAIN,
            route_explanation="plain talk",
            emotion={"weights": [0.0] * 8},
            format=audio_pb2.AudioFormat(encoding=encoding, sample_rate_hz=RATE_HZ),
            voice="default",
            seed=7,
        )
    )


def audio(
    utterance_id: str, sequence: int, level: float = 0.5, kind: int = speech_pb2.AUDIO_KIND_SPEECH, filler: str = ""
) -> Response:
    return Response(
        audio=speech_pb2.AudioChunk(
            utterance_id=utterance_id,
            sequence=sequence,
            offset_samples=sequence * CHUNK_SAMPLES,
            kind=kind,
            data=np.full(CHUNK_SAMPLES, level * 32767, "<i2").tobytes(),
            engine="starter",
            text_span=speech_pb2.TextSpan(start=0, end=1) if kind == speech_pb2.AUDIO_KIND_SPEECH else None,
            stage_ms={"lm": 1.0},
            filler=filler,
        )
    )


def done(utterance_id: str, error: Any = None) -> Response:
    reason = speech_pb2.DONE_REASON_REJECTED if error else speech_pb2.DONE_REASON_COMPLETED
    return Response(done=speech_pb2.Done(utterance_id=utterance_id, reason=reason, error=error, report=REPORT))


def respond(requests: Iterator[Any]) -> Iterator[Response]:
    """Answer each text delta with 100 ms of audio at once. The delta "bad" rejects its utterance."""
    next(requests)
    chunks: dict[str, int] = {}
    texts: dict[str, str] = {}
    for request in requests:
        text = request.text
        match request.WhichOneof("request"):
            case "text" if text.delta == "bad":
                yield done(text.utterance_id, refusal("text.delta", "cannot be spoken"))
            case "text":
                if text.utterance_id not in chunks:
                    chunks[text.utterance_id] = 0
                    yield started(text.utterance_id)
                if text.delta:
                    texts[text.utterance_id] = texts.get(text.utterance_id, "") + text.delta
                    yield audio(text.utterance_id, chunks[text.utterance_id])
                    chunks[text.utterance_id] += 1
                if text.end_of_utterance:
                    yield done(text.utterance_id)
            case "flush":
                yield Response(flushed=speech_pb2.Flushed(flush_id=request.flush.flush_id))
            case "cancel":
                utterance_id = request.cancel.utterance_id
                yield Response(
                    interrupted=speech_pb2.Interrupted(
                        utterance_id=utterance_id,
                        heard_text="so",
                        unheard_text=texts[utterance_id],
                        heard_ms=request.cancel.played_ms,
                        report=REPORT,
                    )
                )
            case "config":
                yield Response(error=speech_pb2.Error(status=refusal("config", "only once")))


@dataclass
class ScriptedServer(speech_pb2_grpc.SpeechServiceServicer, voice_pb2_grpc.VoiceServiceServicer):  # type: ignore[misc]
    """The servicer. Records requests; responses come from `script(requests, number of the call, context)`."""

    script: Callable[[Iterator[Any], int, Any], Iterator[Response]]
    token: str | None = None
    target: str = ""
    stop: Callable[[], Any] = field(init=False)
    calls: list[list[Any]] = field(default_factory=list)
    uploads: list[list[Any]] = field(default_factory=list)
    voices: dict[str, voice_pb2.Voice] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def StreamSynthesize(self, request_iterator: Iterator[Any], context: Any) -> Iterator[Response]:  # noqa: N802
        self._check(context)
        received: list[Any] = []
        with self.lock:
            self.calls.append(received)
            number = len(self.calls) - 1

        def recorded() -> Iterator[Any]:
            for request in request_iterator:
                received.append(request)
                yield request

        yield from self.script(recorded(), number, context)

    def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._check(context)
        engine = speech_pb2.EngineInfo(
            name="starter", model="tones", sample_rate_hz=RATE_HZ, healthy=True, predicted_ttfa_ms=45, load=2
        )
        return speech_pb2.GetServerInfoResponse(
            version="9.9",
            engines=[engine],
            default_voice="default",
            limits={"max_streams": 3},
            emotion_analyzer="lexicon",
        )

    def AnalyzeEmotion(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.text == "bad":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this server reads no emotions")
        return speech_pb2.AnalyzeEmotionResponse(
            emotion={"weights": [0.75, *[0.0] * 7]},
            label=emotion_pb2.EMOTION_LABEL_HAPPY,
            intensity=0.75,
            explanation=f"{len(request.text)} characters of joy",
        )

    def ListVoices(self, request: Any, context: Any) -> Any:  # noqa: N802
        return voice_pb2.ListVoicesResponse(voices=self.voices.values())

    def GetVoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name not in self.voices:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such voice")
        return voice_pb2.GetVoiceResponse(voice=self.voices[request.name])

    def CreateVoice(self, request_iterator: Iterator[Any], context: Any) -> Any:  # noqa: N802
        received = [next(request_iterator)]
        self.uploads.append(received)
        config = received[0].config
        if config.name in self.voices and not config.replace:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one of that name")
        received += request_iterator
        self.voices[config.name] = voice_pb2.Voice(name=config.name, transcript=config.transcript, engines=["starter"])
        return voice_pb2.CreateVoiceResponse(voice=self.voices[config.name], warnings=["it was cut"])

    def AddFillers(self, request: Any, context: Any) -> Any:  # noqa: N802
        voice = self.voices[request.name]
        for clip in request.clips:
            length_ms = len(clip.audio)
            voice.fillers.add(text=clip.text, emotion=clip.emotion, language=clip.language, duration_ms=length_ms)
        return voice_pb2.AddFillersResponse(voice=voice)

    def DeleteVoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.voices.pop(request.name, None) is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such voice")
        return voice_pb2.DeleteVoiceResponse()

    def _check(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        if self.token is not None and metadata.get("authorization") != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed")


def default_script(requests: Iterator[Any], number: int, context: Any) -> Iterator[Response]:
    """The default script."""
    return respond(requests)


def abort(context: Any, status: Any) -> None:
    """End the call with a status and its details."""
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def scripted_server(
    script: Callable[[Iterator[Any], int, Any], Iterator[Response]] = default_script,
    *,
    credentials: grpc.ServerCredentials | None = None,
    token: str | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> Iterator[ScriptedServer]:
    """Run the server on a free local port while the context lasts."""
    servicer = ScriptedServer(script, token)
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, options=options)
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(servicer, server)
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    servicer.target = f"127.0.0.1:{port}"
    servicer.stop = lambda: server.stop(0)
    server.start()
    try:
        yield servicer
    finally:
        server.stop(0).wait()
        pool.shutdown()


@asynccontextmanager
async def proxy(
    target: str, *, cut_after: int | None = None, delay_s: float = 0.0, frozen: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """A TCP proxy to `target`.

    Args:
        cut_after: close the connection after this many bytes.
        delay_s: delay each read.
        frozen: drop all data while this is set.
    """
    host, port = target.split(":")
    left = [cut_after]
    pipes: list[asyncio.Task[None]] = []

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1024):
                await asyncio.sleep(delay_s)
                if left[0] is not None:
                    left[0] -= len(data)
                    if left[0] < 0:
                        break
                if frozen is None or not frozen.is_set():
                    sink.write(data)
        except OSError:
            pass  # the other end has closed already
        finally:
            sink.transport.abort()
            other.transport.abort()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        pipes.append(asyncio.create_task(pipe(reader, back, writer)))
        pipes.append(asyncio.create_task(pipe(there, writer, back)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


async def failure_of(call: Awaitable[Any]) -> IntoneCallError:
    """The error that `call` must raise. Caught inside the event loop, so that gRPC can finish before it closes."""
    with pytest.raises(IntoneCallError) as caught:
        await call
    return caught.value
