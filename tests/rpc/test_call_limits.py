"""Limits of calls and connections over real gRPC: how many are open, and for how long."""

import asyncio
import logging
import resource
import socket
import subprocess
import sys

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from intone.proto import speech_pb2, voice_pb2
from intone.server.config import Config
from intone.server.errors import ConfigError, OverloadError, Reason
from intone.server.rpc.quotas import Quota
from intone.server.runtime import file_limit
from tests.support.live_server import Live, Talk, live, soon
from tests.support.rpc_status import code_of, details, failed, reason_of, status_of, values_of

BEARER = (("authorization", "Bearer secret"),)


def health(server: Live) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(server.channel)


async def upload_without_end():
    yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="x", transcript="a"))
    await asyncio.sleep(3600)


async def reflect_without_end():
    yield reflection_pb2.ServerReflectionRequest(list_services="")
    await asyncio.sleep(3600)


# ---- open calls


def test_every_method_counts_and_health_checks_are_answered_all_the_same(run):
    async def main():
        async with live(max_calls=4, max_streams=4, token="secret") as server:
            reflection = reflection_pb2_grpc.ServerReflectionStub(server.channel)
            opened = [
                server.open(metadata=BEARER).call,
                server.voices.CreateVoice(upload_without_end(), metadata=BEARER),
                reflection.ServerReflectionInfo(reflect_without_end(), metadata=BEARER),
                (await _talk(server)).call,
            ]
            await opened[2].read()
            await asyncio.sleep(0.05)
            for call in (
                server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text="Hi."), metadata=BEARER),
                server.voices.ListVoices(voice_pb2.ListVoicesRequest(), metadata=BEARER),
                server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hi."), metadata=BEARER),
                server.open(metadata=BEARER).call,
            ):
                status = status_of(await failed(call))
                assert code_of(status) is StatusCode.RESOURCE_EXHAUSTED and "max_calls" in status.message
                assert reason_of(status) == "CALLS_EXHAUSTED" and values_of(status) == {"limit": "4"}
                assert details(status, error_details_pb2.RetryInfo).retry_delay.seconds == 1
            assert (await health(server).Check(health_pb2.HealthCheckRequest())).status == 1
            for call in opened:
                call.cancel()
            await soon(lambda: server.idle, "all are gone")
            await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest(), metadata=BEARER)

    run(main())


async def _talk(server: Live) -> Talk:
    talk = server.open(metadata=BEARER)
    await talk.configure()
    return talk


def test_watches_without_a_token_leave_the_calls_of_others_alone(run):
    async def main():
        async with live(max_health_watches=3, max_calls=4, max_streams=4) as server:
            watches = [health(server).Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
            for watch in watches:
                assert (await watch.read()).status == 1
            status = status_of(await failed(health(server).Watch(health_pb2.HealthCheckRequest())))
            assert reason_of(status) == "CALLS_EXHAUSTED" and "max_health_watches" in status.message
            talks = [await server.talk() for _ in range(4)]
            await talks[-1].prove_alive()

    run(main())


def test_one_caller_cannot_have_all_streams(run):
    async def main():
        async with live(max_streams=4, max_streams_per_caller=2) as server:
            talks = [await server.talk() for _ in range(2)]
            third = server.open()
            await third.send(config=speech_pb2.StreamConfig())
            single = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hi."))
            for error in (await third.failure(), await failed(single)):
                status = status_of(error)
                assert reason_of(status) == "STREAMS_EXHAUSTED" and values_of(status) == {"limit": "2"}
                assert "max_streams_per_caller" in status.message
            talks[0].call.cancel()
            await soon(lambda: server.app.service.open_streams == 1, "a place is free")
            await (await server.talk()).prove_alive()

    run(main())


def test_one_caller_cannot_have_everything(run):
    async def main():
        async with live(max_streams=4, max_calls_per_caller=3) as server:
            talks = [await server.talk() for _ in range(2)]
            upload = server.voices.CreateVoice(upload_without_end())
            await asyncio.sleep(0.05)
            status = status_of(await failed(server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())))
            assert reason_of(status) == "CALLS_EXHAUSTED" and "max_calls_per_caller" in status.message
            await talks[0].prove_alive()
            upload.cancel()

    run(main())


def test_a_quota_counts_each_caller_and_all_together():
    quota = Quota("calls", "max_calls", Reason.CALLS_EXHAUSTED, limit=3, caller_limit=2)
    with quota.place("a"), quota.place("a"):
        with pytest.raises(OverloadError, match="2 calls of this caller are open.*max_calls_per_caller"):
            quota.place("a").__enter__()
        with quota.place("b"):
            assert quota.count == 3
            with pytest.raises(OverloadError, match=r"3 calls are open.*\(max_calls\)"):
                quota.place("c").__enter__()
        with quota.place("c"):
            pass
    assert quota.count == 0 and not quota._open


def test_fewer_calls_than_streams_make_no_sense():
    with pytest.raises(ConfigError, match="max_calls must be at least max_streams, 64"):
        Config(max_calls=63)


# ---- connections


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_connections_over_the_limit_are_closed_at_once(run):
    async def main():
        async with live(max_connections=5) as server:
            await (await server.talk()).prove_alive()
            silent = [socket.create_connection(("127.0.0.1", server.app.port)) for _ in range(20)]
            for connection in silent:
                connection.setblocking(False)
            await soon(lambda: sum(map(closed, silent)) >= 16, "only five are left")
            await (await server.talk()).prove_alive()
            for connection in silent:
                connection.close()

    run(main())


def test_calls_over_the_limit_of_a_connection_wait(run):
    async def main():
        async with live(max_calls_per_connection=2) as server:
            talks = [await server.talk() for _ in range(2)]
            third = server.open()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(third.configure(), 0.2)
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.app.port}", options) as another:
                talk = Talk.over(another)
                await talk.configure()
                await talk.prove_alive()
            await talks[0].prove_alive()

    run(main())


def test_an_old_connection_takes_no_new_calls_and_its_open_ones_go_on(run):
    async def main():
        async with live(connection_age_s=1) as server:
            talk = await server.talk()
            await asyncio.sleep(1.5)
            await talk.prove_alive()
            await (await server.talk()).prove_alive()  # on another connection

    run(main())


# ---- open files


def test_the_limit_of_open_files_is_raised_and_logged():
    script = (
        "import logging, resource; logging.basicConfig(level='INFO', format='%(message)s')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))\n"
        "from intone.server.runtime.file_limit import raise_file_limit\n"
        "raise_file_limit(100)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "300\n", done.stderr
    assert "up to 300 open files, 100 connections" in done.stderr and "needs 356" in done.stderr


def test_enough_open_files_are_no_warning(caplog, monkeypatch):
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2000, 2000))
    with caplog.at_level(logging.INFO):
        file_limit.raise_file_limit(1000)
    assert [record.levelname for record in caplog.records] == ["INFO"]
