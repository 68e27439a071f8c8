"""The client library: voices, what a server says about itself, TLS and tokens."""

import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import grpc
import pytest

from intone.client import (
    AlreadyExists,
    AsyncSpeechClient,
    EngineSupport,
    Filler,
    FillerClip,
    NotFound,
    SpeechClient,
    Unauthenticated,
    tls,
)
from tests.support.scripted_responses import RATE_HZ
from tests.support.scripted_server import failure_of, scripted_server


def test_voices_are_created_listed_and_deleted(run, tmp_path: Path):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(range(256)) * 600)  # 150 KiB: two full upload chunks and a rest
    steps: list[tuple[int, int]] = []

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            voices = client.voices
            created = await voices.create(
                recording,
                "ada",
                transcript="words",
                languages=["en"],
                description="calm",
                labels={"by": "me"},
                progress=lambda *step: steps.append(step),
            )
            assert [(notice.code, notice.message) for notice in created.notices] == [("recording_cut", "it was cut")]
            voice = await voices.get("ada")
            assert voice == created.voice
            assert (voice.name, voice.transcript, voice.recording_ms) == ("ada", "words", 1500)
            assert (voice.languages, voice.description, voice.labels) == (("en",), "calm", {"by": "me"})
            assert voice.engines == (EngineSupport("starter", "cloned"),)
            assert voice.create_time == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
            assert isinstance(await failure_of(voices.create(recording, "ada")), AlreadyExists)
            await voices.create(recording, "ada", replace=True)
            await voices.delete("ada")
            for call in (voices.get("ada"), voices.delete("ada")):
                assert isinstance(await failure_of(call), NotFound)
            with pytest.raises(FileNotFoundError):
                await voices.create(tmp_path / "nothing.wav", "eve")

    with scripted_server() as server:
        run(main(server.target))
    chunks = [request.audio for request in server.uploads[0][1:]]
    assert [len(chunk) for chunk in chunks] == [65536, 65536, 22528]
    assert b"".join(chunks) == recording.read_bytes()
    assert steps == [(65536, 153600), (131072, 153600), (153600, 153600)]


def test_lists_come_in_pages_and_fillers_are_added_and_removed(tmp_path: Path):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(b"RIFF")
    with scripted_server() as server, SpeechClient(server.target) as client:
        voices = client.voices
        assert voices.list() == []
        for name in "abcde":
            voices.create(recording, name)
        assert [voice.name for voice in voices.list()] == list("abcde")
        clips = [FillerClip("Hmm", "en", b"123"), FillerClip("Oh", "de", b"4", emotion="surprised")]
        assert voices.add_fillers("b", clips).fillers == (
            Filler("Hmm", "neutral", "en", 3, ""),
            Filler("Oh", "surprised", "de", 1, ""),
        )
        removed = voices.remove_fillers("b", language="en")
        assert (removed.removed_count, [filler.text for filler in removed.voice.fillers]) == (1, ["Oh"])
        clip = voices.upload_emotion_clip(b"12345")
        assert (len(clip.clip_id), clip.duration_ms) == (64, 5)
        assert voices.upload_emotion_clip(recording).duration_ms == 4
        voices.delete("a")
        assert voices.get("b").name == "b"


def test_what_a_server_says_about_itself():
    with scripted_server() as server, SpeechClient(server.target) as client:
        info = client.server_info()
        assert (info.version, info.default_sample_rate_hz, info.limits.max_streams) == ("9.9", RATE_HZ, 3)
        assert (info.limits.stream.max_lead_ms, info.emotion_labels) == (5000, ("happy", "sad"))
        engine = info.engines[0]
        assert (engine.name, engine.languages, engine.predicted_ttfa_ms) == ("starter", ("en",), 45)
        parameter = engine.parameters[0]
        assert (parameter.name, parameter.min_value, parameter.default_value) == ("steps", 1, None)
        assert client.analyze_emotion("great").weights.happy == 0.75


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
        async with AsyncSpeechClient(target, credentials=credentials, token=token) as client:
            await client.say("Hello.")
            return (await client.server_info()).version

    with scripted_server(credentials=grpc.ssl_server_credentials(pair), token="secret") as server:
        assert run(version(server.target, tls(ca), "secret")) == "9.9"
        refused = run(failure_of(version(server.target, tls(ca), None)))
        assert isinstance(refused, Unauthenticated)
    with scripted_server(credentials=mutual) as server:
        assert run(version(server.target, tls(ca, *ours), None)) == "9.9"
    with pytest.raises(ValueError, match="key"):
        tls(ca, ours[0])
