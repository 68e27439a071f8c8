"""Observes every call: gives it an id, counts it, and writes one line about it at its end.

The outermost interceptor, so that calls which others refuse are seen, too.
"""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from intone.proto import speech_pb2, voice_pb2
from intone.server.call_context import Call, current_call, request_id, set_call, trace_id_of
from intone.server.logs import fields
from intone.server.rpc.handlers import behaviour_of
from intone.server.rpc.metrics import Metrics
from intone.server.rpc.token_bucket import TokenBucket
from intone.server.rpc.tracing import CallTracing
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.rpc.writing import only, write_all
from intone.server.spans import current_span, set_span

logger = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"

QUIET_SERVICES = ("grpc.health.", "grpc.reflection.")
"""Services whose calls are logged at the level debug, unless they fail: probes come every few seconds."""

REFUSALS = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNIMPLEMENTED,
)
"""Codes with which calls can be ended as fast as a client sends them: their lines are limited."""

FORBIDDEN = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
"""Codes of callers that may not do what they ask for."""

FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
"""Codes that mean that the server has failed."""

METHODS = frozenset(
    f"{service.full_name}/{method.name}"
    for module in (speech_pb2, voice_pb2, health_pb2, reflection_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)
"""Every method of this server. Others are counted together: callers choose their names."""

MAX_METHOD_CHARACTERS = 100
"""Of the name of an unknown method in the log."""

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class Observation(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Gives calls an id, that of `x-request-id` if it is valid, and returns it in the initial metadata."""

    def __init__(self, metrics: Metrics, write_timeout_s: float, tracing: CallTracing) -> None:
        """`write_timeout_s`: how long clients may read nothing."""
        self._metrics, self._write_timeout_s, self._tracing = metrics, write_timeout_s, tracing
        self._refusal_lines = RateLimit(per_s=2.0, burst=20)

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """Wrap the handler of a call."""
        given = dict(handler_call_details.invocation_metadata or ())
        call = Call(
            id=request_id(_text(given.get(REQUEST_ID))),
            method=handler_call_details.method.removeprefix("/")[:MAX_METHOD_CHARACTERS],
            trace_id=trace_id_of(_text(given.get(TRACEPARENT))),
        )
        set_call(call)
        if not call.method.startswith(QUIET_SERVICES):
            span = self._tracing.call(call.method, given, call.id)
            call.trace_id = span.trace_id or call.trace_id
            set_span(span)
        handler = await continuation(handler_call_details)
        if handler is None:
            current_span().end(error=grpc.StatusCode.UNIMPLEMENTED.name)
            self._metrics.call_ended("", grpc.StatusCode.UNIMPLEMENTED.name, 0.0)
            return None
        return self._wrapped(handler)

    def _wrapped(self, handler: Any) -> Any:
        """The handler with observation around its behaviour, whichever of the four kinds it has."""
        name, behaviour = behaviour_of(handler)

        async def observed(request: Any, context: Any) -> None:
            async with self._observed(context) as call:
                result = behaviour(request, context)
                if handler.response_streaming and not hasattr(result, "__aiter__"):
                    await result  # a coroutine, which writes its responses itself
                    return
                responses = result if handler.response_streaming else only(result)
                await write_all(responses, context, call, self._write_timeout_s)

        # A single response is written as a stream of one, which is the same on the wire: gRPC would write it without a
        # time limit once the handler has returned.
        streaming = "stream_stream" if handler.request_streaming else "unary_stream"
        decode = handler.request_deserializer
        return handler._replace(
            **({name: None} | {streaming: observed}),
            response_streaming=True,
            request_deserializer=decode and self._counted(decode),
        )

    def _counted(self, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def counted(data: bytes) -> Any:
            message = decode(data)
            if isinstance(message, Undecodable):
                self._metrics.undecodable()
            return message

        return counted

    @contextlib.asynccontextmanager
    async def _observed(self, context: Any) -> AsyncIterator[Call]:
        call = current_call()
        assert call is not None, "`intercept_service` ran in this task"
        call.peer = context.peer()
        method = call.method if call.method in METHODS else ""
        self._metrics.call_began(method)
        code = grpc.StatusCode.UNKNOWN
        try:
            await context.send_initial_metadata(((REQUEST_ID, call.id),))
            yield call
            code = _code_of(context)
        except BaseException as error:
            code = _code_of_error(error, context)
            raise
        finally:
            took_s = time.monotonic() - call.began_s
            current_span().set(code=code.name)
            current_span().end(error="" if code is grpc.StatusCode.OK else code.name)
            self._metrics.call_ended(method, code.name, took_s, began=True)
            if call.reason is not None:
                self._metrics.refused("call", call.reason)
            self._log(call, code, took_s)

    def _log(self, call: Call, code: grpc.StatusCode, took_s: float) -> None:
        level = logging.INFO
        if code is grpc.StatusCode.OK and call.method.startswith(QUIET_SERVICES):
            level = logging.DEBUG
        elif code in FORBIDDEN:
            level = logging.WARNING
        elif code in FAULTS:
            level = logging.ERROR
        suppressed = self._refusal_lines.suppressed() if code in REFUSALS else 0
        if suppressed is None:
            return
        values = fields(
            method=call.method,
            code=code.name,
            duration_ms=round(1000 * took_s, 1),
            peer=call.peer,
            reason=call.reason and call.reason.value,
            suppressed_lines=suppressed or None,
            responses=call.response_count or None,
            **call.fields,
        )
        logger.log(level, "call ended", extra=values)


class RateLimit:
    """Limits the rate of log lines."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket, self._suppressed = TokenBucket(per_s, burst, clock), 0

    def suppressed(self) -> int | None:
        """None if there are too many lines; otherwise how many were left out before this one."""
        if self._bucket.left < 1:
            self._suppressed += 1
            return None
        self._bucket.take(1)
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


def _code_of(context: Any) -> grpc.StatusCode:
    """The code of a call whose handler has returned."""
    code = context.code()
    if code is None or code == 0:
        if _is_expired(context):
            return grpc.StatusCode.DEADLINE_EXCEEDED
        return grpc.StatusCode.CANCELLED if context.cancelled() else grpc.StatusCode.OK
    return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)


def _code_of_error(error: BaseException, context: Any) -> grpc.StatusCode:
    """The code of a call whose handler has raised."""
    if isinstance(error, grpc.aio.AbortError):
        code = context.code()
        return code if isinstance(code, grpc.StatusCode) else _BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)
    if isinstance(error, Exception) and not isinstance(error, grpc.aio.BaseError):  # that is: the client is gone
        return grpc.StatusCode.UNKNOWN
    return grpc.StatusCode.DEADLINE_EXCEEDED if _is_expired(context) else grpc.StatusCode.CANCELLED


def _is_expired(context: Any) -> bool:
    """Whether the deadline has passed; the client, whose clock began earlier, has cancelled the call then."""
    left_s = context.time_remaining()
    return left_s is not None and left_s <= 0.1


_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
