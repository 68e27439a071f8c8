"""`intone voices fillers`: list the fillers of a voice, or add recorded ones."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.settings import EMOTION_LABELS, wire_name, wire_value
from intone.client.tools.json_output import write_message
from intone.proto import emotion_pb2, voice_pb2

_EPILOG = """\
The server renders fillers for every voice in the background, after the voice was created. Added recordings (WAV, FLAC
or Ogg files of 0.1 to 3 s) replace those for the same emotion and language.

examples:
  intone voices fillers ada
  intone voices fillers ada --add hmm.wav --text "Hmm" --language en
  intone voices fillers default --add a.wav b.wav --text "哎呀" "天啊" --emotion surprised --language zh
"""


def add_action(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `voices fillers`."""
    parser = actions.add_parser(
        "fillers",
        help="list the fillers of a voice, or add some",
        description="List or add fillers of a voice: interjections that cover a wait. See `intone say --filler`.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="name of the voice; the built-in one is called default")
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="recordings to add")
    parser.add_argument("--text", nargs="+", default=[], metavar="TEXT", help="what each recording says")
    parser.add_argument(
        "--emotion", choices=EMOTION_LABELS, default="neutral", help="emotion of the recordings; default: neutral"
    )
    parser.add_argument("--language", default="en", metavar="CODE", help="their language, as BCP 47; default: en")
    add_json(parser, "the fillers, one per line,")
    add_connection(parser)
    parser.set_defaults(command=fillers)


async def fillers(arguments: argparse.Namespace) -> int:
    """Add recordings if there are any, then list the fillers.

    Raises:
        ValueError: the numbers of recordings and texts differ.
        OSError: a recording cannot be read.
    """
    clips = _clips(arguments)
    async with make_client(arguments) as client:
        if clips:
            voice = await client.voices.add_fillers(arguments.name, clips)
        else:
            voice = await client.voices.get(arguments.name)
    if arguments.json:
        for filler in voice.fillers:
            write_message(filler)
    elif voice.fillers:
        Console().print(_table(voice))
    else:
        Console().print(
            f"{voice.name} has no fillers: they are still being rendered, or turned off",
            markup=False,
        )
    return 0


def _clips(arguments: argparse.Namespace) -> list[voice_pb2.FillerClip]:
    if len(arguments.text) != len(arguments.add):
        raise ValueError(
            f"{len(arguments.add)} recordings but {len(arguments.text)} texts: --text needs one for each file"
        )
    emotion = wire_value(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", arguments.emotion)
    return [
        voice_pb2.FillerClip(text=text, emotion=emotion, language=arguments.language, audio=path.read_bytes())
        for path, text in zip(arguments.add, arguments.text, strict=True)
    ]


def _table(voice: voice_pb2.Voice) -> Table:
    table = Table("text", "emotion", "language", title=f"Fillers of {voice.name}", title_justify="left")
    table.add_column("duration", justify="right")
    table.add_column("source")
    for filler in voice.fillers:
        emotion = wire_name(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", filler.emotion)
        source = filler.engine or "recording"
        table.add_row(filler.text, emotion, filler.language, f"{filler.duration_ms} ms", source)
    return table
