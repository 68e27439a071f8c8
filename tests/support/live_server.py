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

from intone.proto import audio_pb2, speech_pb2, speech_pb2_grpc, voice_pb2_grpc
from intone.server.app import App, serving
from intone.server.config import Config
from intone.server.domain import Step
from tests.support.fakes import RATE_HZ, ScriptedEngine, ScriptedState, text_of
from tests.support.rpc_status import LONE_SURROGATE, status_of

READ_S = 10.0
"""Longest wait for one answer; it only keeps a failing test from hanging."""

STREAM_METHOD = "/intone.v1.SpeechService/StreamSynthesize"
F32 = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hz=RATE_HZ)
PLACE_FOR_SURROGATE = "@@@"
CALM: dict[str, Any] = {
    "pause_scale": 0.0,
    "fillers": False,
    "match_loudness": False,
    "processes": False,
    "max_load": 0.0,
    "normalize_budget_ms": 60_000,
}


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
        """A stream that is configured: float32 at the engine's rate, unless `format` is given."""
        talk = self.open()
        await talk.configure(**config)
        return talk


@contextlib.asynccontextmanager
async def live(engine: ScriptedEngine | None = None, **settings: Any) -> AsyncIterator[Live]:
    """A server with one scripted engine, all in this process. Pauses, fillers and loudness matching are off, unless
    `settings` has them: tests read the text back from the audio. Admission by prediction and the time budget of texts
    are off, too: they depend on how busy the machine is."""
    engine = engine or ScriptedEngine()
    config = Config.of(port=0, **{**CALM, **settings})
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
        """Send `data` as it is, or one message by its member of the oneof: `config=`, `text=`, `finish=` and so on."""
        await self.call.write(speech_pb2.StreamSynthesizeRequest(**message) if data is None else data)

    async def configure(self, **config: Any) -> Any:
        """Send the config, float32 at the engine's rate unless `format` is given; returns `configured`."""
        await self.send(config=speech_pb2.StreamConfig(**{"format": F32, **config}))
        kind, configured = await self.answer()
        assert kind == "configured", kind
        return configured

    async def start(self, utterance_id: str, **fields: Any) -> None:
        """Send a `start` message; `fields` are its own and those of its settings."""
        own = speech_pb2.StartUtterance.DESCRIPTOR.fields_by_name
        settings = {name: fields.pop(name) for name in [*fields] if name not in own}
        if settings:
            fields["settings"] = speech_pb2.SpeechSettings(**settings)
        await self.send(start=speech_pb2.StartUtterance(utterance_id=utterance_id, **fields))

    async def say(self, utterance_id: str, delta: str = "", end: bool = True, **fields: Any) -> None:
        """Send a `text` message."""
        text = speech_pb2.TextInput(utterance_id=utterance_id, delta=delta, end_of_utterance=end, **fields)
        await self.send(text=text)

    async def interrupt(
        self, *utterance_ids: str, interrupt_id: str = "", played: tuple[str, int] | None = None
    ) -> None:
        """Send an `interrupt` message. `played`: utterance and sample."""
        position = None if played is None else position_of(*played)
        message = speech_pb2.Interrupt(interrupt_id=interrupt_id, utterance_ids=utterance_ids, played=position)
        await self.send(interrupt=message)

    async def flush(self, flush_id: str = "", utterance_id: str = "") -> None:
        """Send a `flush` message."""
        await self.send(flush=speech_pb2.Flush(flush_id=flush_id, utterance_id=utterance_id))

    async def playback(self, utterance_id: str, sample: int) -> None:
        """Send a `playback` message."""
        await self.send(playback=speech_pb2.PlaybackProgress(played=position_of(utterance_id, sample)))

    async def finish(self) -> None:
        """Send a `finish` message."""
        await self.send(finish=speech_pb2.Finish())

    async def half_close(self) -> None:
        """Half-close."""
        await self.call.done_writing()

    async def answer(self) -> tuple[str, Any]:
        """The next message of the server: its kind and itself. Raises AioRpcError when the call failed."""
        message = await asyncio.wait_for(self.call.read(), READ_S)
        assert message is not grpc.aio.EOF, "the stream ended"
        return kind_and_message(message)

    async def until(self, kind: str, utterance_id: str | None = None) -> list[tuple[str, Any]]:
        """Answers up to the first of this kind (of this utterance)."""
        answers = []
        while True:
            answers.append(await self.answer())
            found, message = answers[-1]
            if found == kind and (utterance_id is None or message.utterance_id == utterance_id):
                return answers

    async def rest(self) -> list[tuple[str, Any]]:
        """Answers to the end of the stream, which must be `closed` and OK."""
        answers = []
        while (message := await asyncio.wait_for(self.call.read(), READ_S)) is not grpc.aio.EOF:
            answers.append(kind_and_message(message))
        check_closed(answers)
        assert answers[-1][1].status.code == 0 and await self.call.code() is grpc.StatusCode.OK
        return answers

    async def failure(self) -> grpc.aio.AioRpcError:
        """The error with which the server ends the call; `closed` must come before it and say the same."""
        return (await self.answers_and_failure())[1]

    async def call_error(self) -> grpc.aio.AioRpcError:
        """The error of a call that ends outside of its session, so without `closed`: by gRPC or by the client."""
        try:
            while await asyncio.wait_for(self.call.read(), READ_S) is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the call ended with OK")

    async def answers_and_failure(self) -> tuple[list[tuple[str, Any]], grpc.aio.AioRpcError]:
        """Answers up to `closed`, and the error with which the server ends the call."""
        answers = []
        try:
            while (message := await asyncio.wait_for(self.call.read(), READ_S)) is not grpc.aio.EOF:
                answers.append(kind_and_message(message))
        except grpc.aio.AioRpcError as error:
            check_closed(answers)
            assert answers[-1][1].status == status_of(error)
            return answers, error
        raise AssertionError("the call ended with OK")

    async def prove_alive(self) -> None:
        """Speak another utterance on this stream and check that it is complete."""
        self._proofs += 1
        name = f"proof {self._proofs}"
        await self.say(name, "still alive")
        answers = await self.until("done", name)
        assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED, answers[-1]
        assert spoken(answers, name) == "still alive"


