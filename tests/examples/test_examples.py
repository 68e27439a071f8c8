"""The examples as a user runs them, against a real server."""

import asyncio
import base64
import importlib.util
import json
import subprocess
import sys
import time
import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.asyncio.client import ClientConnection, connect

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BOOK = "Before the first chapter.\n\n# One\n\nIt was a dark night.\n\n# Two\n\nIt was a *bright* morning.\n"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def address(server_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTONE_SERVER", server_address)


def run_example(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("name", ["agent.py", "phone.py", "narrate.py", "two_voices.py"])
def test_help_says_how_to_use_it(name):
    text = run_example(name, "--help")
    assert f"python examples/{name}" in text and "intone-server" in text


def test_agent_keeps_what_was_heard(tmp_path):
    out = tmp_path / "agent.wav"
    command = [sys.executable, str(EXAMPLES / "agent.py"), "--out", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdin is not None and agent.stdout is not None
        agent.stdin.write("Tell me a story.\n")
        agent.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not spoken_s(out) > 2.0:
            time.sleep(0.05)
        agent.stdin.write("Stop.\n")
        agent.stdin.close()
        lines = agent.stdout.read().splitlines()
        assert agent.wait(60) == 0
    assert lines[0].startswith("(interrupted after: You said")
    assert [line.partition(":")[0] for line in lines[1:]] == ["user", "assistant", "user", "assistant"]
    assert lines[2] == f"assistant: {lines[0].removeprefix('(interrupted after: ').removesuffix(')')}"
    assert len(lines[2]) < len(lines[4]) and lines[4].endswith("whenever you have heard enough.")
    samples, rate_hz = soundfile.read(out)
    assert len(samples) / rate_hz > 6 and loudness(samples) > 0.01


def spoken_s(path: Path) -> float:
    """Seconds of sound above silence in a WAV file that is being written."""
    data = path.read_bytes()[44:] if path.exists() else b""
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
    return float(np.count_nonzero(np.abs(samples) > 50)) / 24_000


class Line:
    """The carrier's side of a call: plays frames in real time, answers marks, forgets what is cleared."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.waiting: list[dict[str, Any]] = []
        self.played: list[np.ndarray] = []
        self.cleared = asyncio.Event()

    async def receive(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            assert message["streamSid"] == "MZ1"
            if message["event"] == "clear":
                self.waiting.clear()
                self.cleared.set()
            else:
                self.waiting.append(message)

    async def play(self, seconds: float) -> None:
        for _ in range(int(seconds * 50)):
            while self.waiting and self.waiting[0]["event"] == "mark":
                mark = self.waiting.pop(0)["mark"]
                await self._socket.send(json.dumps({"event": "mark", "streamSid": "MZ1", "mark": mark}))
            if self.waiting:
                frame = base64.b64decode(self.waiting.pop(0)["media"]["payload"])
                assert len(frame) == 160
                self.played.append(np.frombuffer(frame, np.uint8))
            await asyncio.sleep(0.02)

    async def caller_speaks(self, frames: int) -> None:
        loud = base64.b64encode(bytes([0x80, 0x00] * 80)).decode()
        for _ in range(frames):
            await self._socket.send(json.dumps({"event": "media", "streamSid": "MZ1", "media": {"payload": loud}}))


def test_phone_stops_when_the_caller_speaks(run):
    phone = example("phone")

    async def call() -> None:
        from intone.client import AsyncSpeechClient

        async with (
            AsyncSpeechClient() as client,
            phone.serve(lambda line: phone.bridge(line, client), "127.0.0.1", 0) as server,
        ):
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as socket:
                line = Line(socket)
                receiving = asyncio.create_task(line.receive())
                await socket.send(json.dumps({"event": "start", "start": {"streamSid": "MZ1"}}))
                await line.play(2.0)
                heard = len(line.played)
                assert heard > 50
                await line.caller_speaks(phone.SPEECH_FRAMES)
                await asyncio.wait_for(line.cleared.wait(), 5)
                await line.play(3.0)
                assert len(line.played) > heard + 50, "no answer to the interruption"
                await socket.send(json.dumps({"event": "stop"}))
                await asyncio.wait_for(receiving, 10)

    run(call(), 60.0)


@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_narrate_writes_chapters(tmp_path, ending):
    book, out = tmp_path / "book.md", tmp_path / f"book.{ending}"
    book.write_text(BOOK, "utf8")
    assert f"wrote {out}" in run_example("narrate.py", book, "--out", out)
    samples, rate_hz = soundfile.read(out)
    marks = (tmp_path / "book.chapters.txt").read_text("utf8")
    starts = [int(line[6:]) for line in marks.splitlines() if line.startswith("START=")]
    ends = [int(line[4:]) for line in marks.splitlines() if line.startswith("END=")]
    assert [line[6:] for line in marks.splitlines() if line.startswith("title=")] == ["book", "Part 1", "One", "Two"]
    assert rate_hz == 24_000 and starts[0] == 0 and len(samples) >= ends[-1] > starts[-1] > ends[1]
    for start, end in zip(starts, ends, strict=True):
        assert end - start > rate_hz / 2 and loudness(samples[start:end]) > 0.01
    assert loudness(samples[ends[0] + 2000 : starts[1] - 2000]) < 1e-3


def test_two_voices_sound_on_two_sides(tmp_path):
    script, out = tmp_path / "script.txt", tmp_path / "dialogue.wav"
    script.write_text("A: Good morning, how are you?\n\nB: Fine, thank you.\n", "utf8")
    assert f"wrote {out}: 2 lines" in run_example("two_voices.py", script, "--out", out)
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24_000)
    samples, rate_hz = soundfile.read(out)
    assert len(samples) > 1.5 * rate_hz
    assert loudness(samples[: rate_hz // 2, 0]) > 5 * loudness(samples[: rate_hz // 2, 1])
    last = samples[-rate_hz:]
    assert loudness(last[:, 1]) > 5 * loudness(last[:, 0])


def test_two_voices_names_a_line_that_it_cannot_read(tmp_path):
    script = tmp_path / "script.txt"
    script.write_text("A: Hello.\nC: Hi.\n", "utf8")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_example("two_voices.py", script, "--out", tmp_path / "out.wav")
    assert "line 2: expected 'A: ...' or 'B: ...', found 'C: Hi.'" in failure.value.stderr
