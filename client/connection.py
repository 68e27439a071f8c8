"""Connecting to a server: its address, channel options, TLS credentials, bearer token. Reads the environment."""

import ipaddress
import os
import re
from pathlib import Path

import grpc

_CHANNEL_OPTIONS = [
    # With the bandwidth probe on, gRPC's flow control lets the server send minutes of audio that nobody has read, and
    # an interruption would queue behind it. These two limit the data in flight to about half a second of 16-bit speech.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 16384),
    # One TCP connection per client, so that clients do not share a flow-control window.
    ("grpc.use_local_subchannel_pool", 1),
    # A failed channel rejects calls until its backoff is over. gRPC's default of one second is longer than the pauses
    # of `Conversation` before it opens a call again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Despite its name, this is the timeout of a connection attempt.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # A server that vanishes without closing the connection is noticed within 30 s, also while nothing is sent. The
    # keepalive timeout sets TCP_USER_TIMEOUT in the kernel; gRPC itself (1.85) uses the ping timeout.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]

DEFAULT_TARGET = "127.0.0.1:50051"
"""Address of a server on this machine."""


def default_target() -> str:
    """Address of the server where none is given: `$INTONE_SERVER`, else `DEFAULT_TARGET`."""
    return os.environ.get("INTONE_SERVER") or DEFAULT_TARGET


def default_token() -> str | None:
    """The bearer token where none is given: `$INTONE_TOKEN`, else none."""
    return os.environ.get("INTONE_TOKEN") or None


def tls(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> grpc.ChannelCredentials:
    """TLS channel credentials.

    Args:
        ca: PEM file of the certificate authority of the server; None uses gRPC's default root certificates.
        certificate, key: PEM files of the client's certificate and its private key, for mutual TLS; both or neither.

    Raises:
        OSError: a file cannot be read.
        ValueError: only one of `certificate` and `key` is given.
    """
    if (certificate is None) != (key is None):
        raise ValueError("mutual TLS needs both a client certificate and its key; only one was given")
    pem = [None if path is None else path.read_bytes() for path in (ca, key, certificate)]
    return grpc.ssl_channel_credentials(root_certificates=pem[0], private_key=pem[1], certificate_chain=pem[2])


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """Open a channel to `target` ("host:port") on the running event loop. Without credentials it is not encrypted."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=_CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)


def is_local(target: str) -> bool:
    """Whether a target, as gRPC takes it, is on this machine by its very form; other names are not looked up."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = re.sub(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:)", "", target)
    host = address.partition("]")[0].lstrip("[") if address.startswith("[") else address.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_token_stays_secret(target: str, *, encrypted: bool) -> None:
    """Refuse to send a token to another machine so that all between can read it.

    Raises:
        ValueError: the connection is not encrypted, and the target is not on this machine.
    """
    if not encrypted and not is_local(target):
        raise ValueError(
            f"the token would be sent to {target} unencrypted, for everybody on the way to read: use TLS "
            "(credentials=tls(...), --tls or --tls-ca), or allow it (allow_plaintext_token=True, --plaintext-token)"
        )


def call_metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """Metadata of every call: the bearer token, if there is one."""

    return () if token is None else (("authorization", f"Bearer {token}"),)
