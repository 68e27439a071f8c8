"""The HTTP port for monitoring: pages, and what bad or silent clients can do to it."""

import asyncio
import contextlib
import threading

import pytest
from prometheus_client import CollectorRegistry, Gauge

from intone.server.config import Config
from intone.server.rpc import monitoring_http
from intone.server.rpc.monitoring_http import MAX_CONNECTIONS, MonitoringServer
from tests.support.live_server import free_port, live, scraped


async def asked(port, request):
    """Status line, headers and body of the answer to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def get(path, *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def started(states=None):
    registry = CollectorRegistry()
    Gauge("answer", "To everything.", registry=registry).set(42)
    server, port = MonitoringServer(registry, (states or {}).get), free_port()
    await server.start("127.0.0.1", port)
    return server, port


def test_pages(run):
    async def main():
        server, port = await started({"": True, "intone.engine.a": False})
        head, body = await asked(port, get("/metrics?x=1"))
        assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain") and "answer 42.0\n" in body
        assert f"Content-Length: {len(body)}" in head and "Connection: close" in head
        head, body = await asked(port, get("/metrics", "accept: application/openmetrics-text;version=1.0.0"))
        assert "Content-Type: application/openmetrics-text" in head and body.endswith("# EOF\n")
        for path, status, body in [
            ("/health", "200 OK", "SERVING\n"),
            ("/health/", "200 OK", "SERVING\n"),
            ("/health/intone.engine.a", "503 Service Unavailable", "NOT_SERVING\n"),
            ("/health/nobody", "404 Not Found", "SERVICE_UNKNOWN\n"),
        ]:
            head, found = await asked(port, get(path))
            assert head.startswith(f"HTTP/1.1 {status}") and found == body
        await server.close()
        await server.close()

    run(main())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", "404"),
        (b"GET http://x/metrics HTTP/1.1\r\n\r\n", "400"),
        (b"\r\n\r\n", "400"),
        (b"\xff\xfe\x00 \xff \xff\r\n\r\n", "400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000, "400"),
    ],
)
def test_bad_requests(run, request_bytes, status):
    async def main():
        server, port = await started()
        try:
            head, _ = await asked(port, request_bytes)
            assert head.split()[1] == status
        except ConnectionError:  # the rest of a request that is too long meets a closed connection
            assert len(request_bytes) > 8192
        assert "answer" in (await asked(port, get("/metrics")))[1]
        await server.close()

    run(main())


def test_silent_connections_cost_no_threads_keep_nobody_out_and_end(run, monkeypatch):
    monkeypatch.setattr(monitoring_http, "TIMEOUT_S", 1.0)

    async def main():
        port = free_port()
        async with live(metrics_port=port):
            threads = threading.active_count()
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
            assert "tts_streams_active" in await scraped(port)
            assert threading.active_count() <= threads + 1  # that of the client above
            ends = [asyncio.wait_for(_end(reader), 10) for reader, _ in silent]
            await asyncio.gather(*ends)
            for _, writer in silent:
                writer.close()

    run(main())


async def _end(reader):
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""


def test_a_connection_more_takes_the_place_of_the_oldest(run):
    async def main():
        server, port = await started()
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
        assert "answer" in (await asked(port, get("/metrics")))[1]
        await asyncio.wait_for(_end(silent[0][0]), 1.0)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(silent[-1][0].read(), 0.1)
        for _, writer in silent:
            writer.close()
        await server.close()

    run(main())


def test_monitoring_listens_on_the_loopback_by_default():
    assert Config.of().metrics_host == "127.0.0.1"
