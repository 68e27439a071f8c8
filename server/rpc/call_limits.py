"""Limits of every call: how many may be open at once, in all and of one caller."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from intone.server.config import Config
from intone.server.errors import Reason
from intone.server.rpc.handlers import behaviour_of
from intone.server.rpc.quotas import Quota, caller_of
from intone.server.rpc.rpc_errors import errors_as_status

HEALTH_CHECK, HEALTH_WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"

SPARE_CALLS = 100
"""Calls beyond all limits that gRPC itself lets in: health checks, and those that are being refused."""

Handler = Callable[[Any, Any], Any]


def max_grpc_calls(config: Config) -> int:
    """The number of calls above which gRPC itself refuses, without saying why."""
    return config.max_calls + config.max_health_watches + SPARE_CALLS


class CallLimits(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls over the limits on open calls. Needs the principal.

    Health checks are always answered: a server that is busy is not ill.
    """

    def __init__(self, config: Config) -> None:
        reason = Reason.CALLS_EXHAUSTED
        self._calls = Quota("calls", "max_calls", reason, config.max_calls, config.max_calls_per_caller)
        # Watches need no token: they must not use up the calls of those that have one.
        watches = config.max_health_watches
        self._watches = Quota("health watches", "max_health_watches", reason, watches, watches)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Put the limits around the handler of a call."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method == HEALTH_CHECK:
            return handler
        quota = self._watches if method == HEALTH_WATCH else self._calls
        name, behaviour = behaviour_of(handler)
        limited = _streaming if handler.response_streaming else _single
        return handler._replace(**{name: limited(behaviour, quota)})


def _single(behaviour: Handler, quota: Quota) -> Handler:
    async def limited(request: Any, context: Any) -> Any:
        async with errors_as_status(context):
            with quota.place(caller_of(context)):
                return await behaviour(request, context)

    return limited


def _streaming(behaviour: Handler, quota: Quota) -> Handler:
    async def limited(request: Any, context: Any) -> AsyncIterator[Any]:
        async with errors_as_status(context):
            with quota.place(caller_of(context)):
                async with contextlib.aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response

    return limited
