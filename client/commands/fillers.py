"""`intone voices fillers`: list the fillers of a voice, add recorded ones, or remove them."""

import argparse
from pathlib import Path

from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.emotions import EMOTION_WEIGHT_NAMES
from intone.client.json_values import to_json
from intone.client.tools.console import Console
from intone.client.tools.json_output import write_json
from intone.client.voices import AsyncVoices, FillerClip, Voice

_EPILOG = """\
The server renders fillers for every voice in the background, after the voice was created. Added recordings (WAV, FLAC,
Ogg or MP3 files of 0.1 to 3 s) replace those for the same emotion and language. Once they are removed, the server
renders its own again.

examples:
  intone voices fillers ada
  intone voices fillers ada --add hmm.wav --text "Hmm" --language en
  intone voices fillers default --add a.wav b.wav --text "哎呀" "天啊" --emotion surprised --language zh
  intone voices fillers ada --remove --language zh
"""


def add_action(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `voices fillers`."""
    parser = actions.add_parser(
        "fillers",
        help="list, add and remove fillers of a voice",
        description="List, add or remove fillers of a voice: interjections that cover a wait.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of the voice; the built-in one is called default")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="add recordings")
    change.add_argument(
        "--remove", action="store_true", help="remove added recordings: all, or those that match the options below"
    )
    parser.add_argument("--text", nargs="+", default=[], metavar="TEXT", help="what each recording says")
    parser.add_argument(
        "--emotion", choices=("neutral", *EMOTION_WEIGHT_NAMES), help="of the recordings; default of --add: neutral"
    )
    parser.add_argument("--language", metavar="CODE", help="of the recordings, such as zh; default of --add: en")
    add_json(parser, "the fillers, one per line,")
    add_connection(parser)
    parser.set_defaults(command=fillers)


async def fillers(arguments: argparse.Namespace) -> int:
    """Add or remove recordings if that was asked for, then list the fillers.

    Raises:
        ValueError: the numbers of recordings and texts differ.
        OSError: a recording cannot be read.
    """
    clips = [] if arguments.remove else _clips(arguments)
    async with make_client(arguments) as client:
        if clips:
            voice = await client.voices.add_fillers(arguments.name, clips)
        elif arguments.remove:
            voice = await _remove(client.voices, arguments)
        else:
            voice = await client.voices.get(arguments.name)
    if arguments.json:
        for filler in voice.fillers:
            write_json(to_json(filler))
    elif voice.fillers:
        Console().print(_table(voice))
    else:
        Console().print(
            f"{voice.name} has no fillers: they are still being rendered, or turned off",
            markup=False,
        )
    return 0


async def _remove(voices: AsyncVoices, arguments: argparse.Namespace) -> Voice:
    """Remove the fillers of each text, or all that match the other options."""
    removed_count = 0
    for text in arguments.text or [""]:
        removed = await voices.remove_fillers(
            arguments.name, emotion=arguments.emotion or "", language=arguments.language or "", text=text
        )
        removed_count += removed.removed_count
    Console(stderr=True).print(f"removed {removed_count} fillers")
    return removed.voice


def _clips(arguments: argparse.Namespace) -> list[FillerClip]:
    if len(arguments.text) != len(arguments.add):
        raise ValueError(
            f"{len(arguments.add)} recordings but {len(arguments.text)} texts: --text needs one for each file"
        )
    language, emotion = arguments.language or "en", arguments.emotion or "neutral"
    return [
        FillerClip(text, language, path.read_bytes(), emotion)
        for path, text in zip(arguments.add, arguments.text, strict=True)
    ]


def _table(voice: Voice) -> Table:
    table = Table("text", "emotion", "language", title=f"Fillers of {voice.name}", title_justify="left")
    table.add_column("duration", justify="right")
    table.add_column("source")
    for filler in voice.fillers:
        source = filler.engine or "recording"
        table.add_row(filler.text, filler.emotion, filler.language, f"{filler.duration_ms} ms", source)
    return table
