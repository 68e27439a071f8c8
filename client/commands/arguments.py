"""Command-line arguments that several subcommands share."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from intone.client.async_client import AsyncSpeechClient
from intone.client.audio import ENCODINGS
from intone.client.commands.connection_hints import connection_hint, uses_tls
from intone.client.connection import DEFAULT_TARGET, default_target, tls
from intone.client.emotions import parse_emotion
from intone.client.errors import IntoneError
from intone.client.settings import Pronunciation, SpeechSettings, StreamSettings

T = TypeVar("T")

_DEFAULT_PORT = DEFAULT_TARGET.rpartition(":")[2]
_MAX_LEAD_MS = 600_000
"""The longest lead that a server accepts: for audio that is not played in real time."""

EMOTION_HELP = (
    "how it should sound: a word with an optional intensity (happy, angry:0.8, relieved …), 'describe:tired but "
    "relieved', @clip.wav to follow a recording, or eight weights with commas, in the order happy, angry, sad, afraid, "
    "disgusted, melancholic, surprised, calm; default: the server decides from the text"
)


def argument_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap `parse` for argparse, which then shows the message of its ValueError or OSError."""

    def parse_argument(text: str) -> T:
        try:
            return parse(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


# ---- the server ------------------------------------------------------------------------------------------------------


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the address of the server, TLS and the token."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--server",
        metavar="HOST[:PORT]",
        type=argument_type(_target),
        default=default_target(),
        help=f"default: $INTONE_SERVER, or {DEFAULT_TARGET}",
    )
    group.add_argument("--tls", action="store_true", help="use TLS with the default root certificates")
    group.add_argument(
        "--tls-ca",
        type=Path,
        metavar="PEM",
        default=os.environ.get("INTONE_TLS_CA") or None,
        help="use TLS with this certificate authority; default: $INTONE_TLS_CA",
    )
    group.add_argument("--tls-cert", type=Path, metavar="PEM", help="client certificate, for mutual TLS")
    group.add_argument("--tls-key", type=Path, metavar="PEM", help="private key of the client certificate")
    group.add_argument("--token", help="bearer token; better set $INTONE_TOKEN, which no process list shows")
    group.add_argument(
        "--reconnect",
        type=argument_type(_seconds),
        default=30.0,
        metavar="SECONDS",
        help="how long a server that is full, starting or out of reach is tried again before anything has sounded; "
        "default: %(default)g",
    )
    group.add_argument(
        "--plaintext-token", action="store_true", help="send the token without encryption, also to another machine"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError("is a number of seconds, 0 or more")
    return seconds


def _target(text: str) -> str:
    """Add the default port to a host without one."""
    if "://" in text:
        raise ValueError(f"write host:port, without {text.partition('://')[0]}://")
    has_port = text.rpartition("]")[2].count(":") == 1
    return text if has_port else f"{text}:{_DEFAULT_PORT}"


def make_client(arguments: argparse.Namespace) -> AsyncSpeechClient:
    """Make the client from the connection arguments.

    Raises:
        ValueError: a client certificate without its key, or the other way round; or a token that would be sent to
            another machine without encryption.
        OSError: a PEM file cannot be read.
    """
    files = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    credentials = tls(*files) if uses_tls(arguments) else None
    return AsyncSpeechClient(
        arguments.server,
        credentials=credentials,
        token=arguments.token,
        allow_plaintext_token=arguments.plaintext_token,
        reconnect_s=arguments.reconnect,
        on_retry=_RetryReport(arguments),
    )


class _RetryReport:
    """Says once on standard error that the server is tried again."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._said = False

    def __call__(self, failure: IntoneError, pause_s: float) -> None:
        if not self._said:
            self._said = True
            wait = f"trying again for {self._arguments.reconnect:g} s (Ctrl-C ends it)"
            hint = "" if failure.reason else f" {connection_hint(failure, self._arguments)}"
            sys.stderr.write(f"{self._arguments.server}: {failure.message}; {wait}.{hint}\n")


def check_output(path: Path | None) -> None:
    """Check, before time is spent on what is to be written, that a file can be written there.

    Raises:
        OSError: it cannot.
    """
    if path is None or path == Path("-"):
        return
    if path.is_dir():
        raise OSError(f"cannot write {path}: it is a folder")
    if not path.parent.is_dir():
        raise OSError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OSError(f"cannot write {path}: permission denied")


# ---- settings --------------------------------------------------------------------------------------------------------


def add_speech(parser: argparse.ArgumentParser) -> None:
    """Add the settings of speech and of the stream."""
    voice = parser.add_argument_group("voice")
    voice.add_argument("--voice", default="", metavar="NAME", help="see `intone voices list`; default: the server's")
    voice.add_argument("--emotion", type=argument_type(parse_emotion), metavar="EMOTION", help=EMOTION_HELP)
    voice.add_argument("--speed", type=float, metavar="X", help="pace of speech, 0.5 to 2; 2 is twice as fast")
    voice.add_argument("--volume", type=float, metavar="DB", help="change of volume in decibels, -60 to 20")
    _add_text(parser.add_argument_group("text"))
    _add_engine(parser.add_argument_group("engine", "`intone info` lists the engines and their parameters."))
    _add_audio(parser.add_argument_group("audio"))
    _add_latency(parser.add_argument_group("latency"))


def _add_text(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--language", default="", metavar="CODE", help="such as en or zh-CN; default: detected")
    group.add_argument(
        "--text-format",
        choices=("plain", "tags", "ssml"),
        help="what brackets mean: plain (text), tags ([happy] sets the emotion), ssml; default: tags",
    )
    group.add_argument(
        "--pronounce",
        type=argument_type(_pronunciation),
        action="append",
        default=[],
        metavar="WORD=SOUND",
        help="say a word differently: gif=jiff, 'tomato=/təˈmɑːtəʊ/' (IPA) or '重庆=pinyin:chong2 qing4'; repeatable",
    )
    group.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="read numbers, dates and symbols out as words; default: as the server was started",
    )


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", default="", metavar="NAME", help="default: chosen by emotion, language and load")
    group.add_argument(
        "--parameter",
        dest="parameters",
        type=argument_type(_parameter),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of the engine, such as steps=6; repeatable",
    )
    for name, letter, text in (("steps", "N", "diffusion steps"), ("guidance", "G", "classifier-free guidance")):
        group.add_argument(
            f"--{name}",
            dest="parameters",
            type=argument_type(partial(_named_parameter, name)),
            action="append",
            metavar=letter,
            help=f"{text}: short for --parameter {name}={letter}",
        )
    group.add_argument("--seed", type=int, metavar="N", help="random seed, for reproducible audio")


def _add_audio(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--rate", type=int, metavar="HZ", help="sample rate; default: that of the engine of plain speech"
    )
    group.add_argument("--encoding", choices=ENCODINGS, default="pcm_s16le", help="default: %(default)s")
    group.add_argument("--chunk-ms", type=int, metavar="MS", help="exact length of the chunks; default: any")
    group.add_argument("--buffered", action="store_true", help="send the audio unit by unit, not while it is made")


def _add_latency(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--filler",
        choices=("off", "auto", "eager"),
        help="live only: cover a wait with an interjection: never (off), before the first word (auto), also inside the "
        "text (eager); default: auto",
    )
    live = group.add_mutually_exclusive_group()
    live.add_argument(
        "--live",
        dest="service_class",
        action="store_const",
        const="live",
        help="somebody listens: low latency counts, and fillers may cover waits; the default of chat and bench",
    )
    live.add_argument(
        "--offline",
        dest="service_class",
        action="store_const",
        const="offline",
        help="nobody listens yet: no fillers, and no engine is avoided because it is busy",
    )


def _pronunciation(text: str) -> Pronunciation:
    word, separator, sound = text.partition("=")
    if not (word and separator and sound):
        raise ValueError("write WORD=SOUND, such as gif=jiff")
    if len(sound) > 2 and sound[0] == sound[-1] == "/":
        return Pronunciation(word, ipa=sound[1:-1])
    if sound.startswith("pinyin:"):
        return Pronunciation(word, pinyin=sound.removeprefix("pinyin:").strip())
    return Pronunciation(word, spoken_as=sound)


def _named_parameter(name: str, value: str) -> tuple[str, float]:
    return name, float(value)


def _parameter(text: str) -> tuple[str, float]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise ValueError("write NAME=VALUE, such as steps=6")
    return name, float(value)


def stream_settings(
    arguments: argparse.Namespace, *, real_time: bool, service_class: Literal["live", "offline"] = "live"
) -> StreamSettings:
    """Make the stream settings from the speech arguments.

    Args:
        real_time: the audio is played as it arrives. Otherwise the server may run ahead as far as it can.
        service_class: unless an argument sets it.
    """
    service_class = arguments.service_class or service_class
    return StreamSettings(
        encoding=arguments.encoding,
        sample_rate_hz=arguments.rate,
        defaults=SpeechSettings(
            voice=arguments.voice,
            language=arguments.language,
            emotion=arguments.emotion,
            engine=arguments.engine,
            filler=arguments.filler,
            text_format=arguments.text_format,
            normalization=arguments.normalize,
            pronunciations=arguments.pronounce,
            speed=arguments.speed,
            volume_db=arguments.volume,
            seed=arguments.seed,
            engine_parameters=dict(arguments.parameters),
        ),
        delivery="buffered" if arguments.buffered else "streamed",
        service_class=service_class,
        chunk_ms=arguments.chunk_ms,
        max_lead_ms=None if real_time or service_class == "offline" else _MAX_LEAD_MS,
    )


def add_json(parser: argparse._ActionsContainer, content: str) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=f"print {content} as JSON to standard output")
