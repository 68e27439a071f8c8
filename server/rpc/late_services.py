"""Services that are added after the server has begun to listen: while the engines load, calls are refused."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from intone.server.errors import OverloadError, Reason
from intone.server.rpc.rpc_errors import errors_as_status

RETRY_AFTER_S = 2.0
"""Retry delay for clients that call while the engines load."""


class LateServices(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Takes services as a `grpc.Server` does. gRPC itself takes none once it listens.

    Until `ready`, calls of any method end with UNAVAILABLE and the time after which to try again.
    """

    def __init__(self) -> None:
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._ready = False

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add services; called by the generated `add_...Servicer_to_server`."""
        self._handlers += handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        """Called by generated code, too; the same methods as those of the generic handlers."""

    def ready(self) -> None:
        """All services are there: answer calls."""
        self._ready = True

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; None if there is no such method."""
        if not self._ready:
            return grpc.stream_stream_rpc_method_handler(_refuse)
        found = (handler.service(handler_call_details) for handler in self._handlers)
        return next((handler for handler in found if handler is not None), None)


async def _refuse(_requests: Any, context: Any) -> AsyncIterator[Any]:
    """Of any method: on the wire each is a stream of messages both ways."""
    async with errors_as_status(context):
        raise OverloadError("the server is loading its engines: try again", RETRY_AFTER_S, Reason.LOADING)
    yield  # a generator, which interceptors expect where responses are a stream
