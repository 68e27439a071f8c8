"""TLS, client certificates and the bearer token; health and reflection."""

from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from intone.proto import speech_pb2, speech_pb2_grpc, voice_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.errors import ConfigError
from tests.support.fakes import ScriptedEngine
from tests.support.live_server import Talk, live
from tests.support.rpc_status import code_of, failed, reason_of, status_of

INFO, CONFIG = speech_pb2.GetServerInfoRequest(), speech_pb2.StreamConfig()
SERVING = health_pb2.HealthCheckResponse.SERVING


def tls(folder: Path, **more: str) -> Config:
    return Config(port=0, tls_certificate=str(folder / "server.pem"), tls_key=str(folder / "server.key"), **more)


async def server_info(port: int, credentials: grpc.ChannelCredentials | None) -> speech_pb2.GetServerInfoResponse:
    """GetServerInfo over a channel with these credentials."""
    address = f"localhost:{port}"
    made = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
    async with made as channel:
        return await speech_pb2_grpc.SpeechServiceStub(channel).GetServerInfo(INFO, timeout=5)


def test_tls(run, certificates):
    async def main():
        authority = (certificates / "ca.pem").read_bytes()
        async with serving(tls(certificates), {"starter": ScriptedEngine}) as app:
            assert (await server_info(app.port, grpc.ssl_channel_credentials(authority))).version
            stranger = (certificates / "stranger.pem").read_bytes()
            for wrong in (None, grpc.ssl_channel_credentials(stranger)):
                error = await failed(server_info(app.port, wrong))
                assert error.code() is StatusCode.UNAVAILABLE

    run(main())


def test_mtls(run, certificates):
    async def main():
        authority, *own = [(certificates / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
        config = tls(certificates, tls_client_ca=str(certificates / "ca.pem"))
        async with serving(config, {"starter": ScriptedEngine}) as app:
            assert (await server_info(app.port, grpc.ssl_channel_credentials(authority, *own))).version
            stranger = [(certificates / f"stranger.{kind}").read_bytes() for kind in ("key", "pem")]
            for wrong in ([], stranger):
                error = await failed(server_info(app.port, grpc.ssl_channel_credentials(authority, *wrong)))
                assert error.code() is StatusCode.UNAVAILABLE

    run(main())


def test_certificate_and_key_that_do_not_belong_together(run, certificates):
    async def main():
        config = Config(
            port=0, tls_certificate=str(certificates / "server.pem"), tls_key=str(certificates / "client.key")
        )
        with pytest.raises(ConfigError, match=r"tls_certificate .*server\.pem, tls_key .*client\.key: not a PEM"):
            async with serving(config, {"starter": ScriptedEngine}):
                raise AssertionError("it serves")

    run(main())


# ---- the token ------------------------------------------------------------------------------------------------------

WRONG = {
    "none": (),
    "wrong": (("authorization", "Bearer wrong"),),
    "only its beginning": (("authorization", "Bearer secre"),),
    "without the scheme": (("authorization", "secret"),),
    "another scheme": (("authorization", "Basic secret"),),
    "empty": (("authorization", ""),),
    "elsewhere": (("token", "Bearer secret"),),
}
RIGHT = (("authorization", "Bearer secret"),)


@pytest.mark.parametrize("metadata", WRONG.values(), ids=WRONG)
def test_every_call_without_the_token_is_refused(run, metadata):
    async def main():
        async with live(token="secret") as server:
            reflection = reflection_pb2_grpc.ServerReflectionStub(server.channel)
            upload = [voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="x"))]
            listing = reflection_pb2.ServerReflectionRequest(list_services="")
            configured = speech_pb2.StreamSynthesizeRequest(config=CONFIG)
            single = speech_pb2.SynthesizeRequest(text="Hi.")
            calls = [
                lambda: server.speech.GetServerInfo(INFO, metadata=metadata),
                lambda: server.speech.Synthesize(single, metadata=metadata),
                lambda: server.speech.StreamSynthesize(iter([configured]), metadata=metadata),
                lambda: server.voices.ListVoices(voice_pb2.ListVoicesRequest(), metadata=metadata),
                lambda: server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name="x"), metadata=metadata),
                lambda: server.voices.CreateVoice(iter(upload), metadata=metadata),
                lambda: reflection.ServerReflectionInfo(iter([listing]), metadata=metadata),
            ]
            for call in calls:
                error = await failed(call())
                while error.details() == "Internal error from Core":  # refused while it was being sent
                    error = await failed(call())
                assert code_of(status_of(error)) is StatusCode.UNAUTHENTICATED
                assert reason_of(status_of(error)) == "UNAUTHENTICATED"
                words = error.details() or ""
                assert "authorization: Bearer TOKEN" in words and "secret" not in words
            assert server.idle and not server.engine.stepped

    run(main())


def test_with_the_token(run):
    async def main():
        async with live(token="secret") as server:
            assert (await server.speech.GetServerInfo(INFO, metadata=RIGHT)).version
            talk = Talk.over(server.channel, metadata=RIGHT)
            await talk.configure(format={"encoding": 2})
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize("token", ["", "secret"])
def test_health_needs_no_token(run, token):
    async def main():
        async with live(token=token) as server:
            stub = health_pb2_grpc.HealthStub(server.channel)
            for name in ("", "intone.v1.SpeechService", "intone.v1.VoiceService"):
                assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
                watch = stub.Watch(health_pb2.HealthCheckRequest(service=name))
                assert (await watch.read()).status == SERVING
                watch.cancel()
            error = await failed(stub.Check(health_pb2.HealthCheckRequest(service="nobody")))
            assert error.code() is StatusCode.NOT_FOUND
            watch = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            watch.cancel()

    run(main())


@pytest.mark.parametrize("token", ["", "secret"])
def test_reflection_lists_the_services(run, token):
    async def main():
        async with live(token=token) as server:
            stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
            question = reflection_pb2.ServerReflectionRequest(list_services="")
            metadata = RIGHT if token else ()
            answers = [answer async for answer in stub.ServerReflectionInfo(iter([question]), metadata=metadata)]
            assert {service.name for service in answers[0].list_services_response.service} == {
                "intone.v1.SpeechService",
                "intone.v1.VoiceService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1alpha.ServerReflection",
            }

    run(main())
