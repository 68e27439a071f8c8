"""`intone say`: speak a text, or standard input as it arrives."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

from intone.client.commands.arguments import (
    add_connection,
    add_json,
    add_speech,
    check_output,
    make_client,
    stream_settings,
)
from intone.client.commands.audio_outputs import AudioOutputs
from intone.client.commands.stdin_text import read_stdin
from intone.client.conversation import report_playback
from intone.client.errors import IntoneError
from intone.client.events import AudioChunk
from intone.client.playback import require_miniaudio
from intone.client.text import TextLike
from intone.client.tools.console import Console
from intone.client.tools.drawing import require_matplotlib
from intone.client.tools.event_printer import EventPrinter
from intone.client.tools.utterance_picture import draw_utterance
from intone.client.utterance import AsyncUtterance

_EPILOG = """\
With --play, or with --filler auto or eager, the speech is --live; otherwise nobody listens yet, and it is --offline.
Ctrl-C interrupts the speech and prints what was not heard.

examples:
  intone say "Good morning." --out morning.wav
  intone say "I cannot believe it!" --emotion surprised:0.9 --play
  intone say "我有2个苹果。" --language zh --speed 0.9 --volume -6 --play
  intone say "GIF or SQL?" --pronounce GIF=jiff --pronounce 'SQL=/ˈsiːkwəl/' --play
  ollama run llama3 "Tell me a story" | intone say - --play     speak text while it is written
  intone say "On the phone." --rate 8000 --encoding mulaw --out phone.wav
  intone say "Through a pipe." --rate 24000 --out - | aplay -f S16_LE -r 24000
  intone say "Print every event." --json | jq .
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `say`."""
    parser = subcommands.add_parser(
        "say",
        usage="%(prog)s [options] TEXT|-",
        help="speak a text or standard input",
        description="Speak a text. With -, text is read from standard input and spoken as it arrives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="+", metavar="TEXT|-", help="text to speak; - reads standard input")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, metavar="FILE.wav", help="write the audio; - writes headerless samples to standard output"
    )
    output.add_argument("--play", action="store_true", help="play the audio as it arrives (pip install 'intone[play]')")
    output.add_argument("--picture", type=Path, metavar="FILE.png", help="draw the timing (pip install 'intone[plot]')")
    add_json(output, "every event and the latency report, one per line,")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=say)


async def say(arguments: argparse.Namespace) -> int:
    """Speak; 0 if the text was spoken to its end, 1 if not, 130 if the user interrupted."""
    _check(arguments)
    printer = EventPrinter(as_json=arguments.json, clock=time.monotonic)
    live = arguments.play or arguments.filler in ("auto", "eager")
    settings = stream_settings(arguments, real_time=arguments.play, service_class="live" if live else "offline")
    async with (
        make_client(arguments) as client,
        client.conversation(settings, on_event=printer.print_event) as talk,
    ):
        with AudioOutputs(talk.configured.format, arguments.out, play=arguments.play) as outputs:
            utterance = talk.utterance(id="say")
            async with _interrupted_by_ctrl_c(utterance, outputs), report_playback(talk, lambda: outputs.position):
                await _speak(utterance, _text(arguments.text, utterance), outputs)
    speech = utterance.speech
    printer.print_report(speech)
    if arguments.picture is not None and speech.chunks:
        draw_utterance(speech, arguments.picture)
    if not arguments.json:
        _print_files(arguments)
    if utterance.interrupted:
        return 130
    return 0 if speech.done is not None and speech.done.reason in ("completed", "empty") else 1


def _check(arguments: argparse.Namespace) -> None:
    """Check the outputs before anything is spoken.

    Raises:
        ValueError: two outputs share standard output, or the format of the file is unknown.
        OSError: a file cannot be written.
        MissingExtraError: the picture needs matplotlib, or playing miniaudio.
    """
    if arguments.json and arguments.out == Path("-"):
        raise ValueError("--json and --out - both write to standard output: use only one of them")
    if arguments.out is not None and arguments.out.suffix.lower() not in ("", ".wav"):
        raise ValueError(f"{arguments.out}: --out writes WAV files: name it {arguments.out.with_suffix('.wav')}")
    for path in (arguments.out, arguments.picture):
        check_output(path)
    if arguments.picture is not None:
        require_matplotlib()
    if arguments.play:
        require_miniaudio()


def _print_files(arguments: argparse.Namespace) -> None:
    console = Console(stderr=True, style="dim", highlight=False)
    written = [str(path) for path in (arguments.out, arguments.picture) if path is not None and path != Path("-")]
    if written:
        console.print(f"wrote {' and '.join(written)}", markup=False, soft_wrap=True)
    elif arguments.out is None and not arguments.play:
        console.print("The audio was not saved: use --out FILE.wav or --play.")


async def _speak(utterance: AsyncUtterance, text: TextLike, outputs: AudioOutputs) -> None:
    """Speak a text and wait until it was played to its end, or interrupted."""
    utterance.speak(text)
    async for event in utterance.events():
        if isinstance(event, AudioChunk) and not utterance.interrupted:
            outputs.write(event)
    await outputs.drain()


def _text(words: list[str], utterance: AsyncUtterance) -> TextLike:
    return _stdin_text(utterance) if words == ["-"] else " ".join(words)


async def _stdin_text(utterance: AsyncUtterance) -> AsyncIterator[str]:
    """Standard input. On a terminal, each line is flushed, so that it is spoken even if no sentence ends there."""
    async with aclosing(read_stdin()) as texts:
        async for text in texts:
            yield text
            if sys.stdin.isatty() and text.endswith("\n"):
                await utterance.flush()


@asynccontextmanager
async def _interrupted_by_ctrl_c(utterance: AsyncUtterance, outputs: AudioOutputs) -> AsyncIterator[None]:
    """Interrupt the utterance on the first Ctrl-C, so that the server reports what was heard; exit on the second."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    interrupting: list[asyncio.Task[None]] = []

    async def interrupt() -> None:
        with suppress(IntoneError):  # the reader gets the same error
            await utterance.interrupt(outputs.drop())

    def pressed() -> None:
        if interrupting:
            main.cancel()
        else:
            Console(stderr=True).print("stopping; press Ctrl-C again to exit at once", style="dim")
            interrupting.append(loop.create_task(interrupt()))

    with suppress(NotImplementedError):  # event loops on Windows have no signal handlers; Ctrl-C then exits at once
        loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        yield
        await asyncio.gather(*interrupting)  # its answer says what was heard
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        for task in interrupting:
            task.cancel()
