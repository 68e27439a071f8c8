"""The standard health service, `grpc.health.v1`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """All services are SERVING until `leave`. Watches end then, since open calls would delay the drain."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Report NOT_SERVING from now on."""
        self._left.set()

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        """The state of a service, or of the whole server if the request names none."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r}")
        return self._state(request.service)

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The present state, then NOT_SERVING when it changes."""
        if not self._left.is_set():
            yield self._state(request.service)
            await self._left.wait()
        yield self._state(request.service)

    def _state(self, service: str) -> health_pb2.HealthCheckResponse:
        state = "NOT_SERVING" if self._left.is_set() else "SERVING"
        return health_pb2.HealthCheckResponse(status=state if service in self._services else "SERVICE_UNKNOWN")
