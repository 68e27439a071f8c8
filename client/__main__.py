"""The command `intone`: parses the command line, runs a subcommand, prints errors and sets the exit code."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version

import grpc
from rich.console import Console

from intone.client.commands import bench, chat, emotion, info, read, say, voices
from intone.client.errors import IntoneCallError
from intone.client.extras import MissingExtraError

_DESCRIPTION = """\
Client of an intone server: stream text in, get speech back while it is synthesized.
"""

_EPILOG = """\
examples:
  intone-server                                     start a server on this machine
  intone say "Hello there." --out hello.wav         speak into a file
  intone say --help                                 emotions, voices, pipes, playback
  intone chat --picture chat.png                    run and draw a conversation with emotions and barge-ins

exit codes:
  0 success   1 refused or failed   2 invalid arguments   3 server not reachable   130 interrupted

environment:
  INTONE_SERVER  host:port of the server            INTONE_TOKEN  bearer token
"""

_HINTS = {
    grpc.StatusCode.UNAVAILABLE: "Start a server with `intone-server`, or name a running one with --server HOST:PORT.",
    grpc.StatusCode.UNAUTHENTICATED: "The server requires a token: set INTONE_TOKEN or use --token.",
    grpc.StatusCode.NOT_FOUND: "`intone voices list` shows the voices, `intone info` the engines.",
    grpc.StatusCode.ALREADY_EXISTS: "Use --replace to replace it.",
    grpc.StatusCode.UNIMPLEMENTED: "This server does not support it; `intone info` shows the server's version.",
}


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `intone` with all its subcommands."""
    parser = argparse.ArgumentParser(
        "intone", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"intone {version('intone')}")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (say, chat, voices, emotion, read, info, bench):
        command.add_command(subcommands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        return int(asyncio.run(arguments.command(arguments)))
    except IntoneCallError as error:
        return _report_call_error(error, arguments.server)
    except (MissingExtraError, OSError) as error:
        _print_error(str(error))
        return 1
    except ValueError as error:
        _print_error(str(error))
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _report_call_error(error: IntoneCallError, server: str) -> int:
    unreachable = error.code is grpc.StatusCode.UNAVAILABLE
    failure = f"{server} is not reachable" if unreachable else error.code.name
    _print_error(f"{failure}: {error.message}")
    console = Console(stderr=True, highlight=False)
    for violation in error.extra_violations:
        console.print(f"  {violation}", markup=False, soft_wrap=True)
    if error.retry_after_s is not None:
        console.print(f"Try again in {error.retry_after_s:.1f} s.")
    if error.code in _HINTS:
        console.print(_HINTS[error.code], style="dim", markup=False, soft_wrap=True)
    return 3 if unreachable else 1


def _print_error(message: str) -> None:
    Console(stderr=True, highlight=False).print(f"error: {message}", style="red", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
