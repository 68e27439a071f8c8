"""Traces of calls with OpenTelemetry: the extra `intone[otel]`. Nothing of it is imported unless traces are asked for.

A call is a span under that of its client's `traceparent`; `server/spans.py` has what the parts of its work record.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from intone.server.config import Config
from intone.server.errors import ConfigError
from intone.server.spans import NO_SPAN, Attribute, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

EXPORT_TIMEOUT_S = 3.0
"""For one batch of spans, and for the last one at the end of the server."""

PREFIX = "intone."


class CallTracing:
    """Begins the spans of calls. Without a tracer there are none."""

    def __init__(self, tracer: "Tracer | None" = None) -> None:
        self._tracer = tracer
        # Monotonic seconds to the epoch. A change of the system's time moves spans, but not their durations.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def call(self, method: str, metadata: Mapping[str, Any], call_id: str) -> Span:
        """The span of a call; `NO_SPAN` where it is not recorded, as the client's `traceparent` may say.

        Args:
            method: without the leading slash.
            metadata: of the call; `traceparent` and `tracestate` are used.
            call_id: that of the log.
        """
        if self._tracer is None:
            return NO_SPAN
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {name: value for name, value in metadata.items() if isinstance(value, str)}
        parent = TraceContextTextMapPropagator().extract(given)
        service, _, name = method.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, f"{PREFIX}call": call_id}
        span = self._tracer.start_span(method, parent, kind=trace.SpanKind.SERVER, attributes=attributes)
        return _RecordedSpan(span, self._tracer, self._epoch_ns) if span.is_recording() else NO_SPAN


class _RecordedSpan(Span):
    def __init__(self, span: Any, tracer: "Tracer", epoch_ns: int) -> None:
        self._span, self._tracer, self._epoch_ns = span, tracer, epoch_ns
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def child(self, name: str, began_s: float | None = None, **attributes: Attribute) -> Span:
        from opentelemetry import trace

        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(self._span),
            start_time=self._ns(began_s),
            attributes={PREFIX + key: value for key, value in attributes.items()},
        )
        return _RecordedSpan(span, self._tracer, self._epoch_ns)

    def set(self, **attributes: Attribute) -> None:
        for key, value in attributes.items():
            self._span.set_attribute(PREFIX + key, value)

    def end(self, at_s: float | None = None, error: str = "") -> None:
        from opentelemetry.trace import StatusCode

        if not self._span.is_recording():
            return
        if error:
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end(self._ns(at_s))

    def _ns(self, at_s: float | None) -> int | None:
        return None if at_s is None else self._epoch_ns + round(1e9 * at_s)


@contextlib.asynccontextmanager
async def tracing(config: Config, exporter: "SpanExporter | None" = None) -> AsyncIterator[CallTracing]:
    """Trace calls, if the settings ask for it, and export the last spans at the end.

    Args:
        exporter: in place of one to `config.traces_endpoint`, for tests.

    Raises:
        ConfigError: the extra is not installed.
    """
    if not config.traces_endpoint and exporter is None:
        yield CallTracing()
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError("traces_endpoint needs OpenTelemetry: pip install 'intone[otel]'") from None
    # OpenTelemetry's variables hold as well: OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and others.
    provider = TracerProvider(resource=Resource.create({"service.name": "intone"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or _exporter(config.traces_endpoint)))
    try:
        yield CallTracing(provider.get_tracer("intone.server"))
    finally:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(provider.shutdown), 2 * EXPORT_TIMEOUT_S)


def _exporter(endpoint: str) -> "SpanExporter":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint, insecure=not endpoint.startswith("https:"), timeout=round(EXPORT_TIMEOUT_S))
