"""Unary calls to a server."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from intone.client.errors import from_rpc_error


@dataclass(frozen=True, slots=True)
class Rpc:
    """A channel, and what every call on it carries: metadata, and a deadline in seconds for those answered at once."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    timeout_s: float | None

    async def ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Make a unary call.

        Raises:
            IntoneError: it failed.
        """
        try:
            return await method(request, metadata=self.metadata, timeout=self.timeout_s)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
