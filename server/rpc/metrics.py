"""Prometheus metrics of the server: calls, the events that its streams send, and the process itself.

Labels have few values: methods, codes, engines and names of enums, never what a caller chooses.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from intone.server.errors import Reason, reason_of
from intone.server.events import AudioChunk, Done, Notice, RequestRefused, ServerEvent, Started

CALL_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LATENCY_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RTF_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._calls = Counter("tts_rpc", "Calls that have ended.", ["method", "code"], registry=registry)
        self._calls_open = Gauge("tts_rpc_in_flight", "Calls that are open now.", ["method"], registry=registry)
        self._call_seconds = Histogram(
            "tts_rpc_seconds", "Duration of calls.", ["method"], buckets=CALL_BUCKETS_S, registry=registry
        )
        self._refused = Counter(
            "tts_refusals",
            "What was refused or has failed: calls, messages of streams, utterances.",
            ["scope", "reason"],
            registry=registry,
        )
        self._unauthenticated = Counter(
            "tts_auth_failures", "Calls without valid authentication or permission.", ["code"], registry=registry
        )
        self._lag = Histogram(
            "tts_loop_lag_seconds",
            "How late the event loop comes to what is due, measured every 100 ms.",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )
        self._undecodable = Counter(
            "tts_undecodable_messages", "Messages that are not valid protobuf of their type.", registry=registry
        )
        self._throttled = Counter(
            "tts_throttled_seconds", "Time for which streams that send too fast were not read.", registry=registry
        )
        self._streams = Gauge("tts_streams_active", "Streams open now.", registry=registry)
        self._first = Histogram(
            "tts_time_to_first_audio_seconds",
            "From the text that completes the first unit to the first audible chunk.",
            ["kind", "engine"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._queue = Histogram(
            "tts_queue_seconds", "Wait for the engine, first unit.", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self._rtf = Histogram("tts_rtf", "Synthesis time by audio time.", buckets=RTF_BUCKETS, registry=registry)
        self._audio = Counter("tts_audio_seconds", "Audio sent.", ["engine", "kind"], registry=registry)
        self._routes = Counter("tts_route", "Utterances by engine and reason.", ["engine", "reason"], registry=registry)
        self._ended = Counter("tts_utterances_ended", "Utterances by how they ended.", ["how"], registry=registry)
        self._notices = Counter("tts_notices", "Notices sent.", ["code"], registry=registry)

    # ---- calls

    def call_began(self, method: str) -> None:
        """A call has reached its handler. `method`: without the leading slash."""
        self._calls_open.labels(method).inc()

    def call_ended(self, method: str, code: str, seconds: float, began: bool = False) -> None:
        """A call has ended. `method`: empty if there is no such method. `began`: whether `call_began` was called."""
        self._calls.labels(method, code).inc()
        if began:
            self._calls_open.labels(method).dec()
            self._call_seconds.labels(method).observe(seconds)
        if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            self._unauthenticated.labels(code).inc()

    def refused(self, scope: str, reason: Reason) -> None:
        """A "call", a "message" of a stream or an "utterance" was refused or has failed."""
        self._refused.labels(scope, reason.value).inc()

    def undecodable(self) -> None:
        """A message could not be decoded."""
        self._undecodable.inc()

    def loop_lag(self, seconds: float) -> None:
        """The event loop was so late."""
        self._lag.observe(seconds)

    # ---- streams

    def streams(self, count: int) -> None:
        """Set the number of open streams."""
        self._streams.set(count)

    def throttled(self, seconds: float) -> None:
        """A stream is not read for some time, because it sends too fast."""
        self._throttled.inc(seconds)

    def observe(self, event: ServerEvent) -> None:
        """Count an event that is sent to a client."""
        match event:
            case AudioChunk():
                for kind, samples in event.samples.items():
                    seconds = event.duration_ms / 1000 * samples / event.sample_count
                    self._audio.labels(event.engine if kind is event.kind else "", kind.value).inc(seconds)
            case Started():
                self._routes.labels(event.engine, event.reason.value).inc()
            case Notice():
                self._notices.labels(event.code.value).inc()
            case RequestRefused():
                self.refused("message", event.error.reason)
            case Done():
                self._observe_end(event)

    def _observe_end(self, done: Done) -> None:
        self._ended.labels(done.reason.value).inc()
        if done.error is not None:
            self.refused("utterance", reason_of(done.error))
        report = done.latency
        if report.ttfa_ms is not None:
            self._first.labels("speech", report.engine).observe(report.ttfa_ms / 1000)
        if report.filler_ttfa_ms is not None:
            self._first.labels("filler", "").observe(report.filler_ttfa_ms / 1000)
        if report.queue_ms is not None:
            self._queue.observe(report.queue_ms / 1000)
        if report.rtf is not None:
            self._rtf.observe(report.rtf)
