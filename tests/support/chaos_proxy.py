"""A TCP proxy that does what bad networks do: delay, stall, reset, half-close, throttle."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

READ_BYTES = 2048


class Line:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: "ChaosProxy", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._ends = (client, server)
        self.left_bytes = proxy.next_cut()
        self._half_closed = False

    async def carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Carry what comes from `source`, to its end."""
        proxy = self._proxy
        with suppress(OSError):
            while data := await source.read(READ_BYTES):
                await proxy.flowing.wait()
                await asyncio.sleep(proxy.delay_s + (len(data) / proxy.bytes_per_s if proxy.bytes_per_s else 0.0))
                if self.left_bytes is not None:
                    data, self.left_bytes = data[: self.left_bytes], self.left_bytes - len(data)
                if not (self._half_closed and sink is self._ends[0]):
                    sink.write(data)
                if self.left_bytes is not None and self.left_bytes <= 0:
                    await asyncio.sleep(0)  # so that the last bytes leave
                    proxy.cuts += 1
                    break
                await sink.drain()
        self.reset()

    def reset(self) -> None:
        """End both connections at once, with a reset."""
        for end in self._ends:
            with suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()

    def half_close(self) -> None:
        """The client is told that the server sends no more, and gets no more."""
        self._half_closed = True
        with suppress(OSError):
            self._ends[0].write_eof()


class ChaosProxy:
    """Carries connections to a server while it is open; made by `chaos_proxy`.

    Attributes:
        target: address of the proxy.
        delay_s, bytes_per_s: of everything that is carried; 0 and None for none.
        cut_after: each connection is reset after a random number of bytes in this range, both directions together.
        flowing: nothing is carried while it is not set.
        cuts: connections that were reset or half-closed on purpose.
    """

    def __init__(self, rng: random.Random) -> None:
        self.target = ""
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.cut_after: tuple[int, int] | None = None
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.cuts = 0
        self._rng = rng
        self._lines: set[Line] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    def next_cut(self) -> int | None:
        """After how many bytes the next connection is reset."""
        return None if self.cut_after is None else self._rng.randint(*self.cut_after)

    def reset(self) -> None:
        """Reset all connections."""
        self.cuts += len(self._lines)
        for line in list(self._lines):
            line.reset()

    def half_close(self) -> None:
        """Half-close all connections."""
        self.cuts += len(self._lines)
        for line in list(self._lines):
            line.half_close()

    async def connect(self, server: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected."""
        host, port = server.rsplit(":", 1)
        try:
            back_reader, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        line = Line(self, writer, back)
        self._lines.add(line)
        tasks = [asyncio.create_task(line.carry(*way)) for way in ((reader, back), (back_reader, writer))]
        self._carrying.update(tasks)
        for task in tasks:
            task.add_done_callback(self._carrying.discard)
            task.add_done_callback(lambda _: self._lines.discard(line))

    async def close(self) -> None:
        """End all connections."""
        for line in list(self._lines):
            line.reset()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


@asynccontextmanager
async def chaos_proxy(server: str, seed: int = 0) -> AsyncIterator[ChaosProxy]:
    """A proxy to `server`, "host:port", that lets everything through until it is told otherwise."""
    proxy = ChaosProxy(random.Random(seed))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await proxy.connect(server, reader, writer)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.target = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        await proxy.close()
