"""How a client reaches a server: channel settings, certificates, token. Knows nothing of speech."""

from pathlib import Path

import grpc

_CHANNEL_OPTIONS = [
    # With the bandwidth probe on, gRPC lets the server send minutes of audio that nobody has read: an interruption
    # would then wait behind it. These two keep what is under way near half a second of 16-bit speech.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16384),
    # One TCP connection for each client: two speakers must not share one window.
    ("grpc.use_local_subchannel_pool", 1),
    # A channel that failed refuses calls until its own pause is over; ours, before a call is opened again, are shorter
    # than its default of a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Despite its name: how long making a connection may take.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # A server that is gone without a word is noticed half a minute later, even while nobody speaks. The timeout of the
    # keepalive is what the kernel is told; gRPC itself (1.85) goes by that of the ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]

ANSWER_S = 20.0
"""How long the answer to a question may take that the server need not work for."""


def tls(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> grpc.ChannelCredentials:
    """Credentials for a server with TLS.

    Args:
        ca: PEM file of the authority that signed the server's certificate; None trusts those of the system.
        certificate, key: PEM files that prove who the client is, for a server that asks (mutual TLS); both or none.

    Raises:
        OSError: a file cannot be read.
        ValueError: only one of `certificate` and `key` is given.
    """
    if (certificate is None) != (key is None):
        raise ValueError("a client certificate needs its key, and a key its certificate")
    pem = [None if path is None else path.read_bytes() for path in (ca, key, certificate)]
    return grpc.ssl_channel_credentials(root_certificates=pem[0], private_key=pem[1], certificate_chain=pem[2])


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to `target` ("host:port") for the running event loop; without credentials it is not encrypted."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)


def call_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What accompanies every call: the bearer token, where there is one."""
    return () if token is None else (("authorization", f"Bearer {token}"),)
