"""`make demo`: starts a server on this machine, speaks sentences and a conversation into `demo/`, and draws pictures.

Run as `python -m intone.client.tools.demo`. Needs the server installed beside the client.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from intone.client.async_client import AsyncSpeechClient
from intone.client.errors import IntoneError
from intone.client.extras import MissingExtraError
from intone.client.settings import SpeechSettings, StreamSettings
from intone.client.tools.chat import print_turns, run_script, save_heard
from intone.client.tools.console import Console
from intone.client.tools.conversation_picture import draw_conversation
from intone.client.tools.event_printer import EventPrinter
from intone.client.tools.local_server import LocalServerError, local_server
from intone.client.tools.script import Script, Turn
from intone.client.tools.utterance_picture import draw_utterance
from intone.client.tools.utterance_report import utterance_report
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


@dataclass(frozen=True, slots=True)
class Scene:
    """One sentence of the demo; `name` is that of its files."""

    name: str
    text: str
    settings: SpeechSettings = SpeechSettings()

    @property
    def title(self) -> str:
        """The emotion or engine, for the heading."""
        return str(self.settings.emotion or self.settings.engine or "neutral")


SCENES = (
    Scene("1-hello", "Hello! This sentence was still being written when you heard its first words."),
    Scene("2-live", "Text goes in word by word, and speech comes out before the last word is there."),
    Scene("3-mandarin", "你好！这句话还没有写完，你就已经听到它的开头了。"),
    Scene("4-voxcpm", "Here the other packaged voice says a sentence, to compare.", SpeechSettings(engine="voxcpm")),
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
    title="Four turns: an answer, one that takes thought, one that is interrupted, and the reply to the interruption",
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
    console.print(f"\nListen to {folder}/*.wav and look at {folder}/*.png.", style="bold green")
    return 0


async def _run(target: str, folder: Path, console: Console) -> None:
    async with AsyncSpeechClient(target) as client:
        await _wait_for_health(client)
        speakers: dict[str, str] = {}
        for scene in SCENES:
            console.print(f"\n{scene.title}: “{scene.text}”", style="bold", markup=False, soft_wrap=True)
            printer = EventPrinter(as_json=False, clock=time.monotonic)
            settings = StreamSettings(defaults=scene.settings, service_class="live")
            speech = await client.say(_words(scene.text), settings, on_event=printer.print_event)
            speech.save(folder / f"{scene.name}.wav")
            speakers[scene.name] = speech.started.route.engine if speech.started else "nobody"
            draw_utterance(speech, folder / f"{scene.name}.png")
            Console().print(utterance_report(speech, f"Latency of {scene.name}"))
        console.print(f"\nrecording fillers: {' '.join(_FILLERS)}", style="dim")
        await _record_fillers(client)
        console.print()
        run = await run_script(client, CONVERSATION, StreamSettings())
        print_turns(run)
        save_heard(run, folder / "5-conversation.wav")
        draw_conversation(run, folder / "5-conversation.png", title=CONVERSATION.title)
        console.print("\nwho speaks: " + ", ".join(f"{name}.wav {engine}" for name, engine in speakers.items()))


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
