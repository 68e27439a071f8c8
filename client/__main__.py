"""The command `intone`: parses the command line, runs a subcommand, prints errors and sets the exit code."""

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from intone.client.commands import bench, chat, emotion, info, read, say, voices
from intone.client.commands.error_report import print_error, reason_of, report_error
from intone.client.commands.parser import Parser
from intone.client.errors import IntoneError
from intone.client.extras import MissingExtraError

_DESCRIPTION = """\
Client of an intone server: stream text in, get speech back while it is synthesized.
"""

_EPILOG = """\
examples:
  intone-server                                     start a server on this machine
  intone say "Hello there." --out hello.wav         speak into a file
  intone say "Hello there." --play                  speak now (pip install 'intone[play]')
  intone say --help                                 emotions, voices, pipes, playback
  intone info                                       engines, their parameters, limits
  intone chat --picture chat.png                    run and draw a conversation with emotions and barge-ins

exit codes:
  0 success   1 refused or failed   2 invalid arguments   3 server not reachable   130 interrupted

environment:
  INTONE_SERVER  host:port of the server            INTONE_TOKEN  bearer token
  INTONE_TLS_CA  certificate authority, a PEM file
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `intone` with all its subcommands."""
    parser = Parser(
        "intone", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"intone {version('intone')}")
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (say, chat, voices, emotion, read, info, bench):
        command.add_command(subcommands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console may lack a character of a text or a name
    arguments = build_parser().parse_args(argv)
    try:
        return asyncio.run(_run(arguments))
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return 0
    except MissingExtraError as error:
        print_error(str(error))
        return 1
    except OSError as error:
        print_error(reason_of(error))
        return 1
    except UnicodeEncodeError as error:
        print_error(f"not UTF-8: {ascii(error.object[error.start : error.end])} in {ascii(error.object)[:60]}")
        return 2
    except ValueError as error:
        print_error(str(error))
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _run(arguments: argparse.Namespace) -> int:
    try:
        return int(await arguments.command(arguments))
    except IntoneError as error:
        return await report_error(error, arguments)


if __name__ == "__main__":
    sys.exit(main())
