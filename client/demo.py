"""`python -m intone.client.demo`: a server on this machine, a few sentences, their sound, pictures and measures.

Needs the server installed beside the client. Starts it as another process, as any user would.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from intone.client.commands.narrator import Narrator
from intone.client.errors import IntoneCallError
from intone.client.extras import MissingExtraError
from intone.client.picture import draw_timeline
from intone.client.report import summary
from intone.client.settings import Options
from intone.client.speech import Speech
from intone.client.stream import SpeechClient
from intone.client.wav import write_wav

_START_S = 180.0
"""A cold start may build the extension first."""

_HEALTHY_S = 30.0
_STOP_S = 20.0
_POLL_S = 0.1
_WORD_S = 0.05
"""Pace of the text: twenty words a second, a quick language model."""

_LOG_LINES = 30
_SERVER = ("--host", "127.0.0.1", "--port", "0", "--voxcpm", "nano", "--indextts", "nano", "--random-weights")

_SHORT = Options(max_audio_ms=4000)
"""Untrained weights do not know when to stop."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One sentence of the demonstration; `name` is that of its files."""

    name: str
    text: str
    engine: str = "auto"
    emotion: str | None = None
    options: Options = field(default_factory=Options)

    @property
    def title(self) -> str:
        """What is shown of it: who should speak, or how."""
        return self.emotion or (self.engine if self.engine != "auto" else "plain talk")


SCENES = (
    Scene("1-hello", "Hello! This sentence was still being written when you heard its first words."),
    Scene("2-live", "Text goes in word by word, and speech comes out before the last word is there."),
    Scene(
        "3-voxcpm-untrained",
        "This engine has random weights: you hear noise, but it streams.",
        engine="voxcpm",
        options=_SHORT,
    ),
    Scene(
        "4-angry-indextts-untrained",
        "How dare you say that this is noise!",
        emotion="angry:0.9",
        options=_SHORT,
    ),
)


class DemoError(Exception):
    """The server could not be used; the message says what happened, with the end of its log."""


def main() -> int:
    """Run the demonstration; files go to `demo/` in the working directory."""
    console = Console(stderr=True, highlight=False)
    folder = Path("demo")
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="intone-demo-") as scratch, _server(Path(scratch), console) as target:
            asyncio.run(_perform(target, folder, console))
    except (DemoError, IntoneCallError, MissingExtraError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"\nListen to {folder}/*.wav and look at {folder}/*.png.", style="bold green")
    return 0


@contextmanager
def _server(scratch: Path, console: Console) -> Iterator[str]:
    """A server on a free port of this machine, as "host:port", that is gone when the context is left.

    Raises:
        DemoError: it did not start, or ended while it was needed.
    """
    log, port_file = scratch / "server.log", scratch / "port"
    command = [sys.executable, "-m", "intone.server", *_SERVER, "--port-file", str(port_file)]
    console.print(f"starting the server: intone-server {' '.join(command[3:])}", style="dim", soft_wrap=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        port = _wait_for_port(process, port_file, log)
        yield f"127.0.0.1:{port}"
        if process.poll() is not None:
            raise DemoError(f"the server ended with code {process.returncode}\n{_tail(log)}")
    except IntoneCallError as error:
        raise DemoError(f"{error}\n{_tail(log)}") from error
    finally:
        _stop(process, console)


def _wait_for_port(process: "subprocess.Popen[bytes]", port_file: Path, log: Path) -> int:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise DemoError(f"the server did not start (code {process.returncode})\n{_tail(log)}")
        written = port_file.read_text().strip() if port_file.exists() else ""
        if written:
            return int(written)
        time.sleep(_POLL_S)
    raise DemoError(f"the server was not ready after {_START_S:.0f} s\n{_tail(log)}")


def _stop(process: "subprocess.Popen[bytes]", console: Console) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        console.print("the server did not stop by itself and was killed", style="yellow")
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(["the end of its log:", *lines[-_LOG_LINES:]])


async def _perform(target: str, folder: Path, console: Console) -> None:
    async with SpeechClient(target) as client:
        await _wait_for_health(client)
        for scene in SCENES:
            console.print(f"\n{scene.title}: “{scene.text}”", style="bold", markup=False, soft_wrap=True)
            narrator = Narrator(as_json=False, now_s=time.monotonic)
            speech = await client.say(
                _written(scene.text),
                engine=scene.engine,
                emotion=scene.emotion,
                options=scene.options,
                on_event=narrator.tell,
            )
            _keep(speech, folder / scene.name)
            Console().print(summary(speech, f"Latency of {scene.name}"))


async def _wait_for_health(client: SpeechClient) -> None:
    """Wait until the server says SERVING.

    Raises:
        DemoError: it never does.
    """
    deadline_s = time.monotonic() + _HEALTHY_S
    while not await client.serving():
        if time.monotonic() > deadline_s:
            raise DemoError("the server never became healthy")
        await asyncio.sleep(_POLL_S)


async def _written(text: str) -> AsyncIterator[str]:
    """The text word by word, at the pace of a language model."""
    words: Sequence[str] = text.split(" ")
    for index, word in enumerate(words):
        yield word if index == 0 else f" {word}"
        await asyncio.sleep(_WORD_S)


def _keep(speech: Speech, path: Path) -> None:
    """Sound and picture."""
    audio = speech.chunks
    write_wav(path.with_suffix(".wav"), audio[0].format, b"".join(chunk.data for chunk in audio))
    draw_timeline(speech, path.with_suffix(".png"))


if __name__ == "__main__":
    sys.exit(main())
