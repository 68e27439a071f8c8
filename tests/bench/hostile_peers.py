"""What talkers notice while other peers cancel, vanish, never read, or hold connections that say nothing.

    python tests/bench/hostile_peers.py [--scale 1.0] [--talkers 8] [--anyway]

Eight conversations are heard from a real server with the packaged voices, first alone, then beside each kind of peer:
1,000 calls cancelled in mid-speech, 1,000 connections dropped in mid-speech, 200 calls whose audio is never read, 200
peers that stop answering without closing their connection, 300 connections that never send a byte. Printed for each:
the talkers' time to first sound, and what the server still holds some seconds after the peers have gone. Target: p99 of
the talkers below twice that of the talkers alone, and nothing left. `--scale 0.1` tries a tenth of the peers.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from conditions import command_line, conditions, refuse_if_busy
from process_tree import Resources, only_child, resources
from talkers import talk

from intone.client import AsyncSpeechClient
from intone.client.tools.console import Console
from intone.client.tools.local_server import local_server
from intone.proto import speech_pb2, speech_pb2_grpc

ALONE_S = 30.0
AT_ONCE = 16
"""Peers that misbehave at the same time, of those that come and go."""

TALKING_S = 3.0
"""How long the talkers have been talking when the peers come: later they might be refused."""

SETTLE_S = 20.0
"""How long the server may take to forget peers: longer than its write timeout and its keepalive."""

TEXT = "This sentence is spoken for a peer that will not hear the end of it, which is a pity, but nobody else's. "
SERVER = ("--max-streams", "400")
"""Places for all the peers: what is measured is how the server copes with them, not how it refuses them."""


# ---- peers


async def speaking(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall:
    """A call that has been sent a text."""
    call = speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize()
    await call.write(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig()))
    text = speech_pb2.TextInput(utterance_id="u", delta=TEXT * 10, end_of_utterance=True)
    await call.write(speech_pb2.StreamSynthesizeRequest(text=text))
    return call


async def cancels(address: str, draw: random.Random) -> None:
    """Hear a little, then cancel the call."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = await speaking(channel)
        with contextlib.suppress(grpc.RpcError, asyncio.TimeoutError):
            await asyncio.wait_for(call.read(), draw.uniform(0.05, 0.5))
        call.cancel()


async def drops(address: str, draw: random.Random) -> None:
    """Close the connection under a call."""
    async with Wire(address) as wire, grpc.aio.insecure_channel(wire.address) as channel:
        call = await speaking(channel)
        with contextlib.suppress(grpc.RpcError, asyncio.TimeoutError):
            await asyncio.wait_for(call.read(), draw.uniform(0.05, 0.5))
        wire.reset()


async def never_reads(address: str, until: asyncio.Event) -> None:
    """Ask for speech and read nothing."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = await speaking(channel)
        await until.wait()
        call.cancel()


async def half_open(address: str, until: asyncio.Event) -> None:
    """Stop answering in the middle of a call, and leave the connection open."""
    async with Wire(address) as wire, grpc.aio.insecure_channel(wire.address) as channel:
        await speaking(channel)
        await asyncio.sleep(0.3)
        wire.freeze()
        await until.wait()


async def silent(address: str, until: asyncio.Event) -> None:
    """Connect and say nothing."""
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host, int(port))
        await until.wait()
        writer.close()


class Wire:
    """A connection between a client and the server that can be frozen or reset; the client connects to `address`."""

    def __init__(self, server: str) -> None:
        self.address, self._flowing = "", asyncio.Event()
        self._flowing.set()
        self._server = server
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Wire":
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.reset()
        self._listener.close()
        for task in self._tasks:
            task.cancel()

    def freeze(self) -> None:
        """Pass nothing on any more, in either direction."""
        self._flowing.clear()

    def reset(self) -> None:
        """Close the connection without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._server.rsplit(":", 1)
        there, to_there = await asyncio.open_connection(host, int(port))
        self._writers += [writer, to_there]
        self._tasks += [
            asyncio.create_task(self._pass(reader, to_there)),
            asyncio.create_task(self._pass(there, writer)),
        ]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


