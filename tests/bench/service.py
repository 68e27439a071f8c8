"""What the service itself costs: time from an engine's return of a step to the client's receipt of its audio.

A scripted engine speaks in real time, all streams at the same tick (as a batch does), and stamps every step. The
client, in a process of its own, subtracts that stamp from its own clock: CLOCK_MONOTONIC, which Linux shares between
processes. The client's own Python is in the figure. Run it on an idle machine:  python tests/bench/service.py
"""

import argparse
import asyncio
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import EngineInfo, PreparedVoice, Recording, SpeakRequest, Step

RATE_HZ = 24_000
CHUNK_MS = 40
MS_PER_CHARACTER = 60
SENTENCE = "This is a sentence as long as one usually is when 2 people talk. "
WARM_UP_S = 2.0
TARGET_P99_MS = 5.0
BUSY = 0.1  # share of all cores that others may take


# ---- the server's side ----------------------------------------------------------------------------------------------


@dataclass
class _State:
    steps_left: int


@dataclass
class TickingEngine:
    """Gives every unit 40 ms of a tone at every tick of a real-time clock, with the time of its return."""

    info: EngineInfo = EngineInfo("starter", "ticking", RATE_HZ, ("en",), True, False, False, "none")
    fingerprint: str = "ticking"
    _tick: int = 0
    _pcm: np.ndarray = field(
        default_factory=lambda: np.sin(np.arange(RATE_HZ * CHUNK_MS // 1000) * 0.05).astype(np.float32) / 2
    )

    def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """Not asked for: it clones no voices."""
        raise NotImplementedError

    def start(self, request: SpeakRequest) -> _State:
        """As many steps as the text takes to say."""
        return _State(math.ceil(len(request.text) * MS_PER_CHARACTER / CHUNK_MS))

    def step(self, states: Sequence[_State]) -> list[Step]:
        """At the next tick: a chunk for each."""
        period_s = CHUNK_MS / 1000
        self._tick = max(self._tick + 1, math.floor(time.monotonic() / period_s))
        time.sleep(max(0.0, self._tick * period_s - time.monotonic()))
        for state in states:
            state.steps_left -= 1
        stamp = {"returned_s": time.monotonic()}
        return [Step(self._pcm, state.steps_left <= 0, stage_ms=stamp) for state in states]


async def measure(streams: int, seconds: float, normalize: bool) -> list[list[float]]:
    """Serve, run the client, give its pairs (when the audio came, how long it had taken), in seconds."""
    config = Config(port=0, max_streams=streams, max_batch=streams, log_level="warning")
    async with serving(config, {"starter": TickingEngine}) as app:
        flags = ["--client", str(app.port), "--streams", str(streams), "--seconds", str(seconds)]
        flags += [] if normalize else ["--no-normalize"]
        command = [sys.executable, str(Path(__file__)), *flags]
        client = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        answer, _ = await client.communicate()
        if client.returncode != 0:
            sys.exit(f"the client ended with status {client.returncode}")
    pairs: list[list[float]] = json.loads(answer)
    return pairs


# ---- the client's side ----------------------------------------------------------------------------------------------


async def converse(channel: grpc.aio.Channel, until_s: float, normalize: bool) -> list[tuple[float, float]]:
    """One conversation: sentence after sentence, word by word; (arrival, latency) of every stamped chunk."""
    call = speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize()
    await call.write(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig(normalize=normalize)))
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
    """Hold all conversations and print what they measured as JSON."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        until_s = time.monotonic() + WARM_UP_S + seconds
        found = await asyncio.gather(*(converse(channel, until_s, normalize) for _ in range(streams)))
    print(json.dumps([pair for pairs in found for pair in pairs]))


# ---- the command line -----------------------------------------------------------------------------------------------


def busy_share() -> float:
    """Share of all cores that was in use during the last second."""

    def ticks() -> tuple[int, int]:
        values = [int(value) for value in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:]]
        return sum(values), values[3] + values[4]

    before = ticks()
    time.sleep(1.0)
    after = ticks()
    return 1.0 - (after[1] - before[1]) / max(1, after[0] - before[0])


def commit() -> str:
    """Which source was measured."""
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no git"


def report(pairs: list[list[float]], busy: float, options: argparse.Namespace) -> None:
    """Print conditions and percentiles."""
    first_s = min(when for when, _ in pairs)
    took_ms = np.array([1000 * took for when, took in pairs if when >= first_s + WARM_UP_S])
    print(f"machine   {os.cpu_count()} cores, {100 * busy:.0f} % busy before; {platform.platform()}")
    print(f"software  Python {platform.python_version()}, grpcio {grpc.__version__}, commit {commit()}")
    print(f"load      {options.streams} streams, {options.seconds:g} s, {len(took_ms)} chunks")
    print(
        f"          of {CHUNK_MS} ms at {RATE_HZ} Hz, pcm_s16le, normalization {'on' if options.normalize else 'off'}"
    )
    p50, p95, p99 = np.percentile(took_ms, [50, 95, 99])
    print(f"engine → client  p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms, max {took_ms.max():.2f} ms")
    print(f"target    p99 at most {TARGET_P99_MS:g} ms: {'met' if p99 <= TARGET_P99_MS else 'MISSED'}")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="added latency of the service, engine to client")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--anyway", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        asyncio.run(client(options.client, options.streams, options.seconds, options.normalize))
        return
    busy = busy_share()
    if busy > BUSY and not options.anyway:
        sys.exit(f"the machine is {100 * busy:.0f} % busy: the figures would say nothing. Wait, or give --anyway")
    report(asyncio.run(measure(options.streams, options.seconds, options.normalize)), busy, options)


if __name__ == "__main__":
    main()
