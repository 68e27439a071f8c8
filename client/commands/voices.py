"""`intone voices`: list, show, create and delete the voices of a server; `fillers` has a file of its own."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from intone.client.commands import fillers
from intone.client.commands.arguments import add_connection, add_json, client
from intone.client.commands.narrator import write_message
from intone.proto import voice_pb2

_EXAMPLES = """\
examples:
  intone voices list
  intone voices create ada recording.wav --transcript "The words that are spoken in the recording."
  intone say "Hello, it is me." --voice ada --play
  intone voices fillers ada                         what it says while it makes you wait
  intone voices delete ada
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `voices`."""
    voices = subcommands.add_parser(
        "voices",
        help="list, show, create and delete voices and their fillers",
        description="The voices of a server. A voice is made once from a recording and then used by its name.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = voices.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="every voice")
    add_json(listing, "the voices, one line each,")
    listing.set_defaults(command=list_voices)

    show = actions.add_parser("show", help="one voice")
    show.add_argument("name")
    add_json(show, "the voice")
    show.set_defaults(command=show_voice)

    create = actions.add_parser("create", help="make a voice from a recording")
    create.add_argument("name", help="letters, digits, '-', '_' and '.', at most 64")
    create.add_argument("recording", type=Path, metavar="FILE", help="WAV, FLAC or Ogg with one person speaking")
    create.add_argument("--transcript", default="", help="the words spoken in it; with them the likeness is closest")
    create.add_argument("--replace", action="store_true", help="take the place of a voice of that name")
    add_json(create, "the voice")
    create.set_defaults(command=create_voice)

    delete = actions.add_parser("delete", help="delete a voice")
    delete.add_argument("name")
    delete.set_defaults(command=delete_voice)
    for action in (listing, show, create, delete):
        add_connection(action)
    fillers.add_action(actions)


async def list_voices(arguments: argparse.Namespace) -> int:
    """A table of all voices."""
    async with client(arguments) as connection:
        voices = await connection.voices.list()
    if arguments.json:
        for voice in voices:
            write_message(voice)
    else:
        Console().print(_table(voices))
    return 0


async def show_voice(arguments: argparse.Namespace) -> int:
    """Everything about one voice."""
    async with client(arguments) as connection:
        voice = await connection.voices.get(arguments.name)
    _show(voice, as_json=arguments.json)
    return 0


async def create_voice(arguments: argparse.Namespace) -> int:
    """Upload a recording, with a bar on standard error."""
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upload", total=None)
        async with client(arguments) as connection:
            created = await connection.voices.create(
                arguments.recording,
                arguments.name,
                transcript=arguments.transcript,
                replace=arguments.replace,
                progress=lambda sent, total: bar.update(task, completed=sent, total=total),
            )
    for warning in created.warnings:
        Console(stderr=True).print(f"warning: {warning}", style="yellow")
    _show(created.voice, as_json=arguments.json)
    return 0


async def delete_voice(arguments: argparse.Namespace) -> int:
    """Delete, and say so."""
    async with client(arguments) as connection:
        await connection.voices.delete(arguments.name)
    Console(stderr=True).print(f"deleted {arguments.name}")
    return 0


def _show(voice: voice_pb2.Voice, *, as_json: bool) -> None:
    if as_json:
        write_message(voice)
        return
    table = Table(show_header=False)
    for name, value in _rows(voice):
        table.add_row(name, value)
    Console().print(table)


def _rows(voice: voice_pb2.Voice) -> list[tuple[str, str]]:
    created = voice.create_time.ToDatetime().isoformat(" ", "seconds") if voice.HasField("create_time") else "built in"
    return [
        ("name", voice.name),
        ("spoken by", ", ".join(voice.engines) or "no loaded engine"),
        ("recording", f"{voice.recording_ms / 1000:.2f} s" if voice.recording_ms else "–"),
        ("transcript", voice.transcript or "–"),
        ("made", created + (" UTC" if voice.HasField("create_time") else "")),
        ("content", voice.content_id or "–"),
        ("fillers", ", ".join(dict.fromkeys(filler.text for filler in voice.fillers)) or "–"),
    ]


def _table(voices: list[voice_pb2.Voice]) -> Table:
    table = Table("name", "spoken by", "recording", "made")
    for voice in voices:
        rows = dict(_rows(voice))
        table.add_row(rows["name"], rows["spoken by"], rows["recording"], rows["made"])
    return table
