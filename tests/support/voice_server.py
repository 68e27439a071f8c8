"""VoiceService alone on the loopback, with scripted engines; and sound files to upload."""

import contextlib
import io
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import soundfile

from intone.proto import voice_pb2, voice_pb2_grpc
from intone.server.config import Config
from intone.server.rpc.authentication import Authentication
from intone.server.rpc.interceptors import Decoding
from intone.server.rpc.voice_service import VoiceService
from intone.server.runtime.thread_pools import ThreadPools
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.runtime.worker import Worker
from intone.server.voices.emotion_clips import EmotionClips
from intone.server.voices.enrolment import open_store
from intone.server.voices.store import VoiceStore
from tests.support.fakes import ScriptedEngine


@dataclass
class VoiceServer:
    """A server, a channel to it, and what it works with."""

    channel: Any
    voices: Any
    store: VoiceStore
    clips: EmotionClips


@contextlib.asynccontextmanager
async def voice_server(*engines: ScriptedEngine, **settings: Any) -> AsyncIterator[VoiceServer]:
    """A server with these engines, or one that is called "starter"."""
    config = Config.of(port=0, **{"processes": False, **settings})
    workers: dict[str, Worker] = {}
    server = grpc.aio.server(interceptors=[Authentication(config), Decoding()])
    store, clips, pools = open_store(config), EmotionClips(4 << 20), ThreadPools()
    service = VoiceService(config, store, workers, clips, pools)
    voice_pb2_grpc.add_VoiceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    try:
        for engine in engines or (ScriptedEngine(),):
            workers[engine.info.name] = await ThreadWorker.launch(engine.info.name, lambda engine=engine: engine, 1)
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield VoiceServer(channel, voice_pb2_grpc.VoiceServiceStub(channel), store, clips)
    finally:
        await server.stop(0)
        service.close()
        for worker in workers.values():
            worker.close()
        pools.close()


def recording(duration_ms: int = 2000, rate_hz: int = 16_000, channels: int = 1, **how: Any) -> bytes:
    """A sound file of a tone that rises and falls. `how`: arguments of soundfile.write."""
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s) * np.sin(np.pi * time_s / max(time_s[-1:], default=1)) ** 0.5
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone] * channels, axis=1), rate_hz, **{"format": "WAV", **how})
    return file.getvalue()


def upload(
    data: bytes, name: str = "anna", transcript: str = "the words of it", piece: int = 65_536, **config: Any
) -> Iterator[voice_pb2.CreateVoiceRequest]:
    """The messages that create a voice."""
    yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name=name, transcript=transcript, **config))
    for start in range(0, len(data), piece):
        yield voice_pb2.CreateVoiceRequest(audio=data[start : start + piece])
