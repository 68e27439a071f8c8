"""Finds the principal of each call by its token or client certificate; refuses what its roles do not allow."""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc

from intone.proto import speech_pb2, voice_pb2
from intone.server.config import Config
from intone.server.errors import CallerError, ConfigError, Reason
from intone.server.rpc.caller import ANYBODY, Principal, Role, set_principal
from intone.server.rpc.handlers import behaviour_of
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.tokens_file import Credentials, TokensFileError, one_token, parse, roles_of
from intone.server.storage.file_version import file_version

logger = logging.getLogger(__name__)

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Services that need no authentication: health probes carry none."""

BEARER = Principal("token", frozenset(Role))
"""Everybody who has the one token of `token_file` or INTONE_TOKEN."""

CHECK_S = 1.0
"""How often the tokens file is looked at, at most."""


def _methods() -> dict[str, Role | None]:
    """The role that each method of `intone.v1` needs; None for those that everybody may call who is known."""
    speech = {"StreamSynthesize": Role.SPEAK, "Synthesize": Role.SPEAK, "AnalyzeEmotion": Role.SPEAK}
    voices = dict.fromkeys(("CreateVoice", "ShareVoice", "DeleteVoice", "AddFillers", "RemoveFillers"), Role.MANAGE)
    roles = {
        speech_pb2.DESCRIPTOR.services_by_name["SpeechService"]: {**speech, "GetServerInfo": None},
        voice_pb2.DESCRIPTOR.services_by_name["VoiceService"]: {
            **voices,
            "UploadEmotionClip": Role.SPEAK,
            "ListVoices": None,
            "GetVoice": None,
        },
    }
    return {
        f"/{service.full_name}/{method.name}": named[method.name]
        for service, named in roles.items()
        for method in service.methods
    }


METHOD_ROLES = _methods()


class TokensFile:
    """The credentials in a file, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            ConfigError: it cannot be read.
        """
        self._path = path
        self._checked_s, self._version = 0.0, file_version(path)
        try:
            self._credentials = self._read()
        except (OSError, UnicodeDecodeError, TokensFileError) as error:
            raise ConfigError(f"tokens_file: {path}: {_words(error)}") from error

    def credentials(self) -> Credentials:
        """What the file holds; what it held before, where it cannot be read any more."""
        now_s = time.monotonic()
        if now_s - self._checked_s >= CHECK_S:
            self._checked_s = now_s
            if (version := file_version(self._path)) != self._version:
                self._version = version
                self._reload()
        return self._credentials

    def _reload(self) -> None:
        try:
            self._credentials = self._read()
        except (OSError, UnicodeDecodeError, TokensFileError) as error:
            logger.error("the tokens file has changed, but cannot be used, and the old tokens stay: %s", _words(error))
        else:
            logger.info("the tokens file has changed: %d tokens are known", len(self._credentials.tokens))

    def _read(self) -> Credentials:
        return parse(self._path.read_text("utf8"))


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror}"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


class Authentication(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Sets the principal of each call, or refuses it.

    A call without a valid token is refused before any of its messages is decoded. The certificate of a client is known
    only to the handler of its call, which is wrapped for it.
    """

    def __init__(self, config: Config) -> None:
        """Set up.

        Raises:
            ConfigError: the tokens file cannot be used, or a role in `client_roles` does not exist.
        """
        self._one = one_token(config.token, BEARER) if config.token else None
        self._file = TokensFile(Path(config.tokens_file).expanduser()) if config.tokens_file else None
        self._certificates = bool(config.tls_client_ca)
        self._has_tokens = self._one is not None or self._file is not None
        try:
            self._client_roles = roles_of(config.client_roles)
        except TokensFileError as error:
            raise ConfigError(f"client_roles: {error}") from None

    @property
    def description(self) -> str:
        """Which authentication is on, for the log."""
        kinds = {"token": self._one, "tokens file": self._file, "mTLS": self._certificates}
        return ", ".join(kind for kind, on in kinds.items() if on) or "none"

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """Check the metadata of a call; or have its handler check the client's certificate."""
        method = handler_call_details.method
        if method.startswith(OPEN_SERVICES):
            return await continuation(handler_call_details)
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        given = given if isinstance(given, bytes) else given.encode()
        if self._by_certificate(given):
            handler = await continuation(handler_call_details)
            return handler and _wrapped(handler, lambda context: self._check(self._certified(context), method))
        principal = self._bearer(given) if self._has_tokens else ANYBODY
        try:
            self._check(principal, method)
        except CallerError as error:
            return _refusal(error)
        return await continuation(handler_call_details)

    def _by_certificate(self, given: bytes) -> bool:
        """Whether the client's certificate decides: where there are no tokens, or the file has certificates as well."""
        if not self._certificates:
            return False
        if not self._has_tokens:
            return True
        return not given and self._file is not None and bool(self._file.credentials().certificates)

    def _bearer(self, given: bytes) -> Principal | None:
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            return None
        found = self._one.of_token(token) if self._one is not None else None
        return found or (self._file.credentials().of_token(token) if self._file is not None else None)

    def _certified(self, context: Any) -> Principal | None:
        names = _certificate_names(context.auth_context())
        if self._file is not None:
            return self._file.credentials().of_certificate(names)
        return Principal(names[0], self._client_roles) if names else None

    def _check(self, principal: Principal | None, method: str) -> None:
        """Set the principal of this call.

        Raises:
            CallerError: there is none (UNAUTHENTICATED), or it may not call the method (PERMISSION_DENIED).
        """
        if principal is None:
            raise CallerError("", self._needed(), Reason.UNAUTHENTICATED)
        role = METHOD_ROLES.get(method)
        if role is not None and not principal.may(role):
            message = f"{principal.name!r} lacks the role {role.value!r}, which {method.rpartition('/')[2]} needs"
            raise CallerError("", message, Reason.PERMISSION_DENIED, role=role.value)
        set_principal(principal)

    def _needed(self) -> str:
        if not self._has_tokens:
            return "the client certificate names nobody: it has neither a common name nor an alternative name"
        also = " or a client certificate that the server knows" if self._certificates and self._file else ""
        return f"a call needs the metadata `authorization: Bearer TOKEN`{also}"


def _refusal(error: CallerError) -> Any:
    """A handler that refuses a call of any method: on the wire each is a stream of messages both ways."""

    async def refuse(_requests: Any, context: Any) -> None:
        async with errors_as_status(context):
            raise error

    return grpc.stream_stream_rpc_method_handler(refuse)


def _certificate_names(auth_context: Any) -> list[str]:
    """The common name and the alternative names of a client certificate."""
    keys: Iterable[str] = ("x509_common_name", "x509_subject_alternative_name")
    found = [name.decode("utf8", "replace") for key in keys for name in auth_context.get(key, ())]
    return [name for name in found if name]


def _wrapped(handler: Any, check: Callable[[Any], None]) -> Any:
    """The handler of a method, with `check` called first with the context of the call."""

    name, behaviour = behaviour_of(handler)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        async with errors_as_status(context):
            check(context)
        async with contextlib.aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                yield response

    async def single(request: Any, context: Any) -> Any:
        async with errors_as_status(context):
            check(context)
        return await behaviour(request, context)

    return handler._replace(**{name: stream if handler.response_streaming else single})
