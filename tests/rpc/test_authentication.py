"""Who may call what: tokens with roles, client certificates, and files that change while the server runs."""

import logging
import shutil

import grpc
import pytest
from grpc import StatusCode

from intone.proto import speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.errors import ConfigError
from intone.server.rpc import authentication
from intone.server.rpc.authentication import METHOD_ROLES
from intone.server.rpc.caller import Role, principal
from intone.server.rpc.tokens_file import TokensFileError, new_token, parse
from tests.support.certificates import sign, sign_oneself
from tests.support.fakes import ScriptedEngine
from tests.support.live_server import live
from tests.support.rpc_status import code_of, error_of, failed, reason_of, status_of

INFO = speech_pb2.GetServerInfoRequest()
SPEAK = speech_pb2.SynthesizeRequest(text="Hi.")
DELETE = voice_pb2.DeleteVoiceRequest(name="nobody")


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def code(call) -> StatusCode:
    """The code of a status with which a call ends; OK if it succeeds."""
    error = await error_of(call)
    return StatusCode.OK if error is None else error.code()


# ---- the tokens file ------------------------------------------------------------------------------------------------


def test_roles_of_tokens(run, tmp_path):
    tokens = {}
    with (tmp_path / "tokens").open("w") as file:
        file.write("# who   may what\n\n")
        for name, roles in (
            ("agent", ["speak"]),
            ("studio", ["manage"]),
            ("both", ["speak", "manage"]),
            ("ops", ["admin"]),
        ):
            tokens[name], line = new_token(name, roles)
            file.write(f"{line}  # of {name}\n")
            assert tokens[name] not in line

    async def main():
        async with live(tokens_file=str(tmp_path / "tokens")) as server:
            speaks, manages = {}, {}
            for name, token in tokens.items():
                assert await code(server.speech.GetServerInfo(INFO, metadata=bearer(token))) is StatusCode.OK
                speaks[name] = await code(server.speech.Synthesize(SPEAK, metadata=bearer(token)))
                manages[name] = await code(server.voices.DeleteVoice(DELETE, metadata=bearer(token)))
            ok, no, found_none = StatusCode.OK, StatusCode.PERMISSION_DENIED, StatusCode.NOT_FOUND
            assert speaks == {"agent": ok, "studio": no, "both": ok, "ops": ok}
            assert manages == {"agent": no, "studio": found_none, "both": found_none, "ops": found_none}
            for wrong in ("", "x", tokens["ops"][:-1], tokens["ops"] + "x"):
                assert (
                    await code(server.speech.GetServerInfo(INFO, metadata=bearer(wrong))) is StatusCode.UNAUTHENTICATED
                )
            error = await failed(server.speech.Synthesize(SPEAK, metadata=bearer(tokens["studio"])))
            assert reason_of(status_of(error)) == "PERMISSION_DENIED"
            assert error.details() == "'studio' lacks the role 'speak', which Synthesize needs"

    run(main())


def test_every_method_has_its_role():
    """A method that is added without one is found here."""
    modules = ((speech_pb2, "SpeechService"), (voice_pb2, "VoiceService"))
    services = [module.DESCRIPTOR.services_by_name[name] for module, name in modules]
    methods = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert set(METHOD_ROLES) == methods
    assert {name.rpartition("/")[2] for name, role in METHOD_ROLES.items() if role is None} == {
        "GetServerInfo",
        "ListVoices",
        "GetVoice",
    }


