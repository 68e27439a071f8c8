"""Prints why a call has failed, and what to do next."""

import argparse
from contextlib import suppress

import grpc
from rich.console import Console

from intone.client.commands.arguments import make_client, uses_tls
from intone.client.connection import default_token
from intone.client.errors import IntoneError

_UNREACHABLE_CODE, _REFUSED_CODE = 3, 1

_HINTS = {
    grpc.StatusCode.NOT_FOUND: "`intone voices list` shows the voices, `intone info` the engines.",
    grpc.StatusCode.ALREADY_EXISTS: "Use --replace to replace it.",
    grpc.StatusCode.UNIMPLEMENTED: "This server does not support it; `intone info` shows its version and features.",
}
_HINTS_BY_REASON = {
    "ENGINE_NOT_FOUND": "`intone info` describes the engines.",
    "GOING_AWAY": "The server is shutting down: try again when it has been started anew.",
    "VALUE_OUT_OF_RANGE": "`intone info` shows the ranges of engine parameters; --help shows the others.",
    "CLONING_UNAVAILABLE": "`intone info` shows which engines can clone: the packaged voice cannot.",
    "VOICE_BUILT_IN": "Create a voice of another name, and use that.",
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
    hint = _connection_hint(error, arguments) if unreachable else await _hint(error, arguments)
    if hint:
        console.print(hint, style="dim", markup=False)
    return _UNREACHABLE_CODE if unreachable else _REFUSED_CODE


def print_error(message: str) -> None:
    """Print an error message on standard error."""
    Console(stderr=True, highlight=False).print(f"error: {message}", style="red", markup=False, soft_wrap=True)


def _connection_hint(error: IntoneError, arguments: argparse.Namespace) -> str:
    """What is probably wrong with a server that cannot be reached, by the messages of gRPC."""
    if "CERTIFICATE_VERIFY_FAILED" in error.message:
        return "The certificate of the server is not trusted: name its certificate authority with --tls-ca PEM."
    if "WRONG_VERSION_NUMBER" in error.message:
        return "The server does not use TLS: leave out --tls and the other TLS options, also $INTONE_TLS_CA."
    if "Socket closed" in error.message and uses_tls(arguments):
        return "The server may demand a client certificate: --tls-cert PEM --tls-key PEM."
    if "Socket closed" in error.message:
        return "The server may demand TLS: --tls, or --tls-ca PEM for a certificate authority of your own."
    return "Start a server with `intone-server`, or name a running one with --server HOST:PORT."


async def _hint(error: IntoneError, arguments: argparse.Namespace) -> str:
    if error.code is grpc.StatusCode.UNAUTHENTICATED:
        if default_token() if arguments.token is None else arguments.token:
            return "The server refused the token: check --token and $INTONE_TOKEN."
        return "The server requires a token: set $INTONE_TOKEN or use --token."
    if error.reason == "VOICE_NOT_FOUND":
        with suppress(IntoneError):
            async with make_client(arguments) as client:
                names = ", ".join(voice.name for voice in await client.voices.list())
            return f"Voices of this server: {names}. `intone voices create` makes one from a recording."
    return _HINTS_BY_REASON.get(error.reason) or _HINTS.get(error.code, "")
