"""`intone voices`: list, show, create and delete the voices of a server. `fillers` has a module of its own."""

import argparse
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from intone.client.commands import fillers
from intone.client.commands.arguments import add_connection, add_json, argument_type, make_client
from intone.client.json_values import to_json
from intone.client.tools.console import Console
from intone.client.tools.json_output import write_json
from intone.client.voices import EngineSupport, Voice

_EPILOG = """\
examples:
  intone voices list
  intone voices create ada recording.wav --transcript "The text spoken in the recording." --language en
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
    show.add_argument("name", metavar="NAME")
    add_json(show, "the voice")
    show.set_defaults(command=show_voice)

    create = _add_create(actions)
    delete = actions.add_parser(
        "delete", help="delete a voice", description="Delete a voice.", epilog="example: intone voices delete ada"
    )
    delete.add_argument("name", metavar="NAME")
    delete.set_defaults(command=delete_voice)
    share = actions.add_parser(
        "share",
        help="let other callers speak with a voice",
        description="Say who else may see a voice of yours and speak with it. Those who are not named no longer may.",
        epilog="examples:\n  intone voices share ada agent studio\n  intone voices share ada   # with nobody any more",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    share.add_argument("name", metavar="NAME")
    share.add_argument("shared_with", nargs="*", metavar="CALLER", help="name of a caller, as the server knows it")
    add_json(share, "the voice")
    share.set_defaults(command=share_voice)
    for action in (listing, show, create, share, delete):
        add_connection(action)
    fillers.add_action(actions)


def _add_create(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    create = actions.add_parser(
        "create",
        help="create a voice from a recording",
        description="Create a voice from a recording.",
        epilog='example: intone voices create ada recording.wav --transcript "The text spoken in the recording."',
    )
    create.add_argument("name", metavar="NAME", help="1 to 64 letters and digits of any script, '-', '_' and '.'")
    create.add_argument("recording", type=Path, metavar="FILE", help="WAV, FLAC, Ogg or MP3 file with one speaker")
    create.add_argument("--transcript", default="", help="text spoken in it; makes the voice more similar")
    create.add_argument("--replace", action="store_true", help="replace an existing voice of that name")
    create.add_argument(
        "--language",
        dest="languages",
        action="append",
        default=[],
        metavar="CODE",
        help="language for which it is meant, such as en; repeatable. The voice speaks every language of its engines",
    )
    create.add_argument("--description", default="", metavar="TEXT", help="what the voice is like")
    create.add_argument(
        "--label",
        dest="labels",
        type=argument_type(_label),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label of your own; repeatable",
    )
    add_json(create, "the voice")
    create.set_defaults(command=create_voice)
    return create


async def list_voices(arguments: argparse.Namespace) -> int:
    """Print all voices."""
    async with make_client(arguments) as client:
        voices = await client.voices.list()
    if arguments.json:
        for voice in voices:
            write_json(to_json(voice))
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
                languages=arguments.languages,
                description=arguments.description,
                labels=dict(arguments.labels),
                progress=lambda sent, total: bar.update(task, completed=sent, total=total),
            )
    for notice in created.notices:
        engine = "" if notice.message.startswith(notice.engine) else f"{notice.engine}: "
        Console(stderr=True).print(f"notice: {engine}{notice.message} [{notice.code}]", style="yellow", markup=False)
    _show(created.voice, as_json=arguments.json)
    return 0


async def share_voice(arguments: argparse.Namespace) -> int:
    """Say who may speak with a voice."""
    async with make_client(arguments) as client:
        voice = await client.voices.share(arguments.name, arguments.shared_with)
    _show(voice, as_json=arguments.json)
    return 0


async def delete_voice(arguments: argparse.Namespace) -> int:
    """Delete a voice."""
    async with make_client(arguments) as client:
        await client.voices.delete(arguments.name)
    Console(stderr=True).print(f"deleted {arguments.name}")
    return 0


def _show(voice: Voice, *, as_json: bool) -> None:
    if as_json:
        write_json(to_json(voice))
        return
    table = Table(show_header=False)
    for name, value in _rows(voice):
        table.add_row(name, Text(value))
    Console().print(table)


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise ValueError("write KEY=VALUE, such as style=calm")
    return key, value


def _rows(voice: Voice) -> list[tuple[str, str]]:
    created = voice.create_time
    rows = [
        ("name", voice.name),
        ("description", voice.description),
        ("languages", " ".join(voice.languages)),
        ("engines", ", ".join(_engine(support) for support in voice.engines if support.fidelity != "substituted")),
        ("recording", "" if voice.recording_ms is None else f"{voice.recording_ms / 1000:.2f} s"),
        ("transcript", voice.transcript),
        ("owner", voice.owner),
        ("shared with", ", ".join(voice.shared_with)),
        ("created", "built in" if created is None else created.strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("content id", voice.content_id),
        ("labels", ", ".join(f"{key}={value}" for key, value in voice.labels.items())),
        ("fillers", ", ".join(dict.fromkeys(filler.text for filler in voice.fillers))),
    ]
    return [(name, value or "–") for name, value in rows]


def _engine(support: EngineSupport) -> str:
    """An engine that has the voice."""
    return support.engine if support.fidelity == "native" else f"{support.engine} ({support.fidelity})"


def _table(voices: list[Voice]) -> Table:
    owner = ("owner",) if any(voice.owner for voice in voices) else ()
    columns = ("name", "description", "languages", "engines", "recording", *owner, "created")
    table = Table(*columns)
    for voice in voices:
        rows = dict(_rows(voice))
        table.add_row(*(Text(rows[column]) for column in columns))
    return table