def test_tokens_change_while_the_server_runs(run, tmp_path, monkeypatch, caplog):
    """Rotation: the new token is added, both count, the old one goes. A file that cannot be used changes nothing."""
    monkeypatch.setattr(authentication, "CHECK_S", 0.0)
    caplog.set_level(logging.INFO)
    path = tmp_path / "tokens"
    (old, old_line), (new, new_line) = new_token("agent", ["speak"]), new_token("agent", ["speak"])
    path.write_text(old_line)

    async def main():
        async with live(tokens_file=str(path)) as server:

            async def known() -> list[bool]:
                codes = [await code(server.speech.GetServerInfo(INFO, metadata=bearer(one))) for one in (old, new)]
                assert set(codes) <= {StatusCode.OK, StatusCode.UNAUTHENTICATED}
                return [one is StatusCode.OK for one in codes]

            assert await known() == [True, False]
            path.write_text(f"{old_line}\n{new_line}")
            assert await known() == [True, True]
            path.write_text(new_line)
            assert await known() == [False, True]
            path.write_text(f"{old_line} and more")
            assert await known() == [False, True]
            path.unlink()
            assert await known() == [False, True]
            path.write_text(old_line)
            assert await known() == [True, False]

    run(main())
    assert "cannot be used, and the old tokens stay: line 1: it has 5 words" in caplog.text
    assert "the old tokens stay: it cannot be read: No such file" in caplog.text
    assert old not in caplog.text and new not in caplog.text


def test_the_one_token_beside_the_file(run, tmp_path):
    token, line = new_token("agent", ["speak"])
    (tmp_path / "tokens").write_text(line)

    async def main():
        async with live(token="secret", tokens_file=str(tmp_path / "tokens")) as server:
            for given, expected in ((token, StatusCode.PERMISSION_DENIED), ("secret", StatusCode.NOT_FOUND)):
                assert await code(server.voices.DeleteVoice(DELETE, metadata=bearer(given))) is expected

    run(main())


HASH = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it has no line: intone-server --new-token NAME ROLE"),
        ("# only a comment\n", "it has no line"),
        (f"\nagent {HASH}", "line 2: it has 2 words; a name, roles and a credential are needed"),
        (f"-agent speak {HASH}", "line 1: its name must be 1 to 64"),
        (f"agent sing {HASH}", "line 1: there is no role 'sing'; the roles are speak, manage, admin"),
        (f"agent speak, {HASH}", "line 1: there is no role ''"),
        ("agent speak sha256:00", "line 1: the SHA-256 of a token is 64 digits"),
        ("agent speak secret", "line 1: its credential must begin with sha256: or certificate:"),
        ("agent speak certificate:", "line 1: its credential must begin with"),
        (f"agent speak {HASH}\nother speak {HASH}", "line 2: its credential is in a line above"),
        (f"agent speak {HASH}\nagent admin certificate:x", "line 2: agent has other roles in a line above"),
        ("agent speak certificate:x\n" * 1001, "it has 1001 lines; at most 1000"),
    ],
)
def test_tokens_file_that_cannot_be_used(run, tmp_path, text, words):
    with pytest.raises(TokensFileError) as raised:
        parse(text)
    assert words in str(raised.value) and "secret" not in str(raised.value)
    (tmp_path / "tokens").write_text(text)

    async def main():
        with pytest.raises(ConfigError, match="tokens_file: .*tokens: "):
            async with live(tokens_file=str(tmp_path / "tokens")):
                raise AssertionError("it serves")

    run(main())


def test_a_refused_call_leaves_one_line_but_many_do_not_fill_the_log(run, caplog):
    async def main():
        async with live(token="secret") as server:
            for count in range(60):
                await failed(server.speech.GetServerInfo(INFO, metadata=bearer("guess")))
                if count == 0:
                    assert len(caplog.records) == 1

    run(main())
    lines = [record for record in caplog.records if record.getMessage() == "call ended"]
    assert 1 <= len(lines) < 60
    assert lines[0].levelno == logging.WARNING
    assert lines[0].fields["method"] == "intone.v1.SpeechService/GetServerInfo"
    assert lines[0].fields["peer"].startswith("ipv4:127.0.0.1:")
    assert lines[0].fields["code"] == "UNAUTHENTICATED" and lines[0].fields["reason"]
    assert "guess" not in caplog.text and "secret" not in caplog.text


