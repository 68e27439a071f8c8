"""Prints why a call has failed, and what to do next."""

import argparse
from contextlib import suppress

import grpc

from intone.client.commands.arguments import make_client
from intone.client.commands.connection_hints import connection_hint
from intone.client.connection import default_token
from intone.client.errors import IntoneError
from intone.client.suggestions import suggestion
from intone.client.tools.console import Console

_UNREACHABLE_CODE, _REFUSED_CODE = 3, 1

_HINTS = {
    grpc.StatusCode.NOT_FOUND: "`intone voices list` shows the voices, `intone info` the engines.",
    grpc.StatusCode.ALREADY_EXISTS: "Use --replace to replace a voice of yours, or another name.",
    grpc.StatusCode.PERMISSION_DENIED: "Ask who runs the server for a token or certificate of that role.",
    grpc.StatusCode.UNIMPLEMENTED: "This server does not support it; `intone info` shows its version and features.",
}
_HINTS_BY_REASON = {
    "ENGINE_NOT_FOUND": "`intone info` describes the engines.",
    "GOING_AWAY": "The server is shutting down: try again when it has been started anew.",
    "VALUE_OUT_OF_RANGE": "`intone info` shows the ranges of engine parameters; --help shows the others.",
    "CLONING_UNAVAILABLE": "`intone info` shows which engines can clone: the packaged voice cannot.",
    "VOICE_BUILT_IN": "Create a voice of another name, and use that.",
    "TOO_MANY_VOICES": "`intone voices list` shows the voices, `intone voices delete NAME` makes room.",
    "UPLOAD_TIMEOUT": "The connection may be too slow for this file: a FLAC or MP3 file is smaller.",
}


async def report_error(error: IntoneError, arguments: argparse.Namespace) -> int:
    """Print an error with its details and a hint; returns the exit code."""
    unreachable = error.code is grpc.StatusCode.UNAVAILABLE and not error.reason
    failure = f"{arguments.server} is not reachable" if unreachable else error.code.name
    print_error(f"{failure}: {error.message}")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for violation in error.extra_violations:
        console.print(f"  {violation}", markup=False)
    if error.retry_after_s is not None:
        console.print(f"Try again in {error.retry_after_s:.1f} s.")
    hint = connection_hint(error, arguments) if unreachable else await _hint(error, arguments)
    if hint:
        console.print(hint, style="dim", markup=False)
    return _UNREACHABLE_CODE if unreachable else _REFUSED_CODE


def reason_of(error: OSError) -> str:
    """What the system refused, without its number: "hello.wav: Permission denied"."""
    if error.strerror is None or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def print_error(message: str) -> None:
    """Print an error message on standard error."""
    Console(stderr=True, highlight=False).print(f"error: {message}", style="red", markup=False, soft_wrap=True)


async def _hint(error: IntoneError, arguments: argparse.Namespace) -> str:
    if error.code is grpc.StatusCode.UNAUTHENTICATED:
        if default_token() if arguments.token is None else arguments.token:
            return "The server refused the token: check --token and $INTONE_TOKEN."
        return "The server requires a token: set $INTONE_TOKEN or use --token."
    if error.reason == "VOICE_NOT_FOUND":
        with suppress(IntoneError):
            async with make_client(arguments) as client:
                names = [voice.name for voice in await client.voices.list()]
            meant = suggestion(getattr(arguments, "name", "") or getattr(arguments, "voice", ""), names)
            known = f"Voices of this server: {', '.join(names)}{meant or '.'}"
            return f"{known} `intone voices create` makes one from a recording."
    return _HINTS_BY_REASON.get(error.reason) or _HINTS.get(error.code, "")
