"""`intone voices`: list, show, create and delete the voices of a server. `fillers` has a module of its own."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from intone.client.commands import fillers
from intone.client.commands.arguments import add_connection, add_json, make_client
from intone.client.tools.json_output import write_message
from intone.proto import voice_pb2

_EPILOG = """\
examples:
  intone voices list
  intone voices create ada recording.wav --transcript "The text spoken in the recording."
  intone say "Hello, it is me." --voice ada --play
  intone voices fillers ada
  intone voices delete ada
"""


def add_command(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `voices`."""
    voices = subcommands.add_parser(
        "voices",
        help="list, show, create and delete voices and their fillers",
        description="Manage the voices of a server. A voice is created from a recording and then used by its name.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = voices.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser(
        "list", help="list all voices", description="List all voices.", epilog="example: intone voices list"
    )
    add_json(listing, "the voices, one per line,")
    listing.set_defaults(command=list_voices)

    show = actions.add_parser(
        "show",
        help="show one voice",
        description="Show the properties of a voice.",
        epilog="example: intone voices show ada",
    )
    show.add_argument("name")
    add_json(show, "the voice")
    show.set_defaults(command=show_voice)

    create = actions.add_parser(
        "create",
        help="create a voice from a recording",
        description="Create a voice from a recording.",
        epilog='example: intone voices create ada recording.wav --transcript "The text spoken in the recording."',
    )
    create.add_argument("name", help="1 to 64 letters, digits, '-', '_' and '.'")
    create.add_argument("recording", type=Path, metavar="FILE", help="WAV, FLAC or Ogg file with one speaker")
    create.add_argument("--transcript", default="", help="text spoken in it; makes the voice more similar")
    create.add_argument("--replace", action="store_true", help="replace an existing voice of that name")
    add_json(create, "the voice")
    create.set_defaults(command=create_voice)

    delete = actions.add_parser(
        "delete", help="delete a voice", description="Delete a voice.", epilog="example: intone voices delete ada"
    )
    delete.add_argument("name")
    delete.set_defaults(command=delete_voice)
    for action in (listing, show, create, delete):
        add_connection(action)
    fillers.add_action(actions)


async def list_voices(arguments: argparse.Namespace) -> int:
    """Print all voices."""
    async with make_client(arguments) as client:
        voices = await client.voices.list()
    if arguments.json:
        for voice in voices:
            write_message(voice)
    else:
        Console().print(_table(voices))
    return 0


async def show_voice(arguments: argparse.Namespace) -> int:
    """Print the properties of a voice."""
    async with make_client(arguments) as client:
        voice = await client.voices.get(arguments.name)
    _show(voice, as_json=arguments.json)
    return 0


async def create_voice(arguments: argparse.Namespace) -> int:
    """Upload a recording, with a progress bar on standard error."""
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("upload", total=None)
        async with make_client(arguments) as client:
            created = await client.voices.create(
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
    """Delete a voice."""
    async with make_client(arguments) as client:
        await client.voices.delete(arguments.name)
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
        ("engines", ", ".join(voice.engines) or "none of the loaded ones"),
        ("recording", f"{voice.recording_ms / 1000:.2f} s" if voice.recording_ms else "–"),
        ("transcript", voice.transcript or "–"),
        ("created", created + (" UTC" if voice.HasField("create_time") else "")),
        ("content id", voice.content_id or "–"),
        ("fillers", ", ".join(dict.fromkeys(filler.text for filler in voice.fillers)) or "–"),
    ]


def _table(voices: list[voice_pb2.Voice]) -> Table:
    table = Table("name", "engines", "recording", "created")
    for voice in voices:
        rows = dict(_rows(voice))
        table.add_row(rows["name"], rows["engines"], rows["recording"], rows["created"])
    return table
