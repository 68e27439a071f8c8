"""Every setting of the server, once: type, default, range and help.

`command_line.py` fills it from flags, a TOML file and the environment. A value out of range stops the server; the
message names the key. The settings of single engines are declared in their registry entries.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from intone.server import logs
from intone.server.config_values import by_engine
from intone.server.conflicts import conflict
from intone.server.domain import EMOTIONS, PRECISIONS
from intone.server.engines.base import EngineSetting, resolve
from intone.server.engines.registry import ENGINES, Registry
from intone.server.errors import ConfigError, listed

DEVICES = ("auto", "cpu", "cuda", "cuda:N")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def _setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    path: bool = False,
) -> Any:
    """`path`: whether it is one of a file or folder."""
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices, "path": path})


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the server. Field names are the keys of the TOML file and, with dashes, the flags.

    `Config.of` takes the settings of engines by name, too; they are then in `engine_settings`.
    """

    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(50051, "port to listen on; 0 takes a free one", low=0, high=65535)
    port_file: str = _setting("", "file to write the bound port to, once the server accepts calls", path=True)
    tls_certificate: str = _setting("", "PEM file; with --tls-key the server uses TLS", path=True)
    tls_key: str = _setting("", "PEM file of the certificate's private key", path=True)
    tls_client_ca: str = _setting("", "PEM file; clients must present a certificate signed by it (mTLS)", path=True)
    token_file: str = _setting("", "file with the bearer token that calls must carry (or set INTONE_TOKEN)", path=True)
    tokens_file: str = _setting(
        "",
        "file with hashes of tokens, whose they are and their roles; read again when it changes (see --new-token)",
        path=True,
    )
    client_roles: str = _setting(
        "speak,manage", "roles of clients with a certificate, where no tokens file gives them: speak, manage, admin"
    )
    insecure: bool = _setting(False, "allow a host that other machines reach, without authentication")
    log_level: str = _setting("info", "least severe messages to log", choices=("debug", "info", "warning", "error"))
    log_format: str = _setting("text", "one line for each event: for people, or JSON", choices=logs.FORMATS)
    metrics_host: str = _setting("127.0.0.1", "address of the HTTP port for monitoring")
    metrics_port: int = _setting(
        0, "serve Prometheus metrics and health over HTTP on this port; 0 is off", low=0, high=65535
    )

    traces_endpoint: str = _setting(
        "", "OTLP endpoint for OpenTelemetry traces, as in http://localhost:4317; needs the extra intone[otel]"
    )

    random_weights: bool = _setting(False, "build the named sizes untrained: for benchmarks and tests")
    default_engine: str = _setting(
        "auto", "engine of plain speech; auto is the first trained engine that does not voice emotion"
    )
    engine_order: str = _setting(
        "",
        "engines in order of preference, with commas, where several can speak; engines left out follow in the order of "
        "the table below, except that the starter voice comes before a packaged voice that it surpasses",
    )
    dtype: str = _setting(
        "auto",
        "precision of the engines: int8, bf16, fp32 or auto, or a list for single engines: NAME=int8,NAME=bf16. auto "
        "is the engine's own choice, see the table below",
    )
    device: str = _setting(
        "cpu",
        "where the engines run: cpu, cuda, cuda:N or auto, or a list for single engines: NAME=cuda:1,NAME=cpu. Engines "
        "that cannot run on CUDA stay on the CPU; auto is cuda where torch finds a GPU",
    )
    pack_cache: str = _setting(
        "",
        "folder where engines keep packed weights, so that the next start is fast; off keeps none. Left out: "
        "$INTONE_CACHE, else a folder in the user's cache",
        path=True,
    )
    hub_offline: bool = _setting(
        False, "of repositories of the Hugging Face hub, use what has been downloaded before, and ask the hub nothing"
    )
    threads: int = _setting(0, "CPU threads of each engine; 0 is one for each core", low=0, high=256)
    max_batch: int = _setting(
        0,
        "units that an engine advances together; 0 is the engine's own number: 16, and on a GPU as many as have room",
        low=0,
        high=512,
    )
    processes: bool = _setting(
        True, "run each engine, and text normalization, in processes that are restarted on failure"
    )

    voices: str = _setting("", "folder that stores voices; left out, they are kept in memory only", path=True)
    default_voice: str = _setting("default", "voice of streams that name none")
    min_recording_ms: int = _setting(1000, "shortest recording that makes a voice", low=100, high=60_000)
    max_recording_ms: int = _setting(60_000, "longest recording that makes a voice", low=1000, high=600_000)
    max_recording_bytes: int = _setting(32 << 20, "largest upload of a recording", low=1 << 16, high=1 << 30)
    max_uploads: int = _setting(4, "recordings that are uploaded and prepared at once", low=1, high=1000)
    max_uploads_per_caller: int = _setting(2, "uploads of one caller at once", low=1, high=1000)
    upload_timeout_s: float = _setting(300.0, "how long an upload may take", low=0.1, high=86_400)
    upload_pause_s: float = _setting(30.0, "how long an upload may pause between two messages", low=0.1, high=3600)
    decoding_timeout_s: float = _setting(30.0, "how long an uploaded sound file may take to decode", low=0.1, high=3600)
    max_voices: int = _setting(1000, "voices of all callers together", low=0, high=100_000)
    max_voices_per_owner: int = _setting(100, "voices of one caller that is no admin", low=0, high=100_000)
    max_voices_bytes: int = _setting(4 << 30, "bytes of all voices together", low=1 << 20, high=1 << 50)
    max_voices_bytes_per_owner: int = _setting(
        1 << 30, "bytes of the voices of one caller that is no admin", low=1 << 20, high=1 << 50
    )

    emotion_threshold: float = _setting(0.5, "intensity from which an emotion counts as strong", low=0.0, high=1.0)
    emotion_engines: str = _setting("", "engine for an emotion, whatever its intensity, as in angry=NAME,sad=NAME")
    emotion_analyzer: str = _setting(
        "lexicon", "analyzer of texts that carry no emotion of their own", choices=("none", "lexicon", "qwen")
    )
    emotion_model: str = _setting(
        "",
        "the Qwen emotion model: a folder or a repository, as in IndexTeam/IndexTTS-2.5/qwen0.6bemo4-merge; needs the "
        "extra intone[qwen]",
        path=True,
    )
    emotion_wait_ms: int = _setting(
        60, "longest wait for the Qwen emotion model; then the lexicon decides", low=0, high=10_000
    )
    busy_ms: int = _setting(
        3000,
        "avoid an engine that is busy and predicted to take longer than this to first audio; 0 never does",
        low=0,
        high=60_000,
    )
    fillers: bool = _setting(True, "render interjections for every voice, to cover long waits")
    match_loudness: bool = _setting(True, "match the loudness of all engines, voice by voice, to that of plain speech")
    filler_threshold_ms: int = _setting(400, "longest wait that is left silent", low=50, high=10_000)
    pause_scale: float = _setting(1.0, "factor for the pauses between sentences; 0 is none", low=0.0, high=4.0)
    normalize: bool = _setting(True, "read out numbers and symbols as words, unless a stream says otherwise")
    normalize_budget_ms: int = _setting(
        1000, "longest time to normalize a text and read its emotion; then it is spoken as written", low=10, high=60_000
    )
    first_unit_characters: int = _setting(12, "shortest clause that may be spoken first", low=1, high=500)
    max_unit_characters: int = _setting(200, "longest unit: text that an engine speaks in one go", low=20, high=2000)
    wait_ms: int = _setting(400, "speak an unfinished unit after this long without more text", low=10, high=60_000)
    max_lead_ms: int = _setting(5000, "how far audio may run ahead of playback", low=200, high=600_000)
    chunk_ms: int = _setting(160, "longest audio chunk", low=10, high=1000)

    max_connections: int = _setting(1000, "connections open at once; further ones are closed", low=1, high=1_000_000)
    max_calls_per_connection: int = _setting(
        100, "calls open at once on one connection; clients let further ones wait", low=1, high=100_000
    )
    connection_idle_s: float = _setting(600.0, "close a connection after this long without a call", low=1, high=86_400)
    connection_age_s: float = _setting(
        3600.0, "let a connection of this age take no new calls: clients connect again", low=1, high=31_536_000
    )
    connection_grace_s: float = _setting(
        21_600.0, "how long the open calls of a connection of that age may go on", low=1, high=31_536_000
    )
    max_calls: int = _setting(1000, "calls of any method open at once, streams among them", low=1, high=1_000_000)
    max_calls_per_caller: int = _setting(
        500, "calls open at once of one caller: a principal, without authentication an address", low=1, high=1_000_000
    )
    max_health_watches: int = _setting(64, "health watches open at once; they need no token", low=1, high=100_000)
    write_timeout_s: float = _setting(
        30.0, "end a call whose client has read nothing for this long after all it has was played", low=0.05, high=3600
    )
    max_streams: int = _setting(64, "streams open at once", low=1, high=100_000)
    max_load: float = _setting(
        0.85,
        "part of what an engine can speak without holes, beyond which streams are refused; 0 is off",
        low=0,
        high=10,
    )
    max_first_sound_ms: int = _setting(
        3000,
        "refuse a stream whose first sound is predicted later than this, and more than twice as late as alone",
        low=50,
        high=600_000,
    )
    max_streams_per_caller: int = _setting(0, "streams open at once of one caller; 0: max_streams", low=0, high=100_000)
    max_messages_per_s: float = _setting(
        1000.0, "messages of a stream that are read in a second; others wait", low=1, high=1e6
    )
    max_characters_per_s: float = _setting(
        10_000.0, "characters of a stream that are read in a second; others wait", low=100, high=1e8
    )
    max_open_utterances: int = _setting(32, "utterances of one stream that have not ended", low=1, high=10_000)
    max_text_characters: int = _setting(16_384, "characters in one text message", low=100, high=1 << 20)
    max_utterance_characters: int = _setting(131_072, "characters in one utterance", low=100, high=1 << 24)
    max_stream_characters: int = _setting(
        262_144, "characters in all open utterances of a stream", low=100, high=1 << 24
    )
    max_emotion_clip_bytes: int = _setting(
        64 << 20, "emotion clips in memory, of all callers; the oldest are forgotten", low=2 << 20, high=1 << 36
    )
    max_steps: int = _setting(50, "steps that a caller may ask an engine for", low=1, high=100)
    max_min_audio_ms: int = _setting(10_000, "min_audio_ms that a caller may ask an engine for", low=0, high=60_000)
    max_parked_s: float = _setting(
        60.0, "free what an engine keeps of a unit whose listener has paused for so long", low=0.1, high=86_400
    )
    max_unit_bytes: int = _setting(
        2 << 30,
        "memory of the units that an engine has begun; beyond it, units whose listeners have paused give theirs back, "
        "and others wait",
        low=1 << 20,
        high=1 << 42,
    )
    max_malformed_messages: int = _setting(
        10, "messages of a stream that may be undecodable; with the next one it ends", low=0, high=1000
    )
    max_waiting_answers: int = _setting(
        256, "answers to messages of one stream that its client has not read; with more it ends", low=10, high=100_000
    )
    config_timeout_s: float = _setting(10.0, "how long a stream may take to send its config", low=0.1, high=600)
    text_timeout_ms: int = _setting(
        10_000,
        "when others wait behind an utterance and its text has been silent for so long, its text is taken as ended",
        low=100,
        high=600_000,
    )
    idle_timeout_s: float = _setting(
        600.0, "end a stream after this long without any message, while nothing is playing", low=1, high=86_400
    )
    resume_s: float = _setting(
        10.0, "how long a stream whose connection was lost waits for its client to resume it; 0 is off", low=0, high=600
    )
    max_held_streams: int = _setting(
        64, "streams that wait for their client at once; further ones end with their connection", low=1, high=100_000
    )
    max_resume_bytes: int = _setting(
        1 << 20,
        "bytes kept of each stream that can be resumed, since its client may lack them",
        low=1 << 12,
        high=1 << 28,
    )
    drain_s: float = _setting(
        30.0, "on SIGTERM, how long open streams may take to finish speaking and playing", low=0, high=3600
    )

    token: str = field(default="", repr=False)
    registry: Registry = field(default_factory=lambda: ENGINES, repr=False)
    engine_settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of engines by name; those that are not given are completed with their defaults."""

    @classmethod
    def of(cls, registry: Registry = ENGINES, **values: Any) -> "Config":
        """Settings by name, those of the engines in `registry` among them."""
        own = {setting.name for setting in all_engine_settings(registry)} & values.keys()
        engine_settings = {name: values.pop(name) for name in own}
        return cls(**values, registry=registry, engine_settings=engine_settings)

    def __post_init__(self) -> None:
        defaults = {setting.name: setting.default for setting in all_engine_settings(self.registry)}
        object.__setattr__(self, "engine_settings", {**defaults, **self.engine_settings})
        for setting in public_settings():
            _check(setting.name, getattr(self, setting.name), setting.metadata)
        if fault := conflict(self):
            raise ConfigError(fault)
        sized = [name for name, entry in self.registry.items() if entry.random_weights]
        if self.random_weights and not any(self.engine_settings[name] for name in sized):
            raise ConfigError(f"random_weights needs {' or '.join(sized)} to name a size, such as --{sized[0]} nano")
        if self.default_engine not in ("auto", *self.registry):
            names = listed(("auto", *self.registry), self.default_engine)
            raise ConfigError(f"default_engine is {self.default_engine!r}; it must be one of {names}")
        self._named_order()
        self.engines_by_emotion()
        self.precisions()
        self.devices()

    def order(self) -> list[str]:
        """Names of all engines in the registry in the order of preference.

        Raises:
            ConfigError: `engine_order` names an engine that does not exist, or names one twice.
            CheckpointError: the package has a voice whose card cannot be read.
        """
        named = self._named_order()
        others = list(self.registry)
        for name, entry in self.registry.items():
            if entry.better:
                better = resolve(entry.better)(self.engine_settings[entry.settings[0].name], self.random_weights)
                first = [one for one in others if one in better]
                others = [one for one in others if one not in better]
                others[others.index(name) : others.index(name)] = first
        return named + [name for name in others if name not in named]

    def _named_order(self) -> list[str]:
        named = [part.strip() for part in self.engine_order.split(",")] if self.engine_order else []
        for name in named:
            if name not in self.registry:
                names = listed(self.registry, name)
                raise ConfigError(f"engine_order names the engine {name!r}; engines are {names}")
            if named.count(name) > 1:
                raise ConfigError(f"engine_order names {name} twice")
        return named

    def engines_by_emotion(self) -> dict[str, str]:
        """`emotion_engines` as a mapping.

        Raises:
            ConfigError: it is not a list of emotion=engine, or names one that does not exist.
        """
        found = {}
        for pair in filter(None, (part.strip() for part in self.emotion_engines.split(","))):
            emotion, _, engine = pair.partition("=")
            if emotion not in ("neutral", *EMOTIONS):
                names = listed(("neutral", *EMOTIONS), emotion)
                raise ConfigError(f"emotion_engines names the emotion {emotion!r}; the emotions are {names}")
            if engine not in self.registry:
                names = listed(self.registry, engine)
                raise ConfigError(f"emotion_engines gives {emotion} to {engine!r}; engines are {names}")
            found[emotion] = engine
        return found

    def pack_cache_folder(self) -> Path | None:
        """The folder that `pack_cache` stands for; None keeps nothing."""
        chosen = self.pack_cache or os.environ.get("INTONE_CACHE", "")
        if chosen:
            return None if chosen == "off" else Path(chosen).expanduser()
        try:
            return _user_cache() / "intone" / "packed"
        except RuntimeError:  # there is no home
            return None

    def precisions(self) -> dict[str, str]:
        """`dtype` of every engine that has a choice, each one of `PRECISIONS`.

        Raises:
            ConfigError: it is neither one of `PRECISIONS` nor a list of engine=precision, or names an engine twice.
        """
        engines = [name for name, entry in self.registry.items() if entry.cpu_precision]
        return by_engine("dtype", self.dtype, engines, PRECISIONS, PRECISIONS.__contains__, absent="auto")

    def devices(self) -> dict[str, str]:
        """`device` of every engine: "cpu", "cuda", "cuda:N", or "auto" where the engine can run on either.

        Raises:
            ConfigError: it is neither a device nor a list of engine=device, names an engine twice, or gives an engine a
                kind of device that it cannot run on.
        """
        listed = "=" in self.device
        engines = list(self.registry)
        found = by_engine("device", self.device, engines, DEVICES, _DEVICE.fullmatch, absent="cpu")
        for name, device in found.items():
            if "cuda" in self.registry[name].devices:
                continue
            if listed and device.startswith("cuda"):
                raise ConfigError(f"device gives {name} {device!r}; {name} runs on the CPU only")
            found[name] = "cpu"
        return found


def all_engine_settings(registry: Registry) -> list[EngineSetting]:
    """The settings that the engines of a registry declare."""
    return [setting for entry in registry.values() for setting in entry.settings]


def _user_cache() -> Path:
    """The platform's folder for files that can be made again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"  # the specification says to ignore a relative one


def _check(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    low, high, choices = metadata.get("low"), metadata.get("high"), metadata.get("choices", ())
    if low is not None and not low <= value <= high:
        raise ConfigError(f"{name} is {value}; it must be from {low} to {high}")
    if choices and value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {listed(choices, value)}")


def public_settings() -> list[Any]:
    """The fields that are keys of the file and flags."""
    return [setting for setting in fields(Config) if "help" in setting.metadata]
