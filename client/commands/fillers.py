"""`intone voices fillers`: the interjections that cover a wait in a voice; list them, add recordings of one's own."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from intone.client.commands.arguments import add_connection, add_json, client
from intone.client.commands.narrator import write_message
from intone.client.settings import EMOTION_LABELS, wire_name, wire_value
from intone.proto import emotion_pb2, voice_pb2

_EXAMPLES = """\
The server renders fillers in every voice, one after another after the voice was made. Recordings that are added take
the place of those for the same emotion and language. One is a WAV, FLAC or Ogg file of 0.1 to 3 s.

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
        description="Fillers are interjections that cover a wait; see --filler of `intone say`.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="of the voice; the built-in one is called default")
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FILE", help="recordings to add")
    parser.add_argument("--text", nargs="+", default=[], metavar="WORDS", help="what each of them says")
    parser.add_argument(
        "--emotion", choices=EMOTION_LABELS, default="neutral", help="when to play them; default: neutral"
    )
    parser.add_argument("--language", default="en", metavar="CODE", help="which they go with, as BCP 47; default: en")
    add_json(parser, "the fillers, one line each,")
    add_connection(parser)
    parser.set_defaults(command=fillers)


async def fillers(arguments: argparse.Namespace) -> int:
    """Add what is to be added, then list.

    Raises:
        ValueError: there are not as many texts as recordings.
        OSError: a recording cannot be read.
    """
    clips = _clips(arguments)
    async with client(arguments) as connection:
        if clips:
            voice = await connection.voices.add_fillers(arguments.name, clips)
        else:
            voice = await connection.voices.get(arguments.name)
    if arguments.json:
        for filler in voice.fillers:
            write_message(filler)
    elif voice.fillers:
        Console().print(_table(voice))
    else:
        Console().print(f"{voice.name} has no fillers (yet): waits are silent", markup=False)
    return 0


def _clips(arguments: argparse.Namespace) -> list[voice_pb2.FillerClip]:
    if len(arguments.text) != len(arguments.add):
        raise ValueError(f"{len(arguments.add)} recordings and {len(arguments.text)} texts: --text says what each says")
    emotion = wire_value(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", arguments.emotion)
    return [
        voice_pb2.FillerClip(text=text, emotion=emotion, language=arguments.language, audio=path.read_bytes())
        for path, text in zip(arguments.add, arguments.text, strict=True)
    ]


def _table(voice: voice_pb2.Voice) -> Table:
    table = Table("says", "emotion", "language", title=f"Fillers of {voice.name}", title_justify="left")
    table.add_column("length", justify="right")
    table.add_column("from")
    for filler in voice.fillers:
        emotion = wire_name(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", filler.emotion)
        source = filler.engine or "a recording"
        table.add_row(filler.text, emotion, filler.language, f"{filler.duration_ms} ms", source)
    return table