def test_unknown_methods_are_counted_together(run):
    """Their names are chosen by callers, whom nobody knows."""

    async def main():
        async with live(token="secret") as server:
            for count in range(3):
                unknown = server.channel.unary_unary(f"/guessed.Service/{count}" + "x" * 1000)
                await failed(unknown(b""))
                await failed(unknown(b"", metadata=bearer("secret")))
            samples = [sample for metric in server.app.metrics.registry.collect() for sample in metric.samples]
            methods = {sample.labels["method"] for sample in samples if "method" in sample.labels}
            assert methods == {""}

    run(main())


def test_the_log_says_which_authentication_is_on(run, certificates, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "tokens").write_text(new_token("agent", ["speak"])[1])
    tls = {name: str(certificates / f"server.{end}") for name, end in (("tls_certificate", "pem"), ("tls_key", "key"))}
    mtls = {**tls, "tls_client_ca": str(certificates / "ca.pem")}
    kinds = {
        "none": {},
        "token": {"token": "x"},
        "tokens file": {"tokens_file": str(tmp_path / "tokens")},
        "mTLS": mtls,
    }

    async def main():
        for settings in kinds.values():
            async with serving(Config(port=0, processes=False, **settings), {"starter": ScriptedEngine}):
                pass

    run(main())
    lines = [record.message for record in caplog.records if record.message.startswith("authentication: ")]
    assert lines == [f"authentication: {kind}" for kind in kinds]


# ---- client certificates --------------------------------------------------------------------------------------------


def credentials(folder, name: str, ca: str = "ca") -> grpc.ChannelCredentials:
    pem = [(folder / part).read_bytes() for part in (f"{ca}.pem", f"{name}.key", f"{name}.pem")]
    return grpc.ssl_channel_credentials(*pem)


def mtls(folder, **more: str) -> Config:
    files = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    return Config(port=0, processes=False, **{name: str(folder / file) for name, file in files.items()}, **more)


async def codes(port: int, channel_credentials) -> dict[str, StatusCode]:
    """How calls end that need no role, *speak* and *manage*."""
    async with grpc.aio.secure_channel(f"localhost:{port}", channel_credentials) as channel:
        speech, voices = speech_pb2_grpc.SpeechServiceStub(channel), voice_pb2_grpc.VoiceServiceStub(channel)
        config = speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig())
        return {
            "info": await code(speech.GetServerInfo(INFO)),
            "speak": await code(speech.Synthesize(SPEAK)),
            "stream": await code(speech.StreamSynthesize(iter([config]))),
            "manage": await code(voices.DeleteVoice(DELETE)),
            "create": await code(voices.CreateVoice(iter([]))),
        }


ALLOWED = {
    "info": StatusCode.OK,
    "speak": StatusCode.OK,
    "stream": StatusCode.OK,
    "manage": StatusCode.NOT_FOUND,
    "create": StatusCode.INVALID_ARGUMENT,
}


@pytest.mark.parametrize("roles", ["speak", "manage", "speak,manage", "admin"])
def test_certificates_alone(run, certificates, roles):
    async def main():
        async with serving(mtls(certificates, client_roles=roles), {"starter": ScriptedEngine}) as app:
            expected = dict(ALLOWED)
            if roles == "speak":
                expected |= dict.fromkeys(("manage", "create"), StatusCode.PERMISSION_DENIED)
            if roles == "manage":
                expected |= dict.fromkeys(("speak", "stream"), StatusCode.PERMISSION_DENIED)
            assert await codes(app.port, credentials(certificates, "client")) == expected

    run(main())


