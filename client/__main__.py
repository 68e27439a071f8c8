"""The command `intone`: parses, runs, and turns what went wrong into words and an exit code."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version

import grpc
from rich.console import Console

from intone.client.commands import bench, chat, emotion, info, say, voices
from intone.client.errors import IntoneCallError
from intone.client.extras import MissingExtraError

_DESCRIPTION = """\
Speak through an intone server: text goes in while it is written, speech comes out while it is made.
"""

_EPILOG = """\
start here:
  intone-server                                     start a server on this machine
  intone say "Hello there." --out hello.wav         speak into a file
  intone say --help                                 emotions, voices, pipes, playing
  intone chat --picture chat.png                    a conversation with emotions and barge-ins, drawn

exit codes:
  0 done   1 refused or failed   2 wrong use   3 server not reachable   130 interrupted

environment:
  INTONE_SERVER  host:port of the server            INTONE_TOKEN  bearer token
"""

_HINTS = {
    grpc.StatusCode.UNAVAILABLE: "Is the server running? Start one with `intone-server`, or name another: --server.",
    grpc.StatusCode.UNAUTHENTICATED: "The server wants a token: set INTONE_TOKEN or use --token.",
    grpc.StatusCode.NOT_FOUND: "`intone voices list` shows the voices that there are.",
    grpc.StatusCode.ALREADY_EXISTS: "Use --replace to take its place.",
    grpc.StatusCode.UNIMPLEMENTED: "This server does not offer it; `intone info` shows its version.",
}


def build_parser() -> argparse.ArgumentParser:
    """Everything `intone` understands."""
    parser = argparse.ArgumentParser(
        "intone", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"intone {version('intone')}")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (say, chat, voices, emotion, info, bench):
        command.add_command(subcommands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        return int(asyncio.run(arguments.command(arguments)))
    except IntoneCallError as error:
        return _complain(error, arguments.server)
    except (MissingExtraError, OSError) as error:
        _error(str(error))
        return 1
    except ValueError as error:
        _error(str(error))
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _complain(error: IntoneCallError, server: str) -> int:
    unreachable = error.code is grpc.StatusCode.UNAVAILABLE
    _error(f"{server} is not reachable: {error.message}" if unreachable else f"{error.code.name}: {error.message}")
    console = Console(stderr=True, highlight=False)
    for violation in error.unsaid:
        console.print(f"  {violation}", markup=False, soft_wrap=True)
    if error.retry_after_s is not None:
        console.print(f"Try again in {error.retry_after_s:.1f} s.")
    if error.code in _HINTS:
        console.print(_HINTS[error.code], style="dim", markup=False, soft_wrap=True)
    return 3 if unreachable else 1


def _error(message: str) -> None:
    Console(stderr=True, highlight=False).print(f"error: {message}", style="red", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
