"""`intone chat`: a whole conversation from a script, in real time, with barge-ins."""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from intone.client.audio import Format
from intone.client.commands.arguments import add_connection, add_json, add_speech, client, settings
from intone.client.commands.narrator import Narrator, write_json
from intone.client.events import Audio
from intone.client.playback import Player
from intone.client.settings import Settings
from intone.client.stream import SpeechClient
from intone.client.tools.chat import Chat, Performance, Performed
from intone.client.tools.example_script import EXAMPLE_SCRIPT
from intone.client.tools.listener import Listener
from intone.client.tools.script import Script, parse_script
from intone.client.tools.timeline import draw_conversation
from intone.client.tools.turn_table import turns_table, turns_to_json
from intone.client.tools.turns import TurnMeasures, measure_turn
from intone.client.wav import write_wav
from intone.proto import speech_pb2

_EXAMPLES = """\
The text of every turn is sent as a language model writes it, word by word, on one stream. A player in real time listens
and now and then barges in: it drops what it has not played, and tells the server how much was heard. At the end a table
says for each turn who spoke and why, when the first sound and the first word were heard after the first word of the
text was sent, how much of that wait a filler covered, and how long after a barge-in the server had stopped.

a script is TOML:
  title = "A short call"
  [[turn]]
  text = "Hello, how can I help you?"
  [[turn]]
  text = "That takes a while to explain, so let me begin at the beginning."
  emotion = "calm"                  as for --emotion, or eight numbers; a tag in the text works too: [happy]
  pause_ms = 400                    before it; default 600, and 0 after a barge-in
  interrupt_after_ms = 1500         barge in after so much of it was heard
  words_per_second = 8              default 25; or characters_per_second; 0 words sends the text whole
  voice = "ada"                     also: language = "zh" (left out where no trained engine speaks it)
  options = { steps = 6, seed = 1 } as in `intone say`: steps, guidance, seed, speed, min_audio_ms, max_audio_ms

examples:
  intone chat                                        the built-in conversation
  intone chat --picture chat.png --save chat.wav     keep what it looked and sounded like
  intone chat call.toml --play --filler eager        hear it
  intone chat --print-script > mine.toml             begin a script of your own
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `chat`."""
    parser = subcommands.add_parser(
        "chat",
        help="perform a scripted conversation, with barge-ins, and draw it",
        description="Perform a conversation in real time: emotions, fillers, pauses, interruptions.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", nargs="?", type=Path, metavar="SCRIPT.toml", help="default: a built-in conversation")
    parser.add_argument("--play", action="store_true", help="play what is heard (pip install 'intone[play]')")
    parser.add_argument("--save", type=Path, metavar="FILE.wav", help="write what is heard, silences and cuts included")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it (pip install 'intone[plot]')")
    parser.add_argument("--print-script", action="store_true", help="print the built-in script and do nothing else")
    add_json(parser, "every event and the table, one line each,")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=chat)


class _Device:
    """The sound device, opened when the first audio says at what rate; see `chat.Speaker`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._player: Player | None = None

    @property
    def played_ms(self) -> int:
        return 0 if self._player is None else self._player.played_ms

    def write(self, chunk: Audio) -> None:
        if self._player is None:
            self._player = Player(chunk.format.sample_rate_hz)
            self._stack.callback(self._player.close)
        self._player.buffer.write(chunk.samples)

    def drop(self) -> None:
        if self._player is not None:
            self._player.buffer.drop()


async def chat(arguments: argparse.Namespace) -> int:
    """Perform it; 0 when every turn was spoken or interrupted as written, 1 when one was not."""
    if arguments.print_script:
        sys.stdout.write(EXAMPLE_SCRIPT)
        return 0
    script = parse_script(EXAMPLE_SCRIPT if arguments.script is None else arguments.script.read_text("utf8"))
    wanted = settings(arguments, real_time=True)
    async with client(arguments) as connection:
        performed = await perform(connection, script, wanted, play=arguments.play, as_json=arguments.json)
    measures = tell_turns(performed, as_json=arguments.json)
    if arguments.save is not None:
        save_heard(performed, arguments.save)
    if arguments.picture is not None:
        draw_conversation(performed, arguments.picture, title=script.title)
    return 0 if all(turn.outcome in ("completed", "interrupted", "skipped") for turn in measures) else 1


async def perform(
    connection: SpeechClient, script: Script, wanted: Settings, *, play: bool = False, as_json: bool = False
) -> Chat:
    """Perform a script on a stream of its own, and tell what happens meanwhile.

    Args:
        wanted: settings of the stream.
        play: on the sound device, too.
        as_json: for programs.

    Raises:
        IntoneCallError: the call has failed.
    """
    performed = Chat(Listener(time.monotonic))
    narrator = Narrator(as_json=as_json, now_s=time.monotonic)
    info = await connection.server_info()
    with ExitStack() as stack:
        performance = Performance(
            performed,
            time.monotonic,
            speaker=_Device(stack) if play else None,
            languages=languages(info),
            on_turn=_quiet if as_json else _announcer(script),
            on_event=narrator.tell,
        )
        async with connection.converse(wanted, trace=performed.trace) as conversation:
            await performance.perform(conversation, script)
    return performed


def languages(info: speech_pb2.GetServerInfoResponse) -> list[str]:
    """What the server's engines were trained to speak; BCP 47 codes."""
    return sorted({code for engine in info.engines if engine.trained for code in engine.languages})


def _announcer(script: Script) -> Callable[[Performed], None]:
    console = Console(stderr=True, highlight=False)
    if script.title:
        console.print(Text(script.title, style="bold underline"))

    def announce(performed: Performed) -> None:
        if performed.barge_in_s is not None:
            console.print("          ✂ barge-in", style="bold red")
            return
        note = Text(f"  ({performed.skipped})" if performed.skipped else "", style="dim")
        console.print(Text(f"\n{performed.number}. ", style="bold") + Text(performed.turn.text) + note, soft_wrap=True)

    return announce


def _quiet(performed: Performed) -> None:
    """For programs, which read the events."""


def tell_turns(performed: Chat, *, as_json: bool = False) -> list[TurnMeasures]:
    """Print the table on standard output; returns what is in it."""
    measures = [measure_turn(performed, turn) for turn in performed.turns]
    wall_s = max(performed.listener.end_s, performed.start_s) - performed.start_s
    if as_json:
        write_json(turns_to_json(measures, wall_s))
    else:
        Console().print(turns_table(measures, wall_s))
    return measures


def save_heard(performed: Chat, path: Path) -> None:
    """Write what a listener heard from the first text on, as 16-bit PCM; nothing where nothing was heard.

    Raises:
        OSError: the file cannot be written.
    """
    heard = performed.listener.heard()
    if heard:
        samples = np.clip(performed.listener.recording(performed.start_s), -1, 32767 / 32768)
        wav_format = Format("pcm_s16le", heard[0].chunk.format.sample_rate_hz)
        write_wav(path, wav_format, np.round(samples * 32768).astype("<i2").tobytes())
