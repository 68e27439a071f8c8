"""Arguments that several subcommands share, and what they mean. Alone in the client in reading the environment."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from intone.client.audio import ENCODINGS
from intone.client.connection import tls
from intone.client.settings import LEAD_LIMIT_MAX_MS, Options, Settings, parse_emotion
from intone.client.stream import SpeechClient

T = TypeVar("T")

DEFAULT_SERVER = "127.0.0.1:50051"

EMOTION_HELP = (
    "how it should sound: a label with an intensity (happy, angry:0.8, sad …), eight numbers (happy,angry,sad,afraid,"
    "disgusted,melancholic,surprised,calm), 'describe:tired but relieved', or @clip.wav to follow a recording; "
    "left out, the server decides"
)


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` for argparse: what it complains of is shown to the user as it is."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parsed


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Which server, and how to be let in."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=os.environ.get("INTONE_SERVER", DEFAULT_SERVER),
        help=f"default: $INTONE_SERVER, else {DEFAULT_SERVER}",
    )
    group.add_argument("--tls", action="store_true", help="use TLS and trust the authorities of this system")
    group.add_argument("--tls-ca", type=Path, metavar="PEM", help="use TLS and trust this authority")
    group.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate of this client, for mutual TLS")
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="its key")
    group.add_argument(
        "--token",
        default=os.environ.get("INTONE_TOKEN"),
        help="bearer token; better in $INTONE_TOKEN, where no list of processes shows it",
    )


def client(arguments: argparse.Namespace) -> SpeechClient:
    """The client that the connection arguments ask for.

    Raises:
        ValueError: a certificate without its key, or the other way round.
        OSError: a PEM file cannot be read.
    """
    files = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    credentials = tls(*files) if arguments.tls or any(files) else None
    return SpeechClient(arguments.server, credentials=credentials, token=arguments.token)


def add_speech(parser: argparse.ArgumentParser) -> None:
    """How to speak."""
    group = parser.add_argument_group("speech")
    group.add_argument("--voice", default="", metavar="NAME", help="see `intone voices list`; default: the server's")
    group.add_argument("--emotion", type=argument_type(parse_emotion), metavar="EMOTION", help=EMOTION_HELP)
    group.add_argument(
        "--engine", choices=("auto", "voxcpm", "indextts", "starter"), default="auto", help="default: the server routes"
    )
    group.add_argument("--steps", type=int, metavar="N", help="diffusion steps, 1 to 100: more is slower and finer")
    group.add_argument("--guidance", type=float, metavar="G", help="classifier-free guidance, 0 to 10; 1 is none")
    group.add_argument("--speed", type=float, metavar="X", help="pace of speech, 0.5 to 2; 2 is twice as fast")
    group.add_argument("--seed", type=int, metavar="N", help="same text, voice, settings and seed: same audio")
    group.add_argument("--rate", type=int, default=0, metavar="HZ", help="sample rate; default: the engine's own")
    group.add_argument("--encoding", choices=ENCODINGS, default="pcm_s16le", help="default: %(default)s")
    group.add_argument("--buffered", action="store_true", help="finish each unit of text before its audio leaves")
    add_filler(group)


def add_filler(group: argparse._ActionsContainer) -> None:
    """Whether waits are covered."""
    group.add_argument(
        "--filler",
        choices=("off", "auto", "eager"),
        help="interjections to cover a wait: never, before the first word, or also before later pieces; default: auto",
    )
    group.add_argument("--no-filler", dest="filler", action="store_const", const="off", help="the same as --filler off")


def settings(arguments: argparse.Namespace, *, real_time: bool) -> Settings:
    """The stream settings that the speech arguments ask for.

    Args:
        real_time: the audio is played as it comes; otherwise the server may run ahead as far as it can.
    """
    return Settings(
        voice=arguments.voice,
        emotion=arguments.emotion,
        engine=arguments.engine,
        sample_rate_hz=arguments.rate,
        encoding=arguments.encoding,
        delivery="buffered" if arguments.buffered else "streamed",
        filler=arguments.filler,
        lead_limit_ms=None if real_time else LEAD_LIMIT_MAX_MS,
        options=Options(steps=arguments.steps, guidance=arguments.guidance, seed=arguments.seed, speed=arguments.speed),
    )


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """For programs that read the output."""
    parser.add_argument("--json", action="store_true", help=f"write {what} to standard output as JSON")
