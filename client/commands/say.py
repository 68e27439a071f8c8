"""`intone say`: speak a text, or standard input as it arrives."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from intone.client.commands.arguments import add_connection, add_json, add_speech, make_client, stream_settings
from intone.client.commands.audio_outputs import AudioOutputs
from intone.client.commands.stdin_text import read_stdin
from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import Done, Interrupted
from intone.client.playback_progress import report_playback_progress
from intone.client.speaking import TextLike, speak
from intone.client.speech import ConversationLog
from intone.client.tools.event_printer import EventPrinter
from intone.client.tools.utterance_picture import draw_utterance

_UTTERANCE_ID = "say"

_EPILOG = """\
examples:
  intone say "Good morning." --out morning.wav
  intone say "I cannot believe it!" --emotion surprised:0.9 --play
  ollama run llama3 "Tell me a story" | intone say - --play     speak text while it is written
  intone say "On the phone." --rate 8000 --encoding mulaw --out phone.wav
  intone say "Through a pipe." --rate 24000 --out - | aplay -f S16_LE -r 24000
  intone say "Print every event." --json | jq .
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `say`."""
    parser = subcommands.add_parser(
        "say",
        help="speak a text or standard input",
        description="Speak a text. With -, text is read from standard input and spoken as it arrives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT|-", help="text to speak; - reads standard input")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.wav", help="write the audio; - writes headerless samples to standard output"
    )
    parser.add_argument("--play", action="store_true", help="play the audio as it arrives (pip install 'intone[play]')")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the timing (pip install 'intone[plot]')")
    add_json(parser, "every event and the latency report, one per line,")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=say)


async def say(arguments: argparse.Namespace) -> int:
    """Speak; 0 if the text was spoken to its end, 1 if not, 130 if the user interrupted."""
    if arguments.json and arguments.out == Path("-"):
        raise ValueError("--json and --out - both write to standard output: use only one of them")
    log = ConversationLog()
    printer = EventPrinter(as_json=arguments.json, clock=time.monotonic)
    settings = stream_settings(arguments, real_time=arguments.play)
    with AudioOutputs(arguments.out, play=arguments.play) as outputs:
        async with make_client(arguments) as client, client.converse(settings, log=log) as conversation:
            with _cancel_on_ctrl_c(conversation, outputs):
                await _speak(conversation, _text(arguments.text, conversation), printer, outputs)
                ended = log.speech(_UTTERANCE_ID).ended
                if isinstance(ended, Done):
                    await outputs.drain()
    speech = log.speech(_UTTERANCE_ID)
    printer.print_report(speech)
    if arguments.picture is not None and speech.chunks:
        draw_utterance(speech, arguments.picture)
    if arguments.out is None and not arguments.play and not arguments.json:
        Console(stderr=True).print("The audio was not saved: use --out FILE.wav or --play.", style="dim")
    if isinstance(ended, Interrupted):
        return 130
    return 0 if isinstance(ended, Done) and ended.reason == "completed" else 1


async def _speak(conversation: Conversation, text: TextLike, printer: EventPrinter, outputs: AudioOutputs) -> None:
    speaking = aclosing(speak(conversation, text, _UTTERANCE_ID))
    async with report_playback_progress(conversation, lambda: outputs.played_ms), speaking as events:
        async for event in events:
            outputs.handle(event)
            printer.print_event(event)


def _text(words: list[str], conversation: Conversation) -> TextLike:
    return _stdin_text(conversation) if words == ["-"] else " ".join(words)


async def _stdin_text(conversation: Conversation) -> AsyncIterator[str]:
    """Standard input. On a terminal, each line is flushed, so that it is spoken even if no sentence ends there."""
    async with aclosing(read_stdin()) as texts:
        async for text in texts:
            yield text
            if sys.stdin.isatty() and text.endswith("\n"):
                await conversation.flush()


@contextmanager
def _cancel_on_ctrl_c(conversation: Conversation, outputs: AudioOutputs) -> Iterator[None]:
    """Cancel the utterance on the first Ctrl-C, so that the server reports what was heard; exit on the second."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    cancelling: list[asyncio.Task[None]] = []

    async def cancel() -> None:
        if outputs.player is not None:
            outputs.player.buffer.drop()
        with suppress(IntoneCallError):  # the reader gets the same error
            await conversation.cancel(_UTTERANCE_ID, outputs.played_ms)

    def interrupt() -> None:
        if cancelling:
            main.cancel()
        else:
            Console(stderr=True).print("stopping; press Ctrl-C again to exit at once", style="dim")
            cancelling.append(loop.create_task(cancel()))

    with suppress(NotImplementedError):  # event loops on Windows have no signal handlers; Ctrl-C then exits at once
        loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        for task in cancelling:
            task.cancel()
