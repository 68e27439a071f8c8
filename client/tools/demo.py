"""`python -m intone.client.tools.demo`: a server on this machine, a few sentences, a conversation, their pictures.

Needs the server installed beside the client. Starts it as another process, as any user would.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from intone.client.commands.chat import perform, save_heard, tell_turns
from intone.client.commands.narrator import Narrator
from intone.client.errors import IntoneCallError
from intone.client.extras import MissingExtraError
from intone.client.settings import Options, Settings
from intone.client.speech import Speech
from intone.client.stream import SpeechClient
from intone.client.tools.local_server import LocalServerError, local_server
from intone.client.tools.picture import draw_timeline
from intone.client.tools.report import summary
from intone.client.tools.script import Script, Turn
from intone.client.tools.timeline import draw_conversation
from intone.client.wav import wav_header, write_wav
from intone.proto import emotion_pb2, voice_pb2

_HEALTHY_S = 30.0
_POLL_S = 0.1
_WORD_S = 0.05
"""Pace of the text: twenty words a second, a quick language model."""

_ENGINES = ("--indextts", "nano", "--random-weights")
_SERVER = (*_ENGINES, "--busy-ms", "0", "--no-fillers", "--no-match-loudness")
"""Strong emotion goes to IndexTTS even where that is slow: a wait is shown, covered by fillers of our own. Noise need
not be matched in loudness, nor render fillers, while the figures are taken."""

_FILLERS = ("Oh!", "Hmm, well.", "Let me see.")
"""What covers the wait of the conversation; recorded from the starter voice, as one would record a person."""

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
    Scene("3-mandarin", "你好！这句话还没有写完，你就已经听到它的开头了。"),
    Scene("4-starter", "Here the starter voice says a sentence, for you to compare.", engine="starter"),
    Scene(
        "5-angry-indextts-untrained",
        "How dare you say that this is noise!",
        emotion="angry:0.9",
        options=_SHORT,
    ),
)


CONVERSATION = Script(
    (
        Turn("Now a conversation: four turns on one stream."),
        Turn("I cannot believe it!", emotion="surprised:0.9", options=Options(steps=6, max_audio_ms=1500)),
        Turn(
            "This answer is long. It goes on and on, from one clause to the next, and nobody waits for its end.",
            interrupt_after_ms=1500,
        ),
        Turn("All right, I stop."),
    ),
    title="Four turns: plain, surprised, interrupted, and what follows at once",
)
"""Its second turn waits for the slow engine behind a filler; its third is cut by the listener."""


def main() -> int:
    """Run the demonstration; files go to `demo/` in the working directory."""
    console = Console(stderr=True, highlight=False)
    folder = Path("demo")
    try:
        folder.mkdir(exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="intone-demo-") as scratch,
            local_server(_SERVER, Path(scratch), console) as target,
        ):
            asyncio.run(_perform(target, folder, console))
    except (LocalServerError, IntoneCallError, MissingExtraError, OSError) as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    console.print(f"\nListen to {folder}/*.wav and look at {folder}/*.png.", style="bold green")
    return 0


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
        console.print(f"\nrecording fillers: {' '.join(_FILLERS)}", style="dim")
        await _record_fillers(client)
        console.print()
        chat = await perform(client, CONVERSATION, Settings())
        tell_turns(chat)
        save_heard(chat, folder / "6-conversation.wav")
        draw_conversation(chat, folder / "6-conversation.png", title=CONVERSATION.title)


async def _wait_for_health(client: SpeechClient) -> None:
    """Wait until the server says SERVING.

    Raises:
        LocalServerError: it never does.
    """
    deadline_s = time.monotonic() + _HEALTHY_S
    while not await client.serving():
        if time.monotonic() > deadline_s:
            raise LocalServerError("the server never became healthy")
        await asyncio.sleep(_POLL_S)


async def _record_fillers(client: SpeechClient) -> None:
    """Give the voice interjections of its own."""
    clips = []
    for words in _FILLERS:
        audio = (await client.say(words, engine="starter")).chunks
        data = b"".join(chunk.data for chunk in audio)
        recording = wav_header(audio[0].format, len(data)) + data
        surprised = emotion_pb2.EMOTION_LABEL_SURPRISED
        clips.append(voice_pb2.FillerClip(text=words, emotion=surprised, language="en", audio=recording))
    await client.voices.add_fillers("default", clips)


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
