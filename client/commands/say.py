"""`intone say`: speak a text, or standard input while it is being written."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from intone.client.commands.arguments import add_connection, add_json, add_speech, client, settings
from intone.client.commands.narrator import Narrator
from intone.client.commands.sinks import Sinks
from intone.client.commands.stdin import stdin_pieces
from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import Done, Interrupted
from intone.client.progress import playback_reports
from intone.client.speaking import TextLike, speak
from intone.client.speech import Trace
from intone.client.tools.picture import draw_timeline

_UTTERANCE = "say"

_EXAMPLES = """\
examples:
  intone say "Good morning." --out morning.wav
  intone say "I cannot believe it!" --emotion surprised:0.9 --play
  ollama run llama3 "Tell me a story" | intone say - --play     speak while it is written
  intone say "On the phone." --rate 8000 --encoding mulaw --out phone.wav
  intone say "Through a pipe." --out - | aplay -f S16_LE -r 24000
  intone say "Count my milliseconds." --json | jq .
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `say`."""
    parser = subcommands.add_parser(
        "say",
        help="speak a text, or what is piped in, while it is made",
        description="Speak a text. With - the text is read from standard input and spoken while it is being written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT|-", help="what to say; - reads standard input as it arrives")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.wav", help="write the audio; - writes bare samples to standard output"
    )
    parser.add_argument("--play", action="store_true", help="play it while it is made (pip install 'intone[play]')")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw what came when (pip install 'intone[plot]')"
    )
    add_json(parser, "every event and the report, one line each,")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=say)


async def say(arguments: argparse.Namespace) -> int:
    """Speak; 0 when all of it was spoken, 1 when not, 130 when the user interrupted."""
    if arguments.json and arguments.out == Path("-"):
        raise ValueError("--json and --out - both want standard output: choose one")
    trace = Trace()
    narrator = Narrator(as_json=arguments.json, now_s=time.monotonic)
    wanted = settings(arguments, real_time=arguments.play)
    with Sinks(arguments.out, play=arguments.play) as sinks:
        async with client(arguments) as connection, connection.converse(wanted, trace=trace) as conversation:
            with _ctrl_c(conversation, sinks):
                await _talk(conversation, _text(arguments.text, conversation), narrator, sinks)
                ended = trace.speech(_UTTERANCE).ended
                if isinstance(ended, Done):
                    await sinks.drain()
    speech = trace.speech(_UTTERANCE)
    narrator.finish(speech)
    if arguments.picture is not None and speech.chunks:
        draw_timeline(speech, arguments.picture)
    if arguments.out is None and not arguments.play and not arguments.json:
        Console(stderr=True).print("The audio was not kept: use --out FILE.wav or --play.", style="dim")
    if isinstance(ended, Interrupted):
        return 130
    return 0 if isinstance(ended, Done) and ended.reason == "completed" else 1


async def _talk(conversation: Conversation, text: TextLike, narrator: Narrator, sinks: Sinks) -> None:
    speaking = aclosing(speak(conversation, text, _UTTERANCE))
    async with playback_reports(conversation, lambda: sinks.played_ms), speaking as events:
        async for event in events:
            sinks.take(event)
            narrator.tell(event)


def _text(words: list[str], conversation: Conversation) -> TextLike:
    return _typed(conversation) if words == ["-"] else " ".join(words)


async def _typed(conversation: Conversation) -> AsyncIterator[str]:
    """Standard input; at a terminal every line is spoken when it is entered, whether a sentence ends there or not."""
    async with aclosing(stdin_pieces()) as pieces:
        async for piece in pieces:
            yield piece
            if sys.stdin.isatty() and piece.endswith("\n"):
                await conversation.flush()


@contextmanager
def _ctrl_c(conversation: Conversation, sinks: Sinks) -> Iterator[None]:
    """The first Ctrl-C cancels the utterance, so that the server says what was heard; the second leaves at once."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    cancelling: list[asyncio.Task[None]] = []

    async def cancel() -> None:
        if sinks.player is not None:
            sinks.player.buffer.drop()
        with suppress(IntoneCallError):  # the reader hears of it
            await conversation.cancel(_UTTERANCE, sinks.played_ms)

    def interrupt() -> None:
        if cancelling:
            main.cancel()
        else:
            Console(stderr=True).print("stopping; Ctrl-C again leaves at once", style="dim")
            cancelling.append(loop.create_task(cancel()))

    with suppress(NotImplementedError):  # Windows has no signals in the loop: Ctrl-C then leaves at once
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        for task in cancelling:
            task.cancel()
