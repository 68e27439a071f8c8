"""A gRPC server without engines, for tests of the client: a script decides what it answers; speech is a constant."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status

from intone.client import IntoneError
from intone.proto import emotion_pb2, speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
from tests.support.scripted_responses import LIMITS, RATE_HZ, Response, respond


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
    clips: list[bytes] = field(default_factory=list)
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
            name="starter",
            model="tones",
            sample_rate_hz=RATE_HZ,
            languages=["en"],
            trained=True,
            healthy=True,
            predicted_ttfa_ms=45,
            load=2,
            device="cuda:0, bf16, 54 graphs, 3.1 GB",
            parameters=[{"name": "steps", "min_value": 1, "max_value": 100, "integer": True}],
        )
        return speech_pb2.GetServerInfoResponse(
            version="9.9",
            engines=[engine],
            default_voice="default",
            default_sample_rate_hz=RATE_HZ,
            limits={"stream": LIMITS, "max_streams": 3},
            emotion_analyzer="lexicon",
            emotion_labels=["happy", "sad"],
        )

    def AnalyzeEmotion(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.text == "bad":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this server reads no emotions")
        return speech_pb2.AnalyzeEmotionResponse(
            weights=emotion_pb2.EmotionWeights(happy=0.75),
            label="happy",
            intensity=0.75,
            explanation=f"{len(request.text)} characters of joy",
        )

    def ListVoices(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Two voices a page."""
        first = int(request.page_token or 0)
        voices = list(self.voices.values())[first:]
        more = str(first + 2) if len(voices) > 2 else ""
        return voice_pb2.ListVoicesResponse(voices=voices[:2], next_page_token=more)

    def GetVoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        return voice_pb2.GetVoiceResponse(voice=self._voice(request.name, context))

    def CreateVoice(self, request_iterator: Iterator[Any], context: Any) -> Any:  # noqa: N802
        received = [next(request_iterator)]
        self.uploads.append(received)
        config = received[0].config
        if config.name in self.voices and not config.replace:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "there is one of that name")
        received += request_iterator
        voice = voice_pb2.Voice(
            name=config.name,
            transcript=config.transcript,
            engines=[{"engine": "starter", "fidelity": voice_pb2.VOICE_FIDELITY_CLONED}],
            recording_ms=1500,
            create_time={"seconds": 1_000_000_000},
            languages=config.languages,
            description=config.description,
            labels=config.labels,
            owner="studio",
        )
        self.voices[config.name] = voice
        notice = voice_pb2.VoiceNotice(code=voice_pb2.VOICE_NOTICE_CODE_RECORDING_CUT, message="it was cut")
        return voice_pb2.CreateVoiceResponse(voice=voice, notices=[notice])

    def AddFillers(self, request: Any, context: Any) -> Any:  # noqa: N802
        voice = self._voice(request.voice, context)
        for clip in request.clips:
            length_ms = len(clip.audio)
            voice.fillers.add(text=clip.text, emotion=clip.emotion, language=clip.language, duration_ms=length_ms)
        return voice_pb2.AddFillersResponse(voice=voice)

    def RemoveFillers(self, request: Any, context: Any) -> Any:  # noqa: N802
        voice = self._voice(request.voice, context)
        wanted = {name: value for name in ("emotion", "language", "text") if (value := getattr(request, name))}
        kept = [one for one in voice.fillers if any(getattr(one, name) != wanted[name] for name in wanted)]
        removed = len(voice.fillers) - len(kept)
        del voice.fillers[:]
        voice.fillers.extend(kept)
        return voice_pb2.RemoveFillersResponse(voice=voice, removed_count=removed)

    def ShareVoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        voice = self._voice(request.name, context)
        voice.shared_with[:] = request.shared_with
        return voice_pb2.ShareVoiceResponse(voice=voice)

    def DeleteVoice(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._voice(request.name, context)
        del self.voices[request.name]
        return voice_pb2.DeleteVoiceResponse()

    def UploadEmotionClip(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.clips.append(request.audio)
        clip_id = sha256(request.audio).hexdigest()
        return voice_pb2.UploadEmotionClipResponse(clip_id=clip_id, duration_ms=len(request.audio))

    def _voice(self, name: str, context: Any) -> voice_pb2.Voice:
        if name not in self.voices:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such voice")
        return self.voices[name]

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
    port: int = 0,
) -> Iterator[ScriptedServer]:
    """Run the server on a local port, a free one if none is given, while the context lasts."""
    servicer = ScriptedServer(script, token)
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, options=options)
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{port}"
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


async def failure_of(call: Awaitable[Any]) -> IntoneError:
    """The error that `call` must raise. Caught inside the event loop, so that gRPC can finish before it closes."""
    with pytest.raises(IntoneError) as caught:
        await call
    return caught.value
