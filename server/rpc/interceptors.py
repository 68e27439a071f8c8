"""Interceptors of every call: decoding that names the invalid field, and authentication."""

import hmac
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from grpc_status import rpc_status

from intone.proto import speech_pb2, voice_pb2
from intone.server.errors import CallerError, Reason
from intone.server.rpc.caller import ANYBODY, Principal, Role, set_principal
from intone.server.rpc.wire.decoding import decode
from intone.server.rpc.wire.status import to_status

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

OPEN_SERVICES = ("/grpc.health.v1.Health/",)
"""Services that need no token: health probes carry none."""

BEARER = Principal("token", frozenset(Role))
"""Everybody who has the server's one token."""


def _request_types() -> dict[str, Any]:
    types = {}
    for module in (speech_pb2, voice_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                types[f"/{service.full_name}/{method.name}"] = getattr(module, method.input_type.name)
    return types


class Decoding(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Passes undecodable messages to the services as `Undecodable`, where gRPC would end the call with INTERNAL."""

    def __init__(self) -> None:
        self._types = _request_types()

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """Replace the decoder of the methods of `intone.v1`."""
        handler = await continuation(handler_call_details)
        kind = self._types.get(handler_call_details.method)
        if handler is None or kind is None:
            return handler
        return handler._replace(request_deserializer=partial(decode, kind))


class Authentication(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Sets the principal of each call; refuses calls that do not carry `authorization: Bearer TOKEN`.

    Args:
        token: ASCII; its bearer may do everything. Empty asks for none: everybody may do everything.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode() if token else b""
        error = CallerError("", "a call needs the metadata `authorization: Bearer TOKEN`", Reason.UNAUTHENTICATED)
        status = rpc_status.to_status(to_status(error))

        async def refuse(_requests: Any, context: Any) -> None:
            await context.abort_with_status(status)

        # One handler serves all methods: on the wire each is a stream of messages in both directions.
        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """Check the metadata of a call."""
        if handler_call_details.method.startswith(OPEN_SERVICES):
            return await continuation(handler_call_details)
        if not self._expected:
            set_principal(ANYBODY)
            return await continuation(handler_call_details)
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        given = given if isinstance(given, bytes) else given.encode()
        if not hmac.compare_digest(given, self._expected):
            return self._refusal
        set_principal(BEARER)
        return await continuation(handler_call_details)
