"""Every setting of the server, once: type, default, range and help. The only reader of the environment.

A value comes from the command line, else from the TOML file, else from the default. An unknown key or a value out of
range stops the server with the key's name.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from intone.server.domain import EMOTIONS, PRECISIONS
from intone.server.errors import IntoneError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ENGINES = ("voxcpm", "indextts", "starter")
HAVE_PRECISIONS = ("voxcpm", "indextts")


class ConfigError(IntoneError):
    """A setting cannot be used; the message names it, its value and what would be right."""


def _setting(
    default: Any, text: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True, slots=True)
class Config:
    """Settings. Field names are the keys of the TOML file and, with dashes, the flags."""

    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(50051, "port to listen on; 0 takes a free one", low=0, high=65535)
    port_file: str = _setting("", "write the bound port into this file once the server serves")
    tls_certificate: str = _setting("", "PEM file; with --tls-key the server speaks TLS")
    tls_key: str = _setting("", "PEM file of the certificate's private key")
    tls_client_ca: str = _setting("", "PEM file; clients must show a certificate signed by it (mTLS)")
    token_file: str = _setting("", "file with the bearer token that calls must carry (or set INTONE_TOKEN)")
    metrics_port: int = _setting(
        0, "serve Prometheus metrics on this port of the same host; 0 is off", low=0, high=65535
    )
    log_level: str = _setting("info", "how much to log", choices=("debug", "info", "warning", "error"))

    voxcpm: str = _setting(
        "",
        "checkpoint folder of VoxCPM 0.5B, 1.5 or 2; nano is the voice of this package, where it has one (./nano a "
        "folder); with --random-weights a size",
    )
    voxcpm_lora: str = _setting("", "LoRA folder to merge into VoxCPM")
    indextts: str = _setting("", "checkpoint folder of IndexTTS 2 or 2.5; with --random-weights a size")
    random_weights: bool = _setting(False, "build the sizes that are named untrained: for benchmarks and tests")
    drop_encoders: bool = _setting(
        False,
        "keep out of memory what IndexTTS needs for recordings alone: frees 2.3 GB in 2.5, 3 GB in 2. Making a "
        "voice or following a new clip then first reads it again from the folder, which takes some seconds",
    )
    starter: bool = _setting(True, "load the starter voice, the small packaged engine (English)")
    default_engine: str = _setting("auto", "who speaks plain talk", choices=("auto", *ENGINES))
    dtype: str = _setting(
        "auto",
        "precision of the engines: int8, bf16, fp32 or auto, or each its own: voxcpm=int8,indextts=bf16. auto is int8 "
        "for VoxCPM on a CPU, and fp32 for IndexTTS; the starter voice has none to choose",
    )
    pack_cache: str = _setting(
        "",
        "folder that keeps the packed weights of VoxCPM, so that the next start is fast; off keeps none. Without it "
        "that of INTONE_CACHE, else one in the user's cache folder",
    )
    threads: int = _setting(0, "CPU threads of the engines; 0 takes one for each core", low=0, high=256)
    max_batch: int = _setting(16, "utterances an engine advances together", low=1, high=512)

    voices: str = _setting("", "folder that keeps voices; empty keeps them in memory only")
    default_voice: str = _setting("default", "voice of streams that name none")
    min_recording_ms: int = _setting(1000, "shortest recording that makes a voice", low=100, high=60_000)
    max_recording_ms: int = _setting(60_000, "longest recording that makes a voice", low=1000, high=600_000)
    max_recording_bytes: int = _setting(32 << 20, "largest upload of a recording", low=1 << 16, high=1 << 30)

    emotion_threshold: float = _setting(0.5, "intensity from which an emotion is strong", low=0.0, high=1.0)
    emotion_engines: str = _setting("", "who speaks an emotion, strong or not: angry=indextts,sad=voxcpm")
    emotion_analyzer: str = _setting(
        "lexicon", "who reads the emotion of a text that says none", choices=("none", "lexicon", "qwen")
    )
    emotion_model: str = _setting("", "folder of the Qwen emotion model; needs the extra intone[qwen]")
    emotion_wait_ms: int = _setting(
        60, "how long speech waits for the Qwen emotion model before the lexicon decides", low=0, high=10_000
    )
    busy_ms: int = _setting(
        3000, "pass over an engine that is busy, if its first sound would take longer; 0 never", low=0, high=60_000
    )
    fillers: bool = _setting(True, "render interjections for every voice, to cover long waits")
    match_loudness: bool = _setting(True, "make every engine as loud as that of plain talk, voice by voice")
    filler_threshold_ms: int = _setting(400, "the longest wait that is left silent", low=50, high=10_000)
    pause_scale: float = _setting(1.0, "length of the pauses between sentences; 0 is none", low=0.0, high=4.0)
    normalize: bool = _setting(True, "read out numbers and symbols as words, where a stream does not say")
    first_unit_characters: int = _setting(12, "shortest clause that may be spoken first", low=1, high=500)
    max_unit_characters: int = _setting(200, "longest piece an engine speaks in one go", low=20, high=2000)
    wait_ms: int = _setting(400, "speak an unfinished piece after this long without more text", low=10, high=60_000)
    max_lead_ms: int = _setting(5000, "how far speech may run ahead of playback", low=200, high=600_000)
    chunk_ms: int = _setting(160, "longest audio chunk", low=10, high=1000)

    max_streams: int = _setting(64, "streams open at once", low=1, high=100_000)
    max_open_utterances: int = _setting(32, "utterances of a stream that have not ended", low=1, high=10_000)
    max_text_characters: int = _setting(16_384, "characters in one text message", low=100, high=1 << 20)
    max_utterance_characters: int = _setting(131_072, "characters in one utterance", low=100, high=1 << 24)
    config_timeout_s: float = _setting(10.0, "how long a stream may take to send its config", low=0.1, high=600)
    idle_timeout_s: float = _setting(600.0, "end a stream that is silent on both sides this long", low=1, high=86_400)
    drain_s: float = _setting(30.0, "on SIGTERM, how long open streams may take to finish", low=0, high=3600)

    token: str = field(default="", repr=False, metadata={"secret": True})

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting.name, getattr(self, setting.name), setting.metadata)
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("tls_certificate and tls_key go together: give both or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise ConfigError("tls_client_ca needs tls_certificate and tls_key: mTLS is TLS with a client certificate")
        if self.random_weights and not (self.voxcpm or self.indextts):
            raise ConfigError("random_weights needs voxcpm or indextts to name a size, such as --voxcpm nano")
        if self.emotion_analyzer == "qwen" and not self.emotion_model:
            raise ConfigError("emotion_analyzer qwen needs emotion_model, the folder of the model")
        self.engines_by_emotion()
        self.precisions()
        if self.first_unit_characters >= self.max_unit_characters:
            raise ConfigError("first_unit_characters must be less than max_unit_characters")

    def engines_by_emotion(self) -> dict[str, str]:
        """`emotion_engines` as a mapping.

        Raises:
            ConfigError: it is not a list of emotion=engine, or names one that does not exist.
        """
        found = {}
        for pair in filter(None, (part.strip() for part in self.emotion_engines.split(","))):
            emotion, _, engine = pair.partition("=")
            if emotion not in ("neutral", *EMOTIONS):
                names = ", ".join(("neutral", *EMOTIONS))
                raise ConfigError(f"emotion_engines names the emotion {emotion!r}; the emotions are {names}")
            if engine not in ENGINES:
                raise ConfigError(f"emotion_engines gives {emotion} to {engine!r}; engines are {', '.join(ENGINES)}")
            found[emotion] = engine
        return found

    def pack_cache_folder(self) -> Path | None:
        """What `pack_cache` means here and now; None keeps nothing."""
        chosen = self.pack_cache or os.environ.get("INTONE_CACHE", "")
        if chosen:
            return None if chosen == "off" else Path(chosen).expanduser()
        try:
            return _user_cache() / "intone" / "packed"
        except RuntimeError:  # there is no home
            return None

    def precisions(self) -> dict[str, str]:
        """`dtype` of every engine that can have one, each one of `PRECISIONS`.

        Raises:
            ConfigError: it is neither one of `PRECISIONS` nor a list of engine=precision, or names an engine twice.
        """
        known = ", ".join(PRECISIONS)
        if "=" not in self.dtype:
            if self.dtype not in PRECISIONS:
                raise ConfigError(f"dtype is {self.dtype!r}; it must be one of {known}, or voxcpm=int8,indextts=fp32")
            return dict.fromkeys(HAVE_PRECISIONS, self.dtype)
        found: dict[str, str] = {}
        for pair in self.dtype.split(","):
            engine, _, name = pair.strip().partition("=")
            if engine not in HAVE_PRECISIONS:
                raise ConfigError(f"dtype names the engine {engine!r}; those with one are {', '.join(HAVE_PRECISIONS)}")
            if name not in PRECISIONS:
                raise ConfigError(f"dtype gives {engine} {name!r}; it must be one of {known}")
            if engine in found:
                raise ConfigError(f"dtype names {engine} twice, with {found[engine]} and with {name}")
            found[engine] = name
        return dict.fromkeys(HAVE_PRECISIONS, "auto") | found


def _user_cache() -> Path:
    """Where the platform keeps what can be made again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"  # a relative one is to be ignored


