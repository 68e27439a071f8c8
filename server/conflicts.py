"""Settings that contradict each other. All are refused at the start, before anything is loaded."""

import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intone.server.config import Config

CONFLICTS: tuple[tuple[Callable[["Config"], bool], str], ...] = (
    (
        lambda config: bool(config.tls_certificate) != bool(config.tls_key),
        "tls_certificate and tls_key go together: give both or neither",
    ),
    (
        lambda config: bool(config.tls_client_ca and not config.tls_certificate),
        "tls_client_ca needs tls_certificate and tls_key: mTLS is TLS with a client certificate",
    ),
    (
        lambda config: not (_authenticates(config) or config.insecure or is_loopback(config.host)),
        "host {config.host} can be reached from other machines, and calls need no authentication. Give a token "
        "(--tokens-file, --token-file or INTONE_TOKEN), or demand client certificates (--tls-client-ca), or say "
        "--insecure",
    ),
    (
        lambda config: bool(config.port) and (config.host, config.port) == (config.metrics_host, config.metrics_port),
        "port and metrics_port are both {config.port}, on {config.host}: gRPC and the metrics need a port each",
    ),
    (
        lambda config: config.emotion_analyzer == "qwen" and not config.emotion_model,
        "emotion_analyzer qwen needs emotion_model, the folder of the model",
    ),
    (
        lambda config: config.first_unit_characters >= config.max_unit_characters,
        "first_unit_characters must be less than max_unit_characters, {config.max_unit_characters}",
    ),
    (
        lambda config: config.max_calls < config.max_streams,
        "max_calls must be at least max_streams, {config.max_streams}: streams are calls, too",
    ),
)
"""Contradictions of their own kind: what each is, and what to tell about it."""

ORDERED = (
    ("min_recording_ms", "max_recording_ms"),
    ("max_text_characters", "max_utterance_characters"),
    ("max_utterance_characters", "max_stream_characters"),
    ("chunk_ms", "max_lead_ms"),
)
"""The first of two may not be more than the second."""

PARTS = (
    ("max_calls_per_caller", "max_calls"),
    ("max_streams_per_caller", "max_streams"),
    ("max_held_streams", "max_streams"),
    ("max_uploads_per_caller", "max_uploads"),
    ("max_voices_per_owner", "max_voices"),
    ("max_voices_bytes_per_owner", "max_voices_bytes"),
    ("upload_pause_s", "upload_timeout_s"),
    ("connection_idle_s", "connection_age_s"),
)
"""The first of two has no effect when it is more than the second: refused unless it is the default, so that one setting
is enough to lower a limit."""

NEEDS = (
    ("client_roles", "tls_client_ca"),
    ("metrics_host", "metrics_port"),
    ("max_first_sound_ms", "max_load"),
    ("max_held_streams", "resume_s"),
    ("max_resume_bytes", "resume_s"),
)
"""The first of two, where it is set, has no effect without the second."""


def conflict(config: "Config") -> str:
    """The first contradiction in the settings; empty if there is none."""
    told = [text.format(config=config) for holds, text in CONFLICTS if holds(config)]
    defaults = {field.name: field.default for field in fields(config)}

    def more(first: str, second: str) -> bool:
        return bool(getattr(config, first) > getattr(config, second))

    def is_set(name: str) -> bool:
        return bool(getattr(config, name) != defaults[name])

    text = "{} is {}, more than {}, {}"
    told += [text.format(a, getattr(config, a), b, getattr(config, b)) for a, b in ORDERED if more(a, b)]
    parts = ((a, b) for a, b in PARTS if is_set(a) and more(a, b))
    told += [text.format(a, getattr(config, a), b, getattr(config, b)) + ": it has no effect" for a, b in parts]
    needs = ((a, b) for a, b in NEEDS if is_set(a) and not getattr(config, b))
    told += [f"{a} has no effect without {b}: give both or neither" for a, b in needs]
    return next(iter(told), "")


def engine_conflict(config: "Config", loaded: Collection[str], flags: Mapping[str, str]) -> str:
    """What the settings say about an engine that is not loaded; empty if they say nothing.

    Args:
        loaded: names of the engines that are loaded.
        flags: what loads each engine, such as "--voxcpm MODEL", by its name.
    """
    named = [("default_engine", config.default_engine)] if config.default_engine != "auto" else []
    named += [("emotion_engines", name) for name in config.engines_by_emotion().values()]
    for setting, text in (("dtype", config.dtype), ("device", config.device)):
        named += [(setting, pair.partition("=")[0].strip()) for pair in text.split(",") if "=" in pair]
    missing = ((setting, name) for setting, name in named if name not in loaded)
    return next((f"{setting} names {name}, which is not loaded: give {flags[name]}" for setting, name in missing), "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _authenticates(config: "Config") -> bool:
    return bool(config.token or config.tokens_file or config.tls_client_ca)
