"""Certificates for tests, made by the openssl command."""

import subprocess
from pathlib import Path


def _make(openssl: str, folder: Path, *arguments: str) -> None:
    subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)


def _key(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")


def sign_oneself(openssl: str, folder: Path, name: str) -> None:
    """Write NAME.key and NAME.pem, signed by itself."""
    _make(openssl, folder, "req", "-x509", *_key(name), "-days", "2", "-subj", f"/CN={name}", "-out", f"{name}.pem")


def sign(openssl: str, folder: Path, name: str, common_name: str = "", ca: str = "ca") -> None:
    """Write NAME.key and NAME.pem for localhost, signed by CA.pem."""
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    _make(openssl, folder, "req", "-new", *_key(name), "-subj", f"/CN={common_name or name}", "-out", f"{name}.csr")
    signer = ("-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-extfile", "names")
    _make(openssl, folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-days", "2", "-out", f"{name}.pem")
