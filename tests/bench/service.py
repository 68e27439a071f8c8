"""Latency that the service adds: from the engine's return of a step to the client's receipt of its audio.

    python tests/bench/service.py [--streams 32] [--seconds 20] [--anyway]

A scripted engine produces audio in real time and stamps every step. The client, in a second process, subtracts that
stamp from its own clock; both use CLOCK_MONOTONIC, which is common to all processes on Linux. Three runs: streams with
different phases, as independent clients have them; all streams at the same tick, as a batching engine returns them; and
the floor, the same burst from a bare gRPC handler. Every figure includes the client's Python. Refuses to run on a busy
machine.
"""

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from conditions import command_line, conditions, refuse_if_busy

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import EngineInfo, Recording, SpeakRequest, Step
from intone.server.engines.pieces import VoicePieces

RATE_HZ = 24_000
CHUNK_MS = 40
MS_PER_CHARACTER = 60
SENTENCE = "This is a sentence as long as one usually is when 2 people talk. "
WARM_UP_S = 2.0
TARGET_P99_MS = 5.0
PHASES = 8
SPREAD, BURST, FLOOR = "streams with different phases", "all streams at one tick", "the same burst, bare gRPC"


# ---- server ----------------------------------------------------------------------------------------------


@dataclass
class _State:
    steps_left: int
    phase: int


