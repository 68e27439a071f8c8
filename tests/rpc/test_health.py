"""Health while the engines load, and while one hangs."""

import asyncio
import threading

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from intone.proto import speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.runtime import worker as worker_module
from tests.support.fakes import ScriptedEngine
from tests.support.live_server import GatedEngine, free_port, live
from tests.support.rpc_status import details, failed, reason_of, status_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


def retry_s(error):
    """The time after which to try again, in seconds."""
    return details(status_of(error), error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds()


def calls_of(channel):
    """One call of each kind of method."""
    speech, voices = speech_pb2_grpc.SpeechServiceStub(channel), voice_pb2_grpc.VoiceServiceStub(channel)
    yield speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
    yield speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."))
    yield speech.StreamSynthesize(iter([speech_pb2.StreamSynthesizeRequest(config={})]))
    yield voices.CreateVoice(iter([voice_pb2.CreateVoiceRequest()]))


@pytest.mark.parametrize("token", ["", "secret"])
def test_calls_are_refused_while_the_engines_load(run, token):
    loading, loaded, port = threading.Event(), threading.Event(), free_port()

    def load():
        loading.set()
        assert loaded.wait(30)
        return ScriptedEngine()

    async def main():
        config = Config.of(port=port, processes=False, fillers=False, token=token)
        entering = asyncio.ensure_future((server := serving(config, {"starter": load})).__aenter__())
        try:
            await asyncio.to_thread(loading.wait, 30)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                health = health_pb2_grpc.HealthStub(channel)
                assert (await health.Check(request())).status == NOT_SERVING
                watch = health.Watch(request())
                assert (await watch.read()).status == NOT_SERVING
                for call in calls_of(channel) if not token else ():
                    error = await failed(call)
                    assert error.code() is StatusCode.UNAVAILABLE
                    assert reason_of(status_of(error)) == "LOADING" and retry_s(error) > 0
                if token:  # who is not known learns nothing
                    info = speech_pb2_grpc.SpeechServiceStub(channel).GetServerInfo
                    error = await failed(info(speech_pb2.GetServerInfoRequest()))
                    assert error.code() is StatusCode.UNAUTHENTICATED
                    metadata = (("authorization", f"Bearer {token}"),)
                    error = await failed(info(speech_pb2.GetServerInfoRequest(), metadata=metadata))
                    assert error.code() is StatusCode.UNAVAILABLE
                loaded.set()
                await entering
                assert (await asyncio.wait_for(watch.read(), 5)).status == SERVING
                watch.cancel()
                metadata = (("authorization", f"Bearer {token}"),) if token else ()
                synthesize = speech_pb2_grpc.SpeechServiceStub(channel).Synthesize
                text = speech_pb2.SynthesizeRequest(text="Hello.")
                assert [answer async for answer in synthesize(text, metadata=metadata)]
        finally:
            loaded.set()
            await entering
            await server.__aexit__(None, None, None)

    run(main())


def test_an_engine_that_hangs_in_a_step_is_not_healthy(run, monkeypatch):
    """Also a part of the longest step that is allowed: other engines speak from then on."""
    monkeypatch.setattr(worker_module, "SLOW_STEP", 0.1 / 120)

    async def main():
        engine = GatedEngine()
        try:
            async with live(engine) as server:
                health = health_pb2_grpc.HealthStub(server.channel)
                watch = health.Watch(request("intone.engine.starter"))
                assert (await watch.read()).status == SERVING
                talk = await server.talk()
                await talk.say("u", "hello")
                assert (await asyncio.wait_for(watch.read(), 5)).status == NOT_SERVING
                for service in ("", "intone.v1.SpeechService"):  # there is no other engine
                    assert (await health.Check(request(service))).status == NOT_SERVING
                engine.open()
                assert (await asyncio.wait_for(watch.read(), 5)).status == SERVING
                await talk.until("done")
                watch.cancel()
        finally:
            engine.open()

    run(main())
