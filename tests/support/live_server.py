"""A server on the loopback with a scripted engine, and short methods for one stream.

Tests see what any client sees: messages of the wire.
"""

import asyncio
import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from intone.proto import audio_pb2, speech_pb2, speech_pb2_grpc, voice_pb2_grpc
from intone.server.app import App, serving
from intone.server.config import Config
from intone.server.domain import Step
from tests.support.fakes import RATE_HZ, ScriptedEngine, ScriptedState, text_of

READ_S = 10.0
"""Longest wait for one answer; it only keeps a failing test from hanging."""

STREAM_METHOD = "/intone.v1.SpeechService/StreamSynthesize"
F32 = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hz=RATE_HZ)
LONE_SURROGATE = b"\xed\xa0\x80"
PLACE_FOR_SURROGATE = "@@@"


def with_lone_surrogate(message: Any) -> bytes:
    """The bytes of `message` with a lone surrogate, as some languages encode it, in place of each `@@@`."""
    data = message.SerializeToString().replace(PLACE_FOR_SURROGATE.encode(), LONE_SURROGATE)
    assert LONE_SURROGATE in data
    return bytes(data)


def serialized(message: Any) -> bytes:
    """The bytes of a message. Bytes are passed through, so that invalid messages can be sent."""
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


@dataclass
class Live:
    """A server and a channel to it."""

    app: App
    channel: Any
    engine: ScriptedEngine

    @property
    def speech(self) -> Any:
        """The stub of SpeechService."""
        return speech_pb2_grpc.SpeechServiceStub(self.channel)

    @property
    def voices(self) -> Any:
        """The stub of VoiceService."""
        return voice_pb2_grpc.VoiceServiceStub(self.channel)

    @property
    def jobs(self) -> int:
        """Units that the engines are speaking or have queued."""
        return sum(worker.load for worker in self.app.service.workers.values())

    @property
    def idle(self) -> bool:
        """Whether no stream is open and no unit is queued."""
        return self.app.service.open_streams == 0 and self.jobs == 0

    def open(self, **call: Any) -> "Talk":
        """A new stream, without a config. `call`: timeout, metadata."""
        return Talk.over(self.channel, **call)

    async def talk(self, **config: Any) -> "Talk":
        """A stream with its config sent: float32 at the engine's rate, unless `format` is given."""
        talk = self.open()
        await talk.send(config=speech_pb2.StreamConfig(**{"format": F32, **config}))
        return talk


