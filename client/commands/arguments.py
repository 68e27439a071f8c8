"""Command-line arguments that several subcommands share. The only reader of environment variables in the client."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from intone.client.audio import ENCODINGS
from intone.client.connection import tls
from intone.client.settings import MAX_LEAD_LIMIT_MS, StreamSettings, SynthesisOptions, parse_emotion
from intone.client.speech_client import SpeechClient

T = TypeVar("T")

DEFAULT_SERVER = "127.0.0.1:50051"

EMOTION_HELP = (
    "how it should sound: a label with an optional intensity (happy, angry:0.8, sad …), eight weights (happy,angry,sad,"
    "afraid,disgusted,melancholic,surprised,calm), 'describe:tired but relieved', or @clip.wav to follow a recording; "
    "default: the server decides from the text"
)


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap `parse` for argparse, which then shows the message of its ValueError or OSError."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the address of the server, TLS and the token."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("INTONE_SERVER", DEFAULT_SERVER),
        help=f"default: $INTONE_SERVER, or {DEFAULT_SERVER}",
    )
    group.add_argument("--tls", action="store_true", help="use TLS with the default root certificates")
    group.add_argument("--tls-ca", type=Path, metavar="PEM", help="use TLS with this certificate authority")
    group.add_argument("--tls-cert", type=Path, metavar="PEM", help="client certificate, for mutual TLS")
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="private key of the client certificate")
    group.add_argument(
        "--token",
        default=os.environ.get("INTONE_TOKEN"),
        help="bearer token; prefer $INTONE_TOKEN, which does not show up in process lists",
    )


def make_client(arguments: argparse.Namespace) -> SpeechClient:
    """Make the client from the connection arguments.

    Raises:
        ValueError: a client certificate without its key, or the other way round.
        OSError: a PEM file cannot be read.
    """
    files = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    credentials = tls(*files) if arguments.tls or any(files) else None
    return SpeechClient(arguments.server, credentials=credentials, token=arguments.token)


def add_speech(parser: argparse.ArgumentParser) -> None:
    """Add the settings of the stream."""
    group = parser.add_argument_group("speech")
    group.add_argument("--voice", default="", metavar="NAME", help="see `intone voices list`; default: the server's")
    group.add_argument("--emotion", type=argument_type(parse_emotion), metavar="EMOTION", help=EMOTION_HELP)
    group.add_argument(
        "--engine",
        default="",
        metavar="NAME",
        help="see `intone info`; default: the server chooses by emotion and load",
    )
    group.add_argument("--steps", type=int, metavar="N", help="diffusion steps, 1 to 100: more is slower and finer")
    group.add_argument("--guidance", type=float, metavar="G", help="classifier-free guidance, 0 to 10; 1 is none")
    group.add_argument("--speed", type=float, metavar="X", help="pace of speech, 0.5 to 2; 2 is twice as fast")
    group.add_argument("--seed", type=int, metavar="N", help="random seed, for reproducible audio")
    group.add_argument("--rate", type=int, default=0, metavar="HZ", help="sample rate; default: the engine's own")
    group.add_argument("--encoding", choices=ENCODINGS, default="pcm_s16le", help="default: %(default)s")
    group.add_argument("--buffered", action="store_true", help="send the audio unit by unit, not while it is made")
    add_filler(group)


def add_filler(group: argparse._ActionsContainer) -> None:
    """Add the filler policy."""
    group.add_argument(
        "--filler",
        choices=("off", "auto", "eager"),
        help="fillers cover a wait: never (off), before the first word (auto), also inside the text (eager); "
        "default: auto",
    )
    group.add_argument("--no-filler", dest="filler", action="store_const", const="off", help="same as --filler off")


def stream_settings(arguments: argparse.Namespace, *, real_time: bool) -> StreamSettings:
    """Make the stream settings from the speech arguments.

    Args:
        real_time: the audio is played as it arrives. Otherwise the server may run ahead as far as it can.
    """
    return StreamSettings(
        voice=arguments.voice,
        emotion=arguments.emotion,
        engine=arguments.engine,
        sample_rate_hz=arguments.rate,
        encoding=arguments.encoding,
        delivery="buffered" if arguments.buffered else "streamed",
        filler=arguments.filler,
        lead_limit_ms=None if real_time else MAX_LEAD_LIMIT_MS,
        options=SynthesisOptions(
            steps=arguments.steps, guidance=arguments.guidance, seed=arguments.seed, speed=arguments.speed
        ),
    )


def add_json(parser: argparse.ArgumentParser, content: str) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {content} as JSON to standard output")
