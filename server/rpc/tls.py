"""The server's TLS credentials, from the PEM files that the settings name."""

import ssl
from pathlib import Path
from typing import Any

import grpc

from intone.server.config import Config, ConfigError


def server_credentials(config: Config) -> Any:
    """Credentials for gRPC; with `tls_client_ca` clients must present a certificate (mTLS).

    Raises:
        ConfigError: a file cannot be read, or certificate and key do not fit together.
    """
    files = {}
    for name in ("tls_certificate", "tls_key", "tls_client_ca"):
        if path := getattr(config, name):
            try:
                files[name] = Path(path).expanduser().read_bytes()
            except OSError as error:
                raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from error
    _check_key(Path(config.tls_certificate).expanduser(), Path(config.tls_key).expanduser())
    return grpc.ssl_server_credentials(
        [(files["tls_key"], files["tls_certificate"])],
        root_certificates=files.get("tls_client_ca"),
        require_client_auth="tls_client_ca" in files,
    )


def _check_key(certificate: Path, key: Path) -> None:
    """Load the files with `ssl`, which says what is wrong with them; gRPC says only that it cannot listen."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        message = (
            f"tls_certificate {certificate}, tls_key {key}: not a PEM certificate and its key without a password "
            f"({error})"
        )
        raise ConfigError(message) from error