# ---- measurement


async def come_and_go(
    kind: Callable[[str, random.Random], Coroutine[Any, Any, None]], address: str, count: int
) -> None:
    """`count` peers, some at a time."""
    places, draw = asyncio.Semaphore(AT_ONCE), random.Random(1)

    async def one() -> None:
        async with places:
            with contextlib.suppress(grpc.RpcError, OSError):
                await kind(address, draw)

    await asyncio.gather(*(one() for _ in range(count)))


async def stay(kind: Callable[[str, asyncio.Event], Coroutine[Any, Any, None]], address: str, count: int) -> None:
    """`count` peers at once, for as long as the talkers talk alone."""
    until = asyncio.Event()
    peers = [asyncio.create_task(kind(address, until)) for _ in range(count)]
    await asyncio.sleep(ALONE_S)
    until.set()
    await asyncio.gather(*peers, return_exceptions=True)


async def open_streams(address: str) -> int:
    """Number of streams that the server counts."""
    async with AsyncSpeechClient(address) as client:
        return (await client.server_info()).open_stream_count


async def measure(address: str, server: int, options: argparse.Namespace) -> bool:
    """Measure and print each kind. Returns whether all targets were met."""
    await talk(address, options.talkers, seconds=5.0)
    limit_ms, met, first = float("inf"), True, resources(server)
    print(f"{'before':26} {first}")
    # The peers are in a process of their own, so that the talkers do not measure them instead of the server.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for name in PEERS:
            began_s, stop = time.monotonic(), asyncio.Event()
            talking = asyncio.create_task(talk(address, options.talkers, stop=stop))
            await asyncio.sleep(TALKING_S)
            await asyncio.get_running_loop().run_in_executor(pool, run_peers, name, address, options.scale)
            took_s = time.monotonic() - began_s
            stop.set()
            noticed = await talking
            limit_ms = 2 * noticed.p99_ms if name == ALONE else limit_ms
            left, streams = await settled(address, server, first)
            print(f"{name:26} {took_s:4.0f} s: {noticed}\n{'':26} left: {streams} streams, {left}", flush=True)
            for error in sorted(set(noticed.errors)):
                print(f"{'':26} error: {error}")
            met = met and noticed.p99_ms <= limit_ms and not noticed.errors and not streams
    return met


def run_peers(name: str, address: str, scale: float) -> None:
    """Run one kind of `PEERS` to its end, in the process of the peers."""
    asyncio.run(PEERS[name](address, scale))


ALONE = "alone"
PEERS: dict[str, Callable[[str, float], Coroutine[Any, Any, None]]] = {
    ALONE: lambda address, scale: asyncio.sleep(ALONE_S),
    "1000 cancelled calls": lambda address, scale: come_and_go(cancels, address, round(1000 * scale)),
    "1000 dropped connections": lambda address, scale: come_and_go(drops, address, round(1000 * scale)),
    "200 that never read": lambda address, scale: stay(never_reads, address, round(200 * scale)),
    "200 that vanish": lambda address, scale: stay(half_open, address, round(200 * scale)),
    "300 silent connections": lambda address, scale: stay(silent, address, round(300 * scale)),
}


async def settled(address: str, server: int, first: Resources) -> tuple[Resources, int]:
    """What the server holds once it has forgotten its peers, at most `SETTLE_S` later."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        held, streams = resources(server), await open_streams(address)
        if (not streams and held.files <= first.files + 2) or time.monotonic() > until_s:
            return held, streams
        await asyncio.sleep(0.5)


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--talkers", type=int, default=8, help="conversations; default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the peers; default: %(default)s")
    options = parser.parse_args()
    busy = refuse_if_busy(options.anyway)
    with tempfile.TemporaryDirectory() as folder, local_server(SERVER, Path(folder), Console(stderr=True)) as address:
        met = asyncio.run(measure(address, only_child(), options))
    print(f"conditions {conditions(busy)}")
    verdict = "met" if met else "MISSED"
    print(f"targets    {verdict}: p99 below twice that of the talkers alone, no errors, no streams left")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
