"""Certificates, which several files of tests share."""

import shutil
from pathlib import Path

import pytest

from tests.support.certificates import sign, sign_oneself


@pytest.fixture(scope="session")
def openssl(require) -> str:
    """The openssl command."""
    return require("openssl", shutil.which("openssl"), "the openssl command is not installed")


@pytest.fixture(scope="session")
def certificates(openssl, tmp_path_factory) -> Path:
    """A folder with ca.pem and, signed by it, server.pem, client.pem and their keys; stranger.pem signed by itself."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "stranger"):
        sign_oneself(openssl, folder, name)
    for name in ("server", "client"):
        sign(openssl, folder, name)
    return folder
