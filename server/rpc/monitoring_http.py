"""The HTTP port for monitoring: `/metrics` for Prometheus, `/health` for probes that cannot speak gRPC.

A minimal server on the event loop: GET without a body, one request for each connection, a time limit, and few
connections. A library would be a dependency more; `prometheus_client`'s own server has a thread for each connection and
no time limit.
"""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

MAX_CONNECTIONS = 32
"""Connections open at once; one more takes the place of the oldest, so that silent ones keep nobody out."""

MAX_REQUEST_BYTES = 8192
TIMEOUT_S = 5.0
"""From the connection to the end of the answer."""

Page = tuple[HTTPStatus, str, bytes]
"""Status, content type and body."""

PLAIN = "text/plain; charset=utf-8"


class MonitoringServer:
    """Serves the metrics of a registry, and health by name of service, until `close`."""

    def __init__(self, registry: CollectorRegistry, is_serving: Callable[[str], bool | None]) -> None:
        """`is_serving`: by name of service; None if there is no such service."""
        self._registry, self._is_serving = registry, is_serving
        self._server: asyncio.Server | None = None
        self._answering: dict[asyncio.Task[None], None] = {}  # the oldest first

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be bound.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_REQUEST_BYTES)

    async def close(self) -> None:
        """Stop serving; may be called more than once."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._answering):
            task.cancel()
        if self._answering:
            await asyncio.wait(list(self._answering))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._answering) >= MAX_CONNECTIONS:
            next(iter(self._answering)).cancel()
        self._answering[task] = None
        try:
            await asyncio.wait_for(self._answer(reader, writer), TIMEOUT_S)
        except (asyncio.TimeoutError, asyncio.CancelledError, ConnectionError):  # noqa: UP041
            writer.transport.abort()
        finally:
            self._answering.pop(task, None)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = ""
        status, kind, body = self._page(head)
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await writer.drain()
        writer.write_eof()
        with contextlib.suppress(asyncio.LimitOverrunError):
            await reader.read(1)  # until the client closes: a reset could overtake the answer

    def _page(self, head: str) -> Page:
        first, *rest = head.split("\r\n")
        method, _, target = first.rpartition(" ")[0].partition(" ")
        path = target.partition("?")[0]
        if not target.startswith("/"):
            return HTTPStatus.BAD_REQUEST, PLAIN, b"this is no HTTP request\n"
        if method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, PLAIN, b"only GET is served\n"
        if path == "/metrics":
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            encode, kind = choose_encoder(headers.get("accept", ""))
            return HTTPStatus.OK, kind, encode(self._registry)
        if path == "/health" or path.startswith("/health/"):
            return self._health(path.removeprefix("/health").removeprefix("/"))
        return HTTPStatus.NOT_FOUND, PLAIN, b"there are /metrics, /health and /health/SERVICE\n"

    def _health(self, service: str) -> Page:
        serving = self._is_serving(service)
        if serving is None:
            return HTTPStatus.NOT_FOUND, PLAIN, b"SERVICE_UNKNOWN\n"
        if serving:
            return HTTPStatus.OK, PLAIN, b"SERVING\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, b"NOT_SERVING\n"
