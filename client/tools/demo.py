"""`make demo`: starts a server on this machine, speaks sentences and a conversation into `demo/`, and draws pictures.

Run as `python -m intone.client.tools.demo`. Needs the server installed beside the client.
"""

import asyncio
import os.path
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from intone.client.async_client import AsyncSpeechClient
from intone.client.errors import IntoneError
from intone.client.extras import MissingExtraError
from intone.client.settings import SpeechSettings, StreamSettings
from intone.client.speech import Speech
from intone.client.tools.chat import print_turns, run_script, save_heard
from intone.client.tools.console import Console
from intone.client.tools.conversation_picture import draw_conversation
from intone.client.tools.local_server import LocalServerError, local_server
from intone.client.tools.script import Script, Turn
from intone.client.tools.utterance_picture import draw_utterance
from intone.client.tools.utterance_report import milliseconds
from intone.client.tools.waits import wait_of
from intone.client.voices import FillerClip
from intone.client.wav import wav_header

_HEALTH_TIMEOUT_S = 30.0
_HEALTH_POLL_S = 0.1
_WORD_INTERVAL_S = 0.05
"""Pace of the text: twenty words per second, as a fast language model writes."""

_SERVER_FLAGS = ("--no-fillers", "--no-match-loudness")
"""The server renders no fillers of its own and matches no loudness, which would take time during the measurements."""

_FILLERS = ("Hmm, well.", "Let me see.", "One moment.")
"""Fillers of the conversation, recorded from the starter voice in place of a person."""


_SENTENCES = """\
four sentences, written at twenty words a second as by a language model;
first sound: of the server, from when it has the text of a sentence"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One sentence of the demo; `name` is that of its files."""

    name: str
    text: str
    settings: SpeechSettings = SpeechSettings()


SCENES = (
    Scene("1-hello", "Hello! This sentence was still being written when you heard its first words."),
    Scene("2-live", "Text goes in word by word, and speech comes out before the last word is there."),
    Scene("3-mandarin", "你好！这句话还没有写完，你就已经听到它的开头了。"),
    Scene("4-nano", "Here the other packaged voice says a sentence, to compare.", SpeechSettings(voice="nano")),
)


CONVERSATION = Script(
    (
        Turn("Now a conversation: four turns on one stream."),
        Turn("I have looked it up: the shop opens at nine.", think_ms=1800, cover_after_ms=400),
        Turn(
            "This answer is long. It goes on and on, from one clause to the next, and nobody waits for its end.",
            interrupt_after_ms=1500,
        ),
        Turn("All right, I stop."),
    ),
    title="An answer, one that takes thought, one that is interrupted, and the reply to the interruption",
)
"""In the second turn a filler covers the wait for the language model; the listener barges in on the third."""


def main() -> int:
    """Run the demo. Files are written to `demo/` in the working directory. Returns the exit code."""
    console = Console(stderr=True, highlight=False)
    folder = Path("demo")
    try:
        folder.mkdir(exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="intone-demo-") as scratch,
            local_server(_SERVER_FLAGS, Path(scratch), console) as target,
        ):
            asyncio.run(_run(target, folder, console))
    except (LocalServerError, IntoneError, MissingExtraError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(target: str, folder: Path, console: Console) -> None:
    async with AsyncSpeechClient(target) as client:
        await _wait_for_health(client)
        console.print(f"\n{_SENTENCES}", style="dim")
        spoken: dict[str, Speech] = {}
        for scene in SCENES:
            settings = StreamSettings(defaults=scene.settings, service_class="live")
            speech = await client.say(_words(scene.text), settings)
            speech.save(folder / f"{scene.name}.wav")
            draw_utterance(speech, folder / f"{scene.name}.png")
            spoken[scene.name] = speech
        Console().print(_sentences(spoken))
        console.print("\nfour turns of a conversation, in real time", style="dim")
        await _record_fillers(client)
        run = await run_script(client, CONVERSATION, StreamSettings(), quiet=True)
        print_turns(run)
        save_heard(run, folder / "5-conversation.wav")
        draw_conversation(run, folder / "5-conversation.png", title=CONVERSATION.title)
        Console(highlight=False).print(_what_next(folder), soft_wrap=True, markup=False)


def _sentences(spoken: dict[str, Speech]) -> Table:
    """A line for each sentence, with what the wait for its first word was spent on."""
    table = Table("sentence", "engine", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column in ("first sound", "wait for text", "first word", "audio", "RTF"):
        table.add_column(column, justify="right")
    for name, speech in spoken.items():
        wait, report = wait_of(speech), speech.report
        table.add_row(
            name,
            speech.started.route.engine if speech.started else "–",
            f"[bold]{milliseconds(wait.server_ms)}[/bold]",
            milliseconds(wait.text_ms),
            milliseconds(wait.speech_ms),
            f"{speech.latency.audio_ms / 1000:.1f} s",
            "–" if report is None or report.rtf is None else f"{report.rtf:.2f}",
        )
    return table


def _what_next(folder: Path) -> str:
    """A map of what was made, and the next commands."""
    commands = Path(sys.executable).parent
    found = shutil.which("intone-server")
    active = found is not None and Path(found).parent == commands
    activate = "" if active else f"\n  . {os.path.relpath(commands)}/activate         first, in each shell"
    return f"""
In {folder}/ (.wav to listen to, .png to look at):
  1-hello, 2-live     the starter voice begins before the text is complete
  3-mandarin, 4-nano  the other packaged voice, nano, in Mandarin and in English
  5-conversation      fillers cover a wait, and the listener interrupts
Next:{activate}
  intone-server                                keep it running; in another shell:
  intone say "Hello there." --out hello.wav    docs/examples.md has an agent
  intone chat --picture chat.png               a longer conversation"""


async def _wait_for_health(client: AsyncSpeechClient) -> None:
    """Wait until the server is SERVING.

    Raises:
        LocalServerError: it was not within `_HEALTH_TIMEOUT_S`.
    """
    deadline_s = time.monotonic() + _HEALTH_TIMEOUT_S
    while not await client.serving():
        if time.monotonic() > deadline_s:
            raise LocalServerError(f"the server was not healthy after {_HEALTH_TIMEOUT_S:.0f} s")
        await asyncio.sleep(_HEALTH_POLL_S)


async def _record_fillers(client: AsyncSpeechClient) -> None:
    """Speak the fillers with the starter engine and add them to the default voice."""
    clips = []
    for text in _FILLERS:
        speech = await client.say(text, engine="starter")
        recording = wav_header(speech.format, len(speech.pcm)) + speech.pcm
        clips.append(FillerClip(text, "en", recording))
    await client.voices.add_fillers("default", clips)


async def _words(text: str) -> AsyncIterator[str]:
    """The text word by word, at the pace of a language model."""
    words: Sequence[str] = text.split(" ")
    for index, word in enumerate(words):
        yield word if index == 0 else f" {word}"
        await asyncio.sleep(_WORD_INTERVAL_S)


if __name__ == "__main__":
    sys.exit(main())
