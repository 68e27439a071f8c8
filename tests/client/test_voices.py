"""The client library: voices, TLS and tokens."""

import shutil
import subprocess
from pathlib import Path

import grpc
import pytest

from intone.client import (
    IntoneCallError,
    SpeechClient,
    tls,
)
from tests.support.scripted_server import failure_of, scripted_server


def test_voices_are_created_listed_and_deleted(run, tmp_path: Path):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(range(256)) * 600)  # 150 KiB: two full upload chunks and a rest
    steps: list[tuple[int, int]] = []

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            created = await client.voices.create(
                recording, "ada", transcript="words", progress=lambda *step: steps.append(step)
            )
            assert (created.voice.name, list(created.warnings)) == ("ada", ["it was cut"])
            assert [voice.name for voice in await client.voices.list()] == ["ada"]
            assert (await client.voices.get("ada")).transcript == "words"
            with pytest.raises(IntoneCallError) as taken:
                await client.voices.create(recording, "ada")
            await client.voices.create(recording, "ada", replace=True)
            await client.voices.delete("ada")
            with pytest.raises(IntoneCallError) as gone:
                await client.voices.get("ada")
            with pytest.raises(IntoneCallError):
                await client.voices.delete("ada")
            with pytest.raises(FileNotFoundError):
                await client.voices.create(tmp_path / "nothing.wav", "eve")
        assert taken.value.code is grpc.StatusCode.ALREADY_EXISTS
        assert gone.value.code is grpc.StatusCode.NOT_FOUND

    with scripted_server() as server:
        run(main(server.target))
    chunks = [request.audio for request in server.uploads[0][1:]]
    assert [len(chunk) for chunk in chunks] == [65536, 65536, 22528]
    assert b"".join(chunks) == recording.read_bytes()
    assert steps == [(65536, 153600), (131072, 153600), (153600, 153600)]


@pytest.fixture(scope="module")
def certificates(require, tmp_path_factory) -> Path:
    """Self-signed certificates of a server and of a client."""
    openssl = require("openssl", shutil.which("openssl"), "the command openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client"):
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"]
        subprocess.run(
            [*command, "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True
        )
    return folder


def test_tls_mutual_tls_and_token(run, certificates: Path):
    pair = [((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())]
    mutual = grpc.ssl_server_credentials(pair, (certificates / "client.pem").read_bytes(), require_client_auth=True)
    ca = certificates / "server.pem"
    ours = (certificates / "client.pem", certificates / "client.key")

    async def version(target: str, credentials, token: str | None) -> str:
        async with SpeechClient(target, credentials=credentials, token=token) as client:
            await client.say("Hello.")
            return (await client.server_info()).version

    with scripted_server(credentials=grpc.ssl_server_credentials(pair), token="secret") as server:
        assert run(version(server.target, tls(ca), "secret")) == "9.9"
        refused = run(failure_of(version(server.target, tls(ca), None)))
        assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    with scripted_server(credentials=mutual) as server:
        assert run(version(server.target, tls(ca, *ours), None)) == "9.9"
    with pytest.raises(ValueError, match="key"):
        tls(ca, ours[0])