@dataclass
class TickingEngine:
    """Returns 40 ms of a tone for every unit, every 40 ms of real time, stamped with the time of the return.

    Units are spread over `phases` ticks, round-robin.
    """

    info: EngineInfo = EngineInfo("starter", "ticking", RATE_HZ, ("en",), True, False, False, "none")
    fingerprint: str = "ticking"
    batches: bool = True
    phases: int = 1
    _tick: int = 0
    _started: int = 0
    _pcm: np.ndarray = field(
        default_factory=lambda: np.sin(np.arange(RATE_HZ * CHUNK_MS // 1000) * 0.05).astype(np.float32) / 2
    )

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        """Unused: this engine clones no voices."""
        raise NotImplementedError

    def start(self, request: SpeakRequest) -> _State:
        """A unit with one step for every chunk that its text lasts."""
        self._started += 1
        return _State(math.ceil(len(request.text) * MS_PER_CHARACTER / CHUNK_MS), self._started % self.phases)

    def held_bytes(self, state: _State) -> int:
        """Next to nothing."""
        return 0

    def step(self, states: Sequence[_State]) -> list[Step]:
        """Wait for the next tick; return a chunk for every unit whose phase it is."""
        period_s = CHUNK_MS / 1000 / self.phases
        self._tick = max(self._tick + 1, math.floor(time.monotonic() / period_s))
        time.sleep(max(0.0, self._tick * period_s - time.monotonic()))
        due = [state for state in states if state.phase == self._tick % self.phases]
        for state in due:
            state.steps_left -= 1
        stamp = {"returned_s": time.monotonic()}
        chunk, ended, nothing = Step(self._pcm, False, stage_ms=stamp), Step(self._pcm, True, stage_ms=stamp), NOTHING
        return [nothing if state not in due else ended if state.steps_left <= 0 else chunk for state in states]


NOTHING = Step(None, False)


class BareService(speech_pb2_grpc.SpeechServiceServicer):
    """The floor: sends a chunk to every stream at every tick."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[float]] = []

    async def tick(self) -> None:
        """Wake all streams at every tick of the real-time clock."""
        period_s = CHUNK_MS / 1000
        while True:
            await asyncio.sleep(period_s - time.monotonic() % period_s)
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                future.set_result(time.monotonic())

    async def StreamSynthesize(  # noqa: N802 - the method's name in the proto
        self, requests: AsyncIterator[speech_pb2.StreamSynthesizeRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[speech_pb2.StreamSynthesizeResponse]:
        """One chunk a tick, for as many ticks as the sentence lasts."""
        data = bytes(2 * RATE_HZ * CHUNK_MS // 1000)
        async for request in requests:
            if not request.text.end_of_utterance:
                continue
            for sequence in range(math.ceil(len(SENTENCE) * MS_PER_CHARACTER / CHUNK_MS)):
                future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                stamp = {"returned_s": await future}
                chunk = speech_pb2.AudioChunk(
                    utterance_id="u", sequence=sequence, sample_count=len(data) // 2, data=data, stage_ms=stamp
                )
                yield speech_pb2.StreamSynthesizeResponse(audio=chunk)
            yield speech_pb2.StreamSynthesizeResponse(done=speech_pb2.Done(utterance_id="u"))


async def run_client(port: int, options: argparse.Namespace) -> list[list[float]]:
    """Run the client process; returns its pairs (arrival, latency) in seconds."""
    flags = ["--client", str(port), "--streams", str(options.streams), "--seconds", str(options.seconds)]
    flags += [] if options.normalize else ["--no-normalize"]
    command = [sys.executable, str(Path(__file__)), *flags]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    if process.returncode != 0:
        sys.exit(f"the client exited with status {process.returncode}")
    pairs: list[list[float]] = json.loads(output)
    return pairs


async def measure(options: argparse.Namespace, phases: int) -> list[list[float]]:
    """Latencies of the intone server."""
    config = Config(port=0, max_streams=options.streams, max_batch=options.streams, max_load=0.0, log_level="warning")
    async with serving(config, {"starter": lambda: TickingEngine(phases=phases)}) as app:
        return await run_client(app.port, options)


async def measure_floor(options: argparse.Namespace) -> list[list[float]]:
    """Latencies of a bare gRPC server."""
    server, service = grpc.aio.server(), BareService()
    speech_pb2_grpc.add_SpeechServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ticking = asyncio.create_task(service.tick())
    try:
        return await run_client(port, options)
    finally:
        ticking.cancel()
        await server.stop(0)


# ---- client ----------------------------------------------------------------------------------------------


async def converse(channel: grpc.aio.Channel, until_s: float, normalize: bool) -> list[tuple[float, float]]:
    """One stream that sends sentences word by word; (arrival, latency) of every stamped chunk."""
    call = speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize()
    switch = speech_pb2.SWITCH_ON if normalize else speech_pb2.SWITCH_OFF
    config = speech_pb2.StreamConfig(defaults={"normalization": switch}, diagnostics=True)
    await call.write(speech_pb2.StreamSynthesizeRequest(config=config))
    found, number = [], 0
    while time.monotonic() < until_s:
        number += 1
        for word in SENTENCE.split(" "):
            text = speech_pb2.TextInput(utterance_id=str(number), delta=f"{word} ")
            await call.write(speech_pb2.StreamSynthesizeRequest(text=text))
        text = speech_pb2.TextInput(utterance_id=str(number), end_of_utterance=True)
        await call.write(speech_pb2.StreamSynthesizeRequest(text=text))
        while (answer := await call.read()).WhichOneof("response") != "done":
            if answer.audio.stage_ms:
                now_s = time.monotonic()
                found.append((now_s, now_s - answer.audio.stage_ms["returned_s"]))
    await call.done_writing()
    return found


async def client(port: int, streams: int, seconds: float, normalize: bool) -> None:
    """Run all streams and print their measurements as JSON."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        until_s = time.monotonic() + WARM_UP_S + seconds
        found = await asyncio.gather(*(converse(channel, until_s, normalize) for _ in range(streams)))
    print(json.dumps([pair for pairs in found for pair in pairs]))


# ---- command line -----------------------------------------------------------------------------------------------


def percentiles(pairs: list[list[float]]) -> tuple[float, float, float]:
    """p50, p95 and p99 in milliseconds, without the warm-up."""
    first_s = min(when for when, _ in pairs)
    took_ms = [1000 * took for when, took in pairs if when >= first_s + WARM_UP_S]
    p50, p95, p99 = np.percentile(took_ms, [50, 95, 99])
    return float(p50), float(p95), float(p99)


def report(runs: dict[str, list[list[float]]], busy: float, options: argparse.Namespace) -> None:
    """Print the conditions and the percentiles."""
    print(f"software  grpcio {grpc.__version__}; {conditions(busy)}")
    print(f"load      {options.streams} streams, {options.seconds:g} s, chunks of {CHUNK_MS} ms at {RATE_HZ} Hz,")
    print(f"          pcm_s16le, normalization {'on' if options.normalize else 'off'}")
    for name, pairs in runs.items():
        p50, p95, p99 = percentiles(pairs)
        print(f"{name:34} p50 {p50:5.2f} ms   p95 {p95:5.2f} ms   p99 {p99:5.2f} ms")
    p99 = percentiles(runs[SPREAD])[2]
    print(f"target    p99 ≤ {TARGET_P99_MS:g} ms, {SPREAD}: {'met' if p99 <= TARGET_P99_MS else 'MISSED'}")


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--streams", type=int, default=32, help="concurrent streams; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run; default: %(default)s")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True, help="text normalization")
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        asyncio.run(client(options.client, options.streams, options.seconds, options.normalize))
        return
    busy = refuse_if_busy(options.anyway)
    runs = {
        SPREAD: asyncio.run(measure(options, phases=PHASES)),
        BURST: asyncio.run(measure(options, phases=1)),
        FLOOR: asyncio.run(measure_floor(options)),
    }
    report(runs, busy, options)


if __name__ == "__main__":
    main()
