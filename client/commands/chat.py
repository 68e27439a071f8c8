"""`intone chat`: run a scripted conversation in real time, with barge-ins."""

import argparse
import asyncio
import sys
from pathlib import Path

from intone.client.commands.arguments import (
    add_connection,
    add_json,
    add_speech,
    check_output,
    make_client,
    stream_settings,
)
from intone.client.playback import require_miniaudio
from intone.client.tools.chat import print_turns, run_script, save_heard
from intone.client.tools.conversation_picture import draw_conversation
from intone.client.tools.drawing import require_matplotlib
from intone.client.tools.example_script import EXAMPLE_SCRIPT
from intone.client.tools.script import parse_script

_EPILOG = """\
The text of every turn is sent word by word, as a language model writes it, on one stream. A simulated listener plays
the audio in real time and barges in where the script says so. At the end a table shows, for each turn: the engine and
why it was chosen; the time from its start to the first sound and to the first word; how much of that wait a filler
covered; and how long the server took to stop after a barge-in.

a script is a TOML file:
  title = "A short call"
  [[turn]]
  text = "Hello, how can I help you?"
  [[turn]]
  text = "That takes a while to explain, so let me begin at the beginning."
  pause_ms = 400                    pause before the turn; default 600, and 0 after a barge-in
  think_ms = 1500                   wait for the first word: a slow language model, or a tool
  cover_after_ms = 300              a filler covers a word that is later than this
  interrupt_after_ms = 1500         barge in after this much of the turn was heard
  words_per_second = 8              default 25; or characters_per_second; 0 words sends the text whole
  emotion = "calm"                  as for --emotion, or eight numbers; tags in the text work too: [happy]
  voice = "ada"                     also engine, filler, text_format, normalization, speed, volume_db, seed
  language = "zh"                   the turn is skipped if no trained engine of the server speaks it
  engine_parameters = { steps = 6 } see `intone info`

examples:
  intone chat                                        run the built-in script
  intone chat --picture chat.png --save chat.wav     draw it and save what was heard
  intone chat call.toml --play --filler eager        run a script and play it
  intone chat --print-script > mine.toml             start a script of your own
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `chat`."""
    parser = subcommands.add_parser(
        "chat",
        usage="%(prog)s [options] [SCRIPT.toml]",
        help="run a scripted conversation with barge-ins",
        description="Run a scripted conversation in real time, with emotions, fillers, pauses and barge-ins.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("script", nargs="?", type=Path, metavar="SCRIPT.toml", help="default: a built-in script")
    parser.add_argument("--play", action="store_true", help="play what is heard (pip install 'intone[play]')")
    parser.add_argument("--save", type=Path, metavar="FILE.wav", help="write what is heard, silence included")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw the conversation (pip install 'intone[plot]')"
    )
    parser.add_argument(
        "--any-clip",
        action="store_true",
        help='let the script send recordings (emotion = "@clip.wav") from any folder, not only from its own',
    )
    parser.add_argument("--print-script", action="store_true", help="print the built-in script and exit")
    add_json(parser, "every event and the final table, one per line,")
    add_speech(parser)
    add_connection(parser)
    parser.set_defaults(command=chat)


async def chat(arguments: argparse.Namespace) -> int:
    """Run the script; 0 if no turn was rejected or has failed, 1 otherwise."""
    if arguments.print_script:
        sys.stdout.write(EXAMPLE_SCRIPT)
        return 0
    for path in (arguments.save, arguments.picture):
        check_output(path)
    if arguments.picture is not None:
        require_matplotlib()
    if arguments.play:
        require_miniaudio()
    if arguments.script is None:
        script = parse_script(EXAMPLE_SCRIPT)
    else:
        text = await asyncio.to_thread(arguments.script.read_text, "utf8")
        script = parse_script(text, arguments.script.parent, any_clip=arguments.any_clip)
    settings = stream_settings(arguments, real_time=True)
    async with make_client(arguments) as client:
        run = await run_script(client, script, settings, play=arguments.play, as_json=arguments.json)
    measures = print_turns(run, as_json=arguments.json)
    if arguments.save is not None:
        save_heard(run, arguments.save)
    if arguments.picture is not None:
        draw_conversation(run, arguments.picture, title=script.title)
    return 0 if all(turn.outcome in ("completed", "empty", "interrupted", "skipped") for turn in measures) else 1
