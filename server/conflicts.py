"""Settings that contradict each other. All are refused at the start, before anything is loaded."""

import ipaddress
from collections.abc import Callable, Collection, Mapping
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
        lambda config: config.min_recording_ms > config.max_recording_ms,
        "min_recording_ms is {config.min_recording_ms}, more than max_recording_ms, {config.max_recording_ms}",
    ),
    (
        lambda config: config.max_text_characters > config.max_utterance_characters,
        "max_text_characters is {config.max_text_characters}, more than max_utterance_characters, "
        "{config.max_utterance_characters}",
    ),
    (
        lambda config: config.max_utterance_characters > config.max_stream_characters,
        "max_utterance_characters is {config.max_utterance_characters}, more than max_stream_characters, "
        "{config.max_stream_characters}",
    ),
    (
        lambda config: config.first_unit_characters >= config.max_unit_characters,
        "first_unit_characters must be less than max_unit_characters, {config.max_unit_characters}",
    ),
    (
        lambda config: config.chunk_ms > config.max_lead_ms,
        "chunk_ms is {config.chunk_ms}, more than max_lead_ms, {config.max_lead_ms}",
    ),
    (
        lambda config: config.max_calls < config.max_streams,
        "max_calls must be at least max_streams, {config.max_streams}: streams are calls, too",
    ),
)
"""Each contradiction: what it is, and what to tell about it."""


def conflict(config: "Config") -> str:
    """The first contradiction in the settings; empty if there is none."""
    return next((text.format(config=config) for holds, text in CONFLICTS if holds(config)), "")


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