@contextlib.asynccontextmanager
async def live(engine: ScriptedEngine | None = None, **settings: Any) -> AsyncIterator[Live]:
    """A server with one scripted engine, all in this process. Pauses, fillers and loudness matching are off, unless
    `settings` has them: tests read the text back from the audio."""
    engine = engine or ScriptedEngine()
    quiet = {"pause_scale": 0.0, "fillers": False, "match_loudness": False, "processes": False}
    config = Config.of(port=0, **{**quiet, **settings})
    async with (
        serving(config, engines={engine.info.name: lambda: engine}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        yield Live(app, channel, engine)


@dataclass
class GatedEngine(ScriptedEngine):
    """Waits before each step for the test: `gate.release()` allows one step, `open()` all."""

    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def step(self, states: Sequence[ScriptedState]) -> list[Step]:
        """Wait at the gate, then speak the next characters of each unit."""
        self.gate.acquire()
        return super().step(states)

    def open(self) -> None:
        """Allow all steps. A test must do so at its end, or the engine's thread would never end."""
        self.gate.release(1_000_000)


class Talk:
    """One StreamSynthesize call."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._proofs = 0

    @classmethod
    def over(cls, channel: Any, **call: Any) -> "Talk":
        """A call over this channel. `call`: timeout, metadata."""
        method = channel.stream_stream(STREAM_METHOD, serialized, speech_pb2.StreamSynthesizeResponse.FromString)
        return cls(method(**call))

    async def send(self, data: bytes | None = None, **message: Any) -> None:
        """Send `data` as it is, or one message: `config=`, `text=`, `flush=`, `cancel=` or `progress=`."""
        await self.call.write(speech_pb2.StreamSynthesizeRequest(**message) if data is None else data)

    async def say(self, utterance_id: str, delta: str = "", end: bool = True, **settings: Any) -> None:
        """Send a `text` message."""
        text = speech_pb2.TextInput(utterance_id=utterance_id, delta=delta, end_of_utterance=end, **settings)
        await self.send(text=text)

    async def cancel(self, utterance_id: str = "", **fields: Any) -> None:
        """Send a `cancel` message."""
        await self.send(cancel=speech_pb2.Cancel(utterance_id=utterance_id, **fields))

    async def flush(self, flush_id: str = "") -> None:
        """Send a `flush` message."""
        await self.send(flush=speech_pb2.Flush(flush_id=flush_id))

    async def progress(self, played_ms: int) -> None:
        """Send a `progress` message."""
        await self.send(progress=speech_pb2.PlaybackProgress(played_ms=played_ms))

    async def end(self) -> None:
        """Half-close."""
        await self.call.done_writing()

    async def answer(self) -> tuple[str, Any]:
        """The next message of the server: its kind and itself. Raises AioRpcError when the call failed."""
        message = await asyncio.wait_for(self.call.read(), READ_S)
        assert message is not grpc.aio.EOF, "the stream ended"
        kind = message.WhichOneof("response")
        return kind, getattr(message, kind)

    async def until(self, kind: str, utterance_id: str | None = None) -> list[tuple[str, Any]]:
        """Answers up to the first of this kind (of this utterance)."""
        answers = []
        while True:
            answers.append(await self.answer())
            found, message = answers[-1]
            if found == kind and (utterance_id is None or message.utterance_id == utterance_id):
                return answers

    async def rest(self) -> list[tuple[str, Any]]:
        """Answers to the end of the stream, which must be OK."""
        answers = []
        while (message := await asyncio.wait_for(self.call.read(), READ_S)) is not grpc.aio.EOF:
            kind = message.WhichOneof("response")
            answers.append((kind, getattr(message, kind)))
        return answers

    async def failure(self) -> grpc.aio.AioRpcError:
        """The error with which the call ends; earlier answers are skipped."""
        try:
            while await asyncio.wait_for(self.call.read(), READ_S) is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the call ended with OK")

    async def prove_alive(self) -> None:
        """Speak another utterance on this stream and check that it is complete."""
        self._proofs += 1
        name = f"proof {self._proofs}"
        await self.say(name, "still alive")
        answers = await self.until("done", name)
        assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED, answers[-1]
        assert spoken(answers, name) == "still alive"


def chunks(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> list[Any]:
    """The audio messages among `answers` (of one utterance)."""
    found = [message for kind, message in answers if kind == "audio"]
    return [chunk for chunk in found if utterance_id in (None, chunk.utterance_id)]


def samples(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> Any:
    """The float32 audio in `answers`. `[T]`"""
    return np.frombuffer(b"".join(chunk.data for chunk in chunks(answers, utterance_id)), "<f4")


def spoken(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> str:
    """The text that can be read back from the audio of a scripted engine."""
    return text_of(samples(answers, utterance_id))


def details(status: status_pb2.Status, kind: Any) -> Any:
    """The detail of this type. Fails if there is none."""
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name} among the details of {status}")


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status of a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no status in the trailers: {error}"
    return status


def code_and_field(status: status_pb2.Status) -> tuple[grpc.StatusCode, str]:
    """Code of a status, and the field in its BadRequest details, which the message must name, too."""
    (violation,) = details(status, error_details_pb2.BadRequest).field_violations
    assert status.message == f"{violation.field}: {violation.description}", status
    assert details(status, error_details_pb2.ErrorInfo).domain == "intone.v1"
    return code_of(status), violation.field


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    """The code of a status."""
    return next(code for code in grpc.StatusCode if code.value[0] == status.code)


async def failed(call: Any) -> grpc.aio.AioRpcError:
    """The error with which a call ends; earlier answers are skipped."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call ended with OK")


async def soon(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> float:
    """Wait until `condition` holds and return the seconds it took. `within_s` only keeps a failing test from hanging;
    the failure says `what`."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < within_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.002)
    return time.monotonic() - began_s


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def scraped(metrics_port: int) -> list[tuple[str, float]]:
    """The metrics as Prometheus reads them: (name with labels, value)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=READ_S) as page:
        lines = [line.rpartition(" ") for line in page.read().decode().splitlines() if not line.startswith("#")]
    return [(name, float(value)) for name, _, value in lines]