def test_certificates_in_the_tokens_file(run, certificates, openssl, tmp_path):
    for file in ("ca.pem", "ca.key", "server.pem", "server.key"):
        shutil.copy(certificates / file, tmp_path)
    for name in ("ada", "bob"):
        sign(openssl, tmp_path, name, f"{name}.example")
    token, line = new_token("agent", ["speak"])
    (tmp_path / "tokens").write_text(f"{line}\nada manage certificate:ada.example\n")

    async def main():
        async with serving(mtls(tmp_path, tokens_file=str(tmp_path / "tokens")), {"starter": ScriptedEngine}) as app:
            denied = dict.fromkeys(("speak", "stream"), StatusCode.PERMISSION_DENIED)
            assert await codes(app.port, credentials(tmp_path, "ada")) == {**ALLOWED, **denied}
            assert set((await codes(app.port, credentials(tmp_path, "bob"))).values()) == {StatusCode.UNAUTHENTICATED}
            address = f"localhost:{app.port}"
            async with grpc.aio.secure_channel(address, credentials(tmp_path, "bob")) as channel:
                speech = speech_pb2_grpc.SpeechServiceStub(channel)
                assert await code(speech.Synthesize(SPEAK, metadata=bearer(token))) is StatusCode.OK
                error = await failed(speech.Synthesize(SPEAK))
                assert code_of(status_of(error)) is StatusCode.UNAUTHENTICATED
                assert "or a client certificate that the server knows" in error.details()

    run(main())


def test_the_token_is_needed_beside_any_certificate(run, certificates):
    async def main():
        async with serving(mtls(certificates, token="secret"), {"starter": ScriptedEngine}) as app:
            found = set((await codes(app.port, credentials(certificates, "client"))).values())
            assert found == {StatusCode.UNAUTHENTICATED}

    run(main())


def test_the_principal_of_a_certificate(run, certificates, monkeypatch):
    seen = []

    async def main():
        async with serving(mtls(certificates), {"starter": ScriptedEngine}) as app:
            admission = app.service._admission
            check = admission.check
            monkeypatch.setattr(admission, "check", lambda *given: (seen.append(principal()), check(*given))[1])
            await codes(app.port, credentials(certificates, "client"))

    run(main())
    assert [(one.name, one.roles) for one in seen] == [("client", {Role.SPEAK, Role.MANAGE})] * 2


# ---- renewal --------------------------------------------------------------------------------------------------------


def test_certificates_are_renewed_while_the_server_runs(run, certificates, openssl, tmp_path, caplog):
    """A stream stays open through it; a new connection gets the new certificate, and the new client CA counts."""
    for file in certificates.glob("*"):
        shutil.copy(file, tmp_path)
    for name in ("ca2",):
        sign_oneself(openssl, tmp_path, name)
    sign(openssl, tmp_path, "server2", "server", ca="ca2")
    sign(openssl, tmp_path, "client2", "client2", ca="ca2")

    async def ok(port: int, name: str, ca: str) -> bool:
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials(tmp_path, name, ca)) as channel:
            return (
                await code(speech_pb2_grpc.SpeechServiceStub(channel).GetServerInfo(INFO, timeout=5)) is StatusCode.OK
            )

    async def main():
        async with serving(mtls(tmp_path), {"starter": ScriptedEngine}) as app:
            assert await ok(app.port, "client", "ca") and not await ok(app.port, "client2", "ca")
            async with grpc.aio.secure_channel(f"localhost:{app.port}", credentials(tmp_path, "client")) as channel:
                call = speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize()
                await call.write(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig()))
                assert (await call.read()).HasField("configured")

                (tmp_path / "server2.pem").replace(tmp_path / "server.pem")  # without its key: half renewed
                assert await ok(app.port, "client", "ca")
                (tmp_path / "server2.key").replace(tmp_path / "server.key")
                (tmp_path / "ca2.pem").replace(tmp_path / "ca.pem")
                shutil.copy(tmp_path / "ca.pem", tmp_path / "ca2.pem")
                assert await ok(app.port, "client2", "ca2")
                assert not await ok(app.port, "client", "ca2") and not await ok(app.port, "client2", "stranger")

                await call.done_writing()
                assert (await call.read()).HasField("closed") and await call.read() is grpc.aio.EOF

    run(main())
    assert "the TLS files have changed, but cannot be used, and the old ones stay: tls_certificate" in caplog.text