def _check(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    low, high, choices = metadata.get("low"), metadata.get("high"), metadata.get("choices", ())
    if low is not None and not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must be from {low} to {high}")
    if choices and value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


def _public() -> list[Any]:
    return [setting for setting in fields(Config) if not setting.metadata.get("secret")]


def parser() -> argparse.ArgumentParser:
    """The command line of `intone-server`, made from the fields of `Config`."""
    made = argparse.ArgumentParser(
        prog="intone-server",
        description="Speak: a gRPC text-to-speech server for live conversation.",
        epilog="examples:\n"
        "  intone-server                                     the packaged voice: English and Mandarin, no download\n"
        "  intone-server --voxcpm ~/models/VoxCPM1.5         VoxCPM from its published folder\n"
        "  intone-server --voxcpm DIR --indextts DIR         plain talk and strong emotion, each by its engine\n"
        "  intone-server --voxcpm nano --random-weights      an untrained VoxCPM, to try and to measure\n"
        "  intone-server --config intone.toml --port 0       settings from a file, a free port\n\n"
        "then, in another shell:  intone say 'Hello there.' --play",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", metavar="FILE", help="TOML file; keys are the flags below with underscores")
    for setting in _public():
        _add_flag(made, setting)
    return made


def _add_flag(made: argparse.ArgumentParser, setting: Any) -> None:
    flag, kind, about = f"--{setting.name.replace('_', '-')}", type(setting.default), setting.metadata
    shown = f"{about['help']} (default: {setting.default if setting.default != '' else 'none'})"
    if kind is bool:
        made.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=shown)
        return
    metavar = "|".join(about["choices"]) or {int: "N", float: "X", str: "TEXT"}[kind]
    made.add_argument(flag, type=kind, default=None, metavar=metavar, help=shown)


def load(arguments: Sequence[str] | None = None) -> Config:
    """Settings from flags, file and environment.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, a value has the wrong type or range.
        SystemExit: from argparse, for `--help` and unknown flags.
    """
    given = vars(parser().parse_args(arguments))
    path = given.pop("config")
    values = _read_file(Path(path)) if path else {}
    values.update({name: value for name, value in given.items() if value is not None})
    token = os.environ.get("INTONE_TOKEN", "")
    if values.get("token_file"):
        token = _read_token(Path(values["token_file"]))
    return Config(**values, token=token)


def let_waiting_threads_sleep() -> None:
    """Before torch is imported: threads that wait for one another soon leave the core to other processes.

    GNU OpenMP's own default is to spin for milliseconds, often in the place of the very thread that is waited for:
    beside other busy processes that takes ten times as long. Whoever has set either variable has decided.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # tens of microseconds: the next loop finds them awake


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"token_file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"token_file: {path} holds more than ASCII characters, which no call can carry") from error
    if not token:
        raise ConfigError(f"token_file: {path} is empty")
    return token


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    kinds = {setting.name: type(setting.default) for setting in _public()}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f"{path}: unknown key {name!r}; the keys are {', '.join(kinds)}")
        if kinds[name] is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not kinds[name]:
            raise ConfigError(f"{path}: {name} is {value!r}; it must be {kinds[name].__name__}")
    return values
