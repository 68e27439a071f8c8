"""What is probably wrong with a server that cannot be reached."""

import argparse

from intone.client.errors import IntoneError


def uses_tls(arguments: argparse.Namespace) -> bool:
    """Whether any argument asks for TLS."""
    return bool(arguments.tls or arguments.tls_ca or arguments.tls_cert or arguments.tls_key)


def connection_hint(error: IntoneError, arguments: argparse.Namespace) -> str:
    """What to try, by the messages of gRPC."""
    if "CERTIFICATE_VERIFY_FAILED" in error.message:
        return "The certificate of the server is not trusted: name its certificate authority with --tls-ca PEM."
    if "WRONG_VERSION_NUMBER" in error.message:
        return "The server does not use TLS: leave out --tls and the other TLS options, also $INTONE_TLS_CA."
    if "Socket closed" in error.message and uses_tls(arguments):
        return "The server may demand a client certificate: --tls-cert PEM --tls-key PEM."
    if "Socket closed" in error.message:
        return "The server may demand TLS: --tls, or --tls-ca PEM for a certificate authority of your own."
    return "Start a server with `intone-server`, or name a running one with --server HOST:PORT."
