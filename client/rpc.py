"""Unary calls to a server."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from intone.client.errors import IntoneError, from_rpc_error
from intone.client.retry import Backoff, refused_for_now

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rpc:
    """A channel, and what every call on it carries.

    Attributes:
        metadata: of every call.
        timeout_s: deadline of calls that are answered at once; None for no deadline.
        upload_timeout_s: deadline of calls that carry recordings, the server's work on them included.
        retry_s: how long a call that the server has refused for now (RetryInfo) is made again.
    """

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    timeout_s: float | None
    upload_timeout_s: float | None
    retry_s: float

    async def ask(self, method: Callable[..., Any], request: Any) -> Any:
        """Make a unary call.

        Raises:
            IntoneError: it failed; TimedOut if each attempt would take longer than `timeout_s`.
        """
        return await self._retried(method, request, self.timeout_s)

    async def upload(self, method: Callable[..., Any], request: Any) -> Any:
        """Make a unary call that carries recordings. Raises as `ask` does."""
        return await self._retried(method, request, self.upload_timeout_s)

    async def _retried(self, method: Callable[..., Any], request: Any, timeout_s: float | None) -> Any:
        async def attempt() -> Any:
            try:
                return await method(request, metadata=self.metadata, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

        return await self.retried(attempt)

    async def retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, which is made again when the server refuses it for now.

        Raises:
            IntoneError: another failure, or the last refusal within `retry_s`.
        """
        backoff = Backoff()
        while True:
            try:
                return await attempt()
            except IntoneError as failure:
                pause_s = backoff.pause_s(failure, self.retry_s) if refused_for_now(failure) else None
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
