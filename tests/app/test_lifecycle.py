"""How a server begins and ends: what is checked before the engines load, and signals at any time."""

import asyncio
import contextlib
import errno
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import soundfile

from intone.proto import speech_pb2, voice_pb2, voice_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import PreparedVoice, Recording
from intone.server.errors import ConfigError
from intone.server.storage import atomic_write
from intone.server.voices.store import VoiceStore, build_voice
from tests.support.fakes import ScriptedEngine
from tests.support.faulty_engine import HANGS
from tests.support.live_server import Talk
from tests.support.process_workers import children_of, eventually, runs

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
import asyncio, json, logging, sys
from intone.server import app
from intone.server.config import Config
from tests.support.faulty_engine import ENTRIES
logging.basicConfig(level="INFO")
asyncio.run(app.run(Config.of(ENTRIES, port=0, fillers=False, **json.loads(sys.argv[1]))))
"""
PROMPT_S = 5.0
"""Longest end of a server that ends at once, on a busy machine; the loads, hangs and drains below take an hour."""


@contextlib.contextmanager
def started(settings: str):
    """A server in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", SERVER, settings]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield server
    finally:
        server.kill()
        server.communicate()


def wait_for_line(server, words):
    for line in server.stderr:
        if words in line:
            return
    raise AssertionError(f"the server ended without {words!r}")


def seconds_to_end(server, *signals):
    """Send signals, the next one half a second after the one before; how long the process takes after the last."""
    for number in signals[:-1]:
        server.send_signal(number)
        time.sleep(0.5)
        assert server.poll() is None, "it has ended before the last signal"
    began_s = time.monotonic()
    server.send_signal(signals[-1])
    server.wait(60)
    return time.monotonic() - began_s


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["true", "false"])
def test_a_signal_ends_a_server_that_is_loading(run, number, processes):
    with started(f'{{"plain_load_s": "3600", "processes": {processes}}}') as server:
        wait_for_line(server, "loading plain")
        time.sleep(0.5)
        children = children_of(server.pid)
        assert bool(children) == (processes == "true")
        assert seconds_to_end(server, number) < PROMPT_S
        assert server.returncode == 0
    run(eventually(lambda: not any(map(runs, children))))


async def speaking(port_file, text, signal_it):
    """Begin to speak, and call `signal_it` in mid-utterance."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{int(port_file.read_text())}") as channel:
        talk = Talk.over(channel)
        await talk.configure(defaults=speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF))
        await talk.say("u", text, end=False)
        await talk.say("u", " and more. ", end=False)
        await talk.until("audio")
        result = await asyncio.to_thread(signal_it)
        talk.call.cancel()
        return result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "text", "status"),
    [
        ("true", "Hello there.", 0),
        ("true", f"Hello, {HANGS}.", 0),
        ("false", "Hello there.", 0),
        ("false", f"Hello, {HANGS}.", 128 + signal.SIGINT),  # the thread cannot be ended, so the process is
    ],
)
def test_a_second_signal_ends_a_server_that_drains(run, tmp_path, processes, text, status):
    port_file = tmp_path / "port"
    settings = f'{{"drain_s": 3600, "processes": {processes}, "port_file": "{port_file}"}}'
    with started(settings) as server:
        wait_for_line(server, "serving on")
        children = children_of(server.pid)
        ends = speaking(port_file, text, lambda: seconds_to_end(server, signal.SIGTERM, signal.SIGINT))
        assert run(ends, timeout_s=90) < PROMPT_S
        assert server.returncode == status
    run(eventually(lambda: not any(map(runs, children))))


async def spoken(port_file):
    """Speak an utterance to its end."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{int(port_file.read_text())}") as channel:
        talk = Talk.over(channel)
        await talk.configure()
        await talk.say("u", "A secret word.")
        await talk.until("done")
        talk.call.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["true", "false"])
def test_a_signal_turns_debug_messages_on_and_off_while_the_server_runs(run, tmp_path, processes):
    port_file = tmp_path / "port"
    with started(f'{{"processes": {processes}, "port_file": "{port_file}"}}') as server:
        wait_for_line(server, "serving on")
        server.send_signal(signal.SIGUSR1)
        wait_for_line(server, "debug messages are on (SIGUSR1)")
        for child in children_of(server.pid):  # a signal to the group comes to them, too
            os.kill(child, signal.SIGUSR1)
        run(spoken(port_file))
        server.send_signal(signal.SIGUSR1)
        lines = []
        while not lines or "debug messages are off (SIGUSR1)" not in lines[-1]:
            lines.append(server.stderr.readline())
        text = "".join(lines)
        assert "engine plain: a step of 1 units took" in text and "unit 0, 14 characters by plain: waited" in text
        assert "secret" not in text
        run(spoken(port_file))
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate(timeout=60)
        assert "stopping" in rest and "a step of" not in rest and "unit 0" not in rest
        assert server.returncode == 0


def test_what_can_fail_at_once_is_checked_before_the_engines_load(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            "cannot listen on": {"port": port},
            "metrics_port: cannot listen on": {"metrics_port": port},
            "voices: cannot use the folder": {"voices": __file__},
            "default_voice: ": {"default_voice": "nobody"},
            "port_file: cannot write": {"port_file": str(tmp_path / "nowhere" / "port")},
        }

        def load() -> ScriptedEngine:
            raise AssertionError("it loads")

        async def main():
            for words, settings in cases.items():
                with pytest.raises(ConfigError, match=words):
                    async with serving(Config(**{"port": 0, "processes": False, **settings}), {"starter": load}):
                        raise AssertionError("it serves")

        run(main())


NOISE = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) / 10
RECORDING = Recording(NOISE, 16_000, "the words")


def sound_file():
    file = io.BytesIO()
    soundfile.write(file, NOISE, 16_000, format="WAV")
    return file.getvalue()


def test_a_server_starts_although_its_disk_is_full_and_voices_are_damaged(run, tmp_path, monkeypatch):
    """A voice that has to be prepared again is used, although that cannot be saved."""
    outdated = PreparedVoice("other weights", {"length": np.array([1])}, "the words")
    VoiceStore(tmp_path).add(build_voice("ada", RECORDING, {"starter": outdated}, 1.0))
    (tmp_path / "bob.safetensors").write_bytes(b"half of a voi")
    (tmp_path / "_default.safetensors").write_bytes(bytes(100))

    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_write, "prepared", full)

    async def main():
        settings = {"port": 0, "voices": str(tmp_path), "fillers": False, "processes": False}
        async with serving(Config(**settings), {"starter": ScriptedEngine}) as app:
            assert [voice.name for voice in app.store.list()] == ["default", "ada"]
            assert app.store.get("ada").prepared_for("starter", "scripted-1") is not None
            async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
                upload = iter(
                    [
                        voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="eve", transcript="the words")),
                        voice_pb2.CreateVoiceRequest(audio=sound_file()),
                    ]
                )
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await voice_pb2_grpc.VoiceServiceStub(channel).CreateVoice(upload)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert caught.value.details() == "the server's disk is full: nothing was changed"

    run(main())
