"""An interceptor of every call: decoding that names the invalid field."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc

from intone.proto import speech_pb2, voice_pb2
from intone.server.rpc.wire.decoding import decode

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


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