def kind_and_message(response: Any) -> tuple[str, Any]:
    """The member of a response that is set, by name, and its message."""
    kind = response.WhichOneof("response")
    return kind, getattr(response, kind)


def position_of(utterance_id: str, sample: int) -> audio_pb2.AudioPosition:
    """A position in an utterance's audio."""
    return audio_pb2.AudioPosition(utterance_id=utterance_id, sample=sample)


def check_closed(answers: list[tuple[str, Any]]) -> None:
    """`closed` is the last answer, and there is only one."""
    assert [index for index, (kind, _) in enumerate(answers) if kind == "closed"] == [len(answers) - 1], answers


def messages_of(answers: list[tuple[str, Any]], kind: str, utterance_id: str | None = None) -> list[Any]:
    """The messages of a kind among `answers` (of one utterance)."""
    found = [message for name, message in answers if name == kind]
    return [message for message in found if utterance_id is None or message.utterance_id == utterance_id]


def codes_of(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> list[str]:
    """The codes of the notices in `answers`, without their prefix; each must have a message."""
    found = messages_of(answers, "notice", utterance_id)
    assert all(message.message for message in found)
    return [speech_pb2.NoticeCode.Name(message.code).removeprefix("NOTICE_CODE_") for message in found]


def chunks(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> list[Any]:
    """The audio messages among `answers` (of one utterance)."""
    return messages_of(answers, "audio", utterance_id)


def samples(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> Any:
    """The float32 audio in `answers`. `[T]`"""
    return np.frombuffer(b"".join(chunk.data for chunk in chunks(answers, utterance_id)), "<f4")


def spoken(answers: list[tuple[str, Any]], utterance_id: str | None = None) -> str:
    """The text that can be read back from the audio of a scripted engine."""
    return text_of(samples(answers, utterance_id))


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


async def scraped(metrics_port: int) -> dict[str, float]:
    """The metrics as Prometheus reads them: values by name with labels. The server may be in this process."""

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=READ_S) as page:
            return str(page.read().decode())

    lines = [line.rpartition(" ") for line in (await asyncio.to_thread(read)).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def scraped_until(
    metrics_port: int, condition: Callable[[dict[str, float]], bool], what: str
) -> dict[str, float]:
    """The metrics as soon as `condition` holds for them; fails after `READ_S` and says `what` was expected."""
    began_s = time.monotonic()
    while not condition(found := await scraped(metrics_port)):
        assert time.monotonic() - began_s < READ_S, f"not within {READ_S} s: {what}"
        await asyncio.sleep(0.01)
    return found
