"""Prometheus metrics of the server, computed from the events that its streams send."""

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from intone.server.events import AudioChunk, Done, Notice, ServerEvent, Started

LATENCY_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
RTF_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._http: tuple[WSGIServer, Thread] | None = None
        self._streams = Gauge("tts_streams_active", "Streams open now.", registry=registry)
        self._first = Histogram(
            "tts_time_to_first_audio_seconds",
            "From the text that completes the first unit to the first audible chunk.",
            ["kind"],
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

    def serve(self, host: str, port: int) -> None:
        """Serve the metrics over HTTP, on a thread of their own, until `close`.

        Raises:
            OSError: the port cannot be bound.
        """
        self._http = start_http_server(port, host, self.registry)

    def close(self) -> None:
        """Stop serving; may be called more than once."""
        if self._http is not None:
            server, thread = self._http
            self._http = None
            server.shutdown()
            server.server_close()
            thread.join()

    def streams(self, count: int) -> None:
        """Set the number of open streams."""
        self._streams.set(count)

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
            case Done():
                self._ended.labels(event.reason.value).inc()
                report = event.latency
                if report.ttfa_ms is not None:
                    self._first.labels("speech").observe(report.ttfa_ms / 1000)
                if report.queue_ms is not None:
                    self._queue.observe(report.queue_ms / 1000)
                if report.rtf is not None:
                    self._rtf.observe(report.rtf)
