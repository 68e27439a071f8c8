"""What `intone` prints when something is wrong: refusals, TLS, tokens, unknown names, wrong flags, closed pipes."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2

from intone.client.__main__ import build_parser, main
from intone.proto import voice_pb2
from tests.support.scripted_responses import refusal
from tests.support.scripted_server import abort, scripted_server


@pytest.fixture(scope="module")
def certificate(require, tmp_path_factory) -> tuple[Path, Path]:
    """A certificate that is signed by itself, and its key."""
    openssl = require("openssl", shutil.which("openssl"), "the command openssl makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=server"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_errors_are_printed_with_a_hint(capsys):
    def refuse(requests, number, context):
        next(requests)
        steps = "config.defaults.engine_parameters[steps]"
        abort(context, refusal(steps, "1 to 100", code_pb2.INVALID_ARGUMENT, 2, "VALUE_OUT_OF_RANGE"))
        yield

    with scripted_server(refuse) as server:
        assert main(["say", "Hello.", "--steps", "0", "--server", server.target]) == 1
        output = capsys.readouterr().err
        assert "INVALID_ARGUMENT: no good" in output
        assert "config.defaults.engine_parameters[steps]: 1 to 100" in output
        assert "Try again in 2.0 s" in output and "intone info" in output
    assert main(["info", "--server", server.target]) == 3
    assert "intone-server" in capsys.readouterr().err
    with scripted_server() as server:
        assert main(["say", "bad", "--server", server.target]) == 1
        assert "text.delta: cannot be spoken" in capsys.readouterr().err
        assert main(["say", "x", "--out", "/nowhere/at/all.wav", "--server", server.target]) == 1
        assert "/nowhere/at/all.wav" in capsys.readouterr().err
        assert main(["say", "x", "--json", "--out", "-", "--server", server.target]) == 2
        assert main(["say", "x", "--out", "x.mp3", "--server", server.target]) == 2
        assert "x.wav" in capsys.readouterr().err


def test_text_that_is_no_text_is_shown(capsys):
    with scripted_server() as server:
        assert main(["say", "Great \udcf0\udc9f", "--server", server.target]) == 2
    assert r"not UTF-8: '\udcf0\udc9f' in 'Great \udcf0\udc9f'" in capsys.readouterr().err


def test_an_unknown_voice_is_answered_with_those_that_exist(capsys):
    def refuse(requests, number, context):
        next(requests)
        abort(context, refusal("config.defaults.voice", "is unknown", code_pb2.NOT_FOUND, reason="VOICE_NOT_FOUND"))
        yield

    with scripted_server(refuse) as server:
        server.voices["ada"] = voice_pb2.Voice(name="ada")
        assert main(["say", "Hello.", "--voice", "bob", "--server", server.target]) == 1
        assert "Voices of this server: ada. `intone" in capsys.readouterr().err
        assert main(["say", "Hello.", "--voice", "adda", "--server", server.target]) == 1
        assert "Voices of this server: ada; did you mean 'ada'?" in capsys.readouterr().err


def test_a_wrong_command_line_is_answered_in_two_lines(capsys):
    wrong = {
        "--emotion": ("1,2", "8 weights"),
        "--server": ("http://tts.example.com", "without http://"),
        "--pronounce": ("gif", "WORD=SOUND"),
        "--parameter": ("steps", "NAME=VALUE"),
        "--flag": ("x", "unknown argument --flag"),
        "--encodig": ("mulaw", "did you mean '--encoding'?"),
        "--encoding": ("mulav", "did you mean 'mulaw'?"),
    }
    for flag, (value, message) in wrong.items():
        with pytest.raises(SystemExit) as ended:
            main(["say", "x", flag, value])
        output = capsys.readouterr().err
        assert ended.value.code == 2 and message in output and len(output.splitlines()) == 2, flag


@pytest.mark.parametrize(
    ("line", "message", "help_of"),
    [
        ("sya x", "'sya' is none of say, chat, voices, emotion, read, info, bench; did you mean 'say'?", "intone"),
        ("voices shwo", "did you mean 'show'?", "intone voices"),
        ("voices list --jsn", "unknown argument --jsn; did you mean '--json'?", "intone voices list"),
        ("info extra", "unknown argument extra\n", "intone info"),
    ],
)
def test_a_misspelt_command_is_told_what_was_meant(capsys, line, message, help_of):
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    output = capsys.readouterr().err
    assert ended.value.code == 2 and message in output and f"`{help_of} --help`" in output


def test_outputs_are_checked_before_anything_is_spoken(capsys, monkeypatch, tmp_path):
    nothing = ["--server", "127.0.0.1:1", "--reconnect", "0"]  # nobody listens there
    (folder := tmp_path / "x.wav").mkdir()
    for command in (["say", "x", "--out"], ["say", "x", "--picture"], ["chat", "--save"], ["chat", "--picture"]):
        assert main([*command, str(folder), *nothing]) == 1
        assert f"cannot write {folder}: it is a folder" in capsys.readouterr().err
        assert main([*command, str(tmp_path / "no" / "x.wav"), *nothing]) == 1
        assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err
    for place in ("playback", "tools.drawing"):
        monkeypatch.setattr(f"intone.client.{place}.find_spec", lambda name: None)
    for extra, flags in (("plot", ["--picture", "x.png"]), ("play", ["--play"])):
        for command in (["say", "x"], ["chat"]):
            assert main([*command, *flags, *nothing]) == 1
            assert f"pip install 'intone[{extra}]'" in capsys.readouterr().err


def test_the_port_of_a_server_may_be_left_out():
    targets = {"tts": "tts:50051", "tts:443": "tts:443", "[::1]": "[::1]:50051", "[::1]:1": "[::1]:1"}
    parsed = {text: build_parser().parse_args(["info", "--server", text]).server for text in targets}
    assert parsed == targets


def test_tls_trouble_is_named(capsys, certificate: tuple[Path, Path]):
    pem, key_pem = certificate
    pair = [(key_pem.read_bytes(), pem.read_bytes())]
    ca, own = ["--tls-ca", str(pem)], ["--tls-cert", str(pem), "--tls-key", str(key_pem)]
    with scripted_server(credentials=grpc.ssl_server_credentials(pair)) as server:
        there = ["info", "--server", server.target]
        assert main([*there, *ca]) == 0
        capsys.readouterr()
        for flags, hint in (([], "demand TLS"), (["--tls"], "--tls-ca PEM")):
            assert main([*there, *flags]) == 3
            assert hint in capsys.readouterr().err
        # What will not change is not tried again, and what is, with the hint.
        assert main(["say", "x", "--server", server.target, "--tls"]) == 3
        assert "trying again" not in capsys.readouterr().err
        assert main(["say", "x", "--server", server.target, "--reconnect", "0.3"]) == 3
        assert "trying again for 0.3 s (Ctrl-C ends it). The server may demand TLS" in capsys.readouterr().err
    with scripted_server(credentials=grpc.ssl_server_credentials(pair, pem.read_bytes(), True)) as server:
        there = ["info", "--server", server.target, *ca]
        assert main([*there, *own]) == 0
        capsys.readouterr()
        assert main(there) == 3
        assert "client certificate" in capsys.readouterr().err
    with scripted_server() as server:
        assert main(["info", "--server", server.target, *ca]) == 3
        assert "does not use TLS" in capsys.readouterr().err


def test_the_reader_of_a_pipe_may_close_it():
    with scripted_server() as server:
        for number in range(40):  # more than a pipe holds
            server.voices[f"voice-{number}"] = voice_pb2.Voice(name=f"voice-{number}", transcript=5000 * "x")
        command = [sys.executable, "-m", "intone.client", "voices", "list", "--json", "--server", server.target]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert "voice-0" in process.stdout.readline()
            process.stdout.close()
            assert (process.stderr.read(), process.wait(60)) == ("", 0)


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
def test_a_console_that_cannot_show_a_character(encoding: str, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    with scripted_server() as server:
        server.voices["小明"] = voice_pb2.Voice(name="小明", transcript="你好 🎉")
        for words in (["say", "--help"], ["voices", "list"], ["say", "Great 🎉", "--out", str(tmp_path / "a.wav")]):
            target = [] if "--help" in words else ["--server", server.target]
            command = [sys.executable, "-m", "intone.client", *words, *target]
            found = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
            assert found.returncode == 0 and b"Error" not in found.stderr, found.stderr


def test_a_picture_is_drawn_also_when_nobody_reads_what_is_printed(require, tmp_path):
    require("matplotlib", find_spec("matplotlib"), "pip install matplotlib")
    picture, wav = tmp_path / "x.png", tmp_path / "x.wav"
    with scripted_server() as server:
        command = [sys.executable, "-m", "intone.client", "say", "Hello.", "--server", server.target]
        command += ["--out", str(wav), "--picture", str(picture)]
        reading, writing = os.pipe()
        os.close(reading)
        assert subprocess.run(command, stdout=writing, stderr=writing, timeout=60, check=False).returncode == 0
        os.close(writing)
    assert picture.stat().st_size > 0 and wav.stat().st_size > 0


def test_server_and_token_are_read_from_the_environment(capsys, monkeypatch):
    with scripted_server(token="secret") as server:
        monkeypatch.setenv("INTONE_SERVER", server.target)
        assert main(["info"]) == 1
        assert "requires a token" in capsys.readouterr().err
        assert main(["info", "--token", "wrong"]) == 1
        assert "refused the token" in capsys.readouterr().err
        monkeypatch.setenv("INTONE_TOKEN", "secret")
        assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "9.9"
