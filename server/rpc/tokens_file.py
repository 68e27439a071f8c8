"""The tokens file: who may call the server, and what each may do.

One line for each credential: a name, roles with commas, and the SHA-256 of a token or the name in a client certificate.

    # name    roles          credential
    agent     speak          sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    studio    speak,manage   certificate:studio.example

A name may have several lines, with the same roles: while a token is changed, the old one and the new one both count.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from intone.server.errors import IntoneError
from intone.server.rpc.caller import Principal, Role

_K = TypeVar("_K")

MAX_LINES = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TOKEN_BYTES = 32


class TokensFileError(IntoneError):
    """A tokens file cannot be used; the message names the line."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What principals prove themselves with.

    Attributes:
        tokens: SHA-256 digest of each token, with its principal. A plain hash is enough, since tokens are random and
            long: nobody can guess them as passwords are guessed, which slow hashes are made against.
        certificates: principals by a name in their client certificates.
    """

    tokens: tuple[tuple[bytes, Principal], ...] = ()
    certificates: tuple[tuple[str, Principal], ...] = ()

    def of_token(self, token: bytes) -> Principal | None:
        """Who has this token. Compares with all of them, each in constant time."""
        digest = hashlib.sha256(token).digest()
        found = None
        for known, principal in self.tokens:
            if hmac.compare_digest(known, digest):
                found = principal
        return found

    def of_certificate(self, names: Iterable[str]) -> Principal | None:
        """Who has the certificate with these names."""
        known = dict(self.certificates)
        return next((known[name] for name in names if name in known), None)


def one_token(token: str, principal: Principal) -> Credentials:
    """Credentials of one token alone."""
    return Credentials(((hashlib.sha256(token.encode()).digest(), principal),))


def parse(text: str) -> Credentials:
    """The credentials in the text of a tokens file.

    Raises:
        TokensFileError: a line is not one of a tokens file, repeats another, or contradicts it; or there is none.
    """
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise TokensFileError(f"it has {len(lines)} lines; at most {MAX_LINES} are taken")
    principals: dict[str, Principal] = {}
    tokens: dict[bytes, Principal] = {}
    certificates: dict[str, Principal] = {}
    for number, line in enumerate(lines, 1):
        if not (words := line.split("#")[0].split()):
            continue
        try:
            principal, kind, value = _credential(words)
            if principals.setdefault(principal.name, principal) != principal:
                raise TokensFileError(f"{principal.name} has other roles in a line above")
            if kind == "sha256":
                _put(tokens, bytes.fromhex(value), principal)
            else:
                _put(certificates, value, principal)
        except TokensFileError as error:
            raise TokensFileError(f"line {number}: {error}") from None
    if not principals:
        raise TokensFileError("it has no line: intone-server --new-token NAME ROLE... makes one")
    return Credentials(tuple(tokens.items()), tuple(certificates.items()))


def new_token(name: str, roles: Collection[str]) -> tuple[str, str]:
    """A new random token, and its line in a tokens file.

    Raises:
        TokensFileError: the name or a role is invalid.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    line = f"{name} {','.join(roles)} sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    parse(line)
    return token, line


def roles_of(text: str) -> frozenset[Role]:
    """Roles from their names, with commas.

    Raises:
        TokensFileError: there is no role of a name.
    """
    known = {role.value: role for role in Role}
    names = text.split(",")
    for name in names:
        if name not in known:
            raise TokensFileError(f"there is no role {name!r}; the roles are {', '.join(known)}")
    return frozenset(known[name] for name in names)


def _credential(words: list[str]) -> tuple[Principal, str, str]:
    """The principal of a line, and the kind and the value of its credential. Errors do not repeat the credential."""
    if len(words) != 3:
        raise TokensFileError(f"it has {len(words)} words; a name, roles and a credential are needed")
    name, roles, credential = words
    if not _NAME.fullmatch(name):
        raise TokensFileError("its name must be 1 to 64 letters, digits, '.', '_', '@' and '-', the first no sign")
    kind, _, value = credential.partition(":")
    if kind == "sha256" and not _DIGEST.fullmatch(value):
        raise TokensFileError("the SHA-256 of a token is 64 digits of 0-9 and a-f")
    if kind not in ("sha256", "certificate") or not value:
        raise TokensFileError("its credential must begin with sha256: or certificate:")
    return Principal(name, roles_of(roles)), kind, value


def _put(known: dict[_K, Principal], key: _K, principal: Principal) -> None:
    if key in known:
        raise TokensFileError("its credential is in a line above")
    known[key] = principal
