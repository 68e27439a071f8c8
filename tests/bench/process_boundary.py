"""What it costs that an engine runs in a process of its own.

    python tests/bench/process_boundary.py [--streams 32] [--seconds 20] [--anyway]

Two parts. The first compares ways for audio to pass between two processes: in the messages on a local socket, as the
server does it, or in shared memory, with a message for each batch that names the place. The second is the latency of
`service.py`, engine to client, with the engine on a thread of the server and in a process of its own. Both use
CLOCK_MONOTONIC, which is common to all processes on Linux. Refuses to run on a busy machine.
"""

import argparse
import asyncio
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
from conditions import command_line, conditions, refuse_if_busy
from service import BURST, CHUNK_MS, PHASES, RATE_HZ, SPREAD, TickingEngine, percentiles, run_client

from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import Step
from intone.server.engines.base import EngineEntry, EngineSetting, LoadSpec
from intone.server.runtime.channel import Channel
from intone.server.runtime.child_process import ChildProcess
from intone.server.runtime.engine_loop import UnitResult

BATCHES = 1000
PERIOD_S = 0.004
SHAPES = (("1 unit of 40 ms at 24 kHz", 1, 960), ("32 units of 160 ms at 48 kHz", 32, 7680))
TARGET_P99_MS = 3.0


# ---- transport: what runs in the other process


def send_in_messages(channel: Channel, units: int, samples: int) -> None:
    """Audio in the results, as `engine_process.py` sends it."""
    pcm = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    for _ in paced():
        results = [UnitResult(unit, Step(pcm, False), time.monotonic(), 1.0) for unit in range(units)]
        channel.send(("results", results))
    channel.receive()


def send_in_shared_memory(channel: Channel, units: int, samples: int, path: str) -> None:
    """Audio in shared memory, in the results the place where it begins."""
    pcm = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    place, shared = 0, mapped(path)
    for _ in paced():
        began_s, results = time.monotonic(), []
        for unit in range(units):
            place = 0 if place + samples > len(shared) else place
            shared[place : place + samples] = pcm
            results.append((UnitResult(unit, Step(None, False), began_s, 1.0), place))
            place += samples
        channel.send(("results", results))
    channel.receive()


def paced() -> Iterator[None]:
    """One step after the other, with time to be received."""
    for _ in range(BATCHES):
        yield
        time.sleep(PERIOD_S)


def mapped(path: str) -> np.ndarray:
    """A file in memory as float32."""
    with Path(path).open("r+b") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0), np.float32)


async def transport_ms(shared: bool, units: int, samples: int) -> list[float]:
    """Time from a step's end in one process to its audio on the event loop of the other, for each batch."""
    took_ms: list[float] = []
    received = asyncio.Event()
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        os.ftruncate(file.fileno(), 4 * samples * units * 8)
        audio = mapped(file.name)

        def take(message: tuple[str, list]) -> None:
            for result in message[1]:
                if shared:  # copied, since the place is used again
                    result, place = result
                    assert len(audio[place : place + samples].copy()) == samples
            took_ms.append(1000 * (time.monotonic() - result.began_s))
            if len(took_ms) == BATCHES:
                received.set()

        function = send_in_shared_memory if shared else send_in_messages
        arguments = (units, samples, file.name) if shared else (units, samples)
        child = await ChildProcess.start(f"process_boundary:{function.__name__}", arguments, take)
        try:
            await received.wait()
        finally:
            child.close()
    return took_ms[BATCHES // 10 :]


# ---- service


class LoadedTickingEngine(TickingEngine):
    """A ticking engine that the settings can name."""

    @classmethod
    def load(cls, spec: LoadSpec) -> "LoadedTickingEngine":
        """The setting says over how many phases the units are spread."""
        return cls(phases=int(spec.settings["phases"]))


ENTRY = EngineEntry(
    "starter",
    "process_boundary:LoadedTickingEngine",
    (EngineSetting("starter", True, "load it"), EngineSetting("phases", "1", "phases of the units")),
)


async def service_ms(options: argparse.Namespace, phases: int, processes: bool) -> tuple[float, float, float]:
    """p50, p95 and p99 of the latency from engine to client."""
    config = Config.of(
        {"starter": ENTRY},
        port=0,
        max_streams=options.streams,
        max_batch=options.streams,
        phases=str(phases),
        processes=processes,
        max_load=0.0,
    )
    async with serving(config) as app:
        return percentiles(await run_client(app.port, options))


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--streams", type=int, default=32, help="concurrent streams; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run; default: %(default)s")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True, help="text normalization")
    options = parser.parse_args()
    busy = refuse_if_busy(options.anyway)
    print(f"software   grpcio {grpc.__version__}; {conditions(busy)}")
    print("transport  step's end to event loop, milliseconds")
    for name, units, samples in SHAPES:
        for way, shared in (("socket", False), ("shared memory", True)):
            p50, p99 = np.percentile(asyncio.run(transport_ms(shared, units, samples)), [50, 99])
            print(f"  {name:30}{way:16}p50 {p50:6.2f}   p99 {p99:6.2f}")
    load = f"{options.streams} streams, {options.seconds:g} s each, {CHUNK_MS} ms, {RATE_HZ} Hz"
    print(f"service    engine to client, {load}")
    for name, phases in ((SPREAD, PHASES), (BURST, 1)):
        p99 = {}
        for where, processes in (("thread", False), ("process", True)):
            p50, p95, p99[where] = asyncio.run(service_ms(options, phases, processes))
            print(f"  {name:30}{where:16}p50 {p50:6.2f}   p95 {p95:6.2f}   p99 {p99[where]:6.2f}")
        if name == SPREAD:
            met = "met" if p99["process"] <= TARGET_P99_MS else "MISSED"
            print(f"target     p99 ≤ {TARGET_P99_MS:g} ms in a process, {SPREAD}: {met}")


if __name__ == "__main__":
    main()
