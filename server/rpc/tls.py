"""The server's TLS credentials, from the PEM files that the settings name. They are read again when they change."""

import logging
import ssl
from pathlib import Path
from typing import Any

import grpc

from intone.server.config import Config
from intone.server.errors import ConfigError
from intone.server.storage.file_version import file_version

logger = logging.getLogger(__name__)


def server_credentials(config: Config) -> Any:
    """Credentials for gRPC; with `tls_client_ca` clients must present a certificate (mTLS).

    The files are looked at when a client connects: a renewed certificate counts from the next connection on. New files
    that do not fit together are logged, and the old ones stay.

    Raises:
        ConfigError: a file cannot be read, or certificate and key do not fit together.
    """
    files = _Files(config)
    return grpc.dynamic_ssl_server_credentials(files.read(), files.changed, bool(config.tls_client_ca))


class _Files:
    """The files of certificate, key and client CA."""

    def __init__(self, config: Config) -> None:
        names = [name for name in ("tls_certificate", "tls_key", "tls_client_ca") if getattr(config, name)]
        self._paths = {name: Path(getattr(config, name)).expanduser() for name in names}
        self._read_versions: list[tuple[int, ...]] = []

    def read(self) -> Any:
        """The configuration in the files.

        Raises:
            ConfigError: they cannot be used.
        """
        self._read_versions = self._versions()
        files = {}
        for name, path in self._paths.items():
            try:
                files[name] = path.read_bytes()
            except OSError as error:
                raise ConfigError(f"{name}: cannot read {path}: {error.strerror}") from error
        _check_key(self._paths["tls_certificate"], self._paths["tls_key"])
        _check_ca(self._paths.get("tls_client_ca"))
        pairs = [(files["tls_key"], files["tls_certificate"])]
        return grpc.ssl_server_certificate_configuration(pairs, files.get("tls_client_ca"))

    def changed(self) -> Any:
        """The configuration if the files have changed, else None. Called by gRPC, on a thread of its own."""
        if self._versions() == self._read_versions:
            return None
        try:
            configuration = self.read()
        except ConfigError as error:
            logger.error("the TLS files have changed, but cannot be used, and the old ones stay: %s", error)
            return None
        logger.info("the TLS files have changed and are used from now on")
        return configuration

    def _versions(self) -> list[tuple[int, ...]]:
        return [file_version(path) for path in self._paths.values()]


def _check_key(certificate: Path, key: Path) -> None:
    """Load the files with `ssl`, which says what is wrong with them; gRPC says only that it cannot listen."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError, OSError) as error:
        message = (
            f"tls_certificate {certificate}, tls_key {key}: not a PEM certificate and its key without a password "
            f"({error})"
        )
        raise ConfigError(message) from error


def _check_ca(path: Path | None) -> None:
    if path is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ConfigError(f"tls_client_ca {path}: not PEM certificates ({error})") from error
