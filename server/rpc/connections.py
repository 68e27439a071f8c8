"""Options of gRPC for connections: how many, how long, and how soon a dead one is noticed."""

from intone.server.config import Config
from intone.server.voices.emotion_clips import MAX_EMOTION_CLIP_BYTES

MAX_BYTES_PER_CHARACTER = 4
"""In UTF-8."""

SETTINGS_BYTES = 1 << 20
"""Room for the settings beside a text; the largest part of them are pronunciations."""

CHANNEL_OPTIONS = [
    # A client that vanishes is detected within a minute. gRPC sets TCP_USER_TIMEOUT from the keepalive timeout, which
    # detects a dead network; a client that hangs is detected by the ping timeout (gRPC 1.85; one minute by default).
    # Clients may ping as often as every ten seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    # A connection that says nothing is closed (two minutes by default).
    ("grpc.server_handshake_timeout_ms", 10_000),
    # With SO_REUSEPORT two servers on one port would share its connections at random; without it the second one fails.
    ("grpc.so_reuseport", 0),
]


def max_message_bytes(config: Config) -> int:
    """Size of the largest message that can be valid: an emotion clip, or a text with its settings."""
    characters = max(config.max_text_characters, config.max_utterance_characters)
    return max(MAX_EMOTION_CLIP_BYTES, MAX_BYTES_PER_CHARACTER * characters) + SETTINGS_BYTES


def channel_options(config: Config) -> list[tuple[str, int]]:
    """All options of a server with these settings."""
    return [
        *CHANNEL_OPTIONS,
        ("grpc.max_receive_message_length", max_message_bytes(config)),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.max_concurrent_streams", config.max_calls_per_connection),
        ("grpc.max_connection_idle_ms", round(1000 * config.connection_idle_s)),
        ("grpc.max_connection_age_ms", round(1000 * config.connection_age_s)),
        ("grpc.max_connection_age_grace_ms", round(1000 * config.connection_grace_s)),
    ]
