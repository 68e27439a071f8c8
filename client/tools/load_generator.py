"""Generates closed-loop load on a server and measures it: latency, gaps, throughput, continuity."""

import asyncio
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from intone.client.async_client import AsyncSpeechClient
from intone.client.conversation import AsyncConversation
from intone.client.errors import IntoneError
from intone.client.events import AudioChunk
from intone.client.json_values import to_json
from intone.client.latency import CONTINUITY_THRESHOLD_S, Latency
from intone.client.server_info import ServerInfo
from intone.client.settings import StreamSettings
from intone.client.speech import Speech
from intone.client.utterance import AsyncUtterance

SENTENCES = (
    "The train to the coast leaves from platform seven in twelve minutes.",
    "I have moved your appointment to Thursday afternoon, just after lunch.",
    "Would you like me to read the whole message, or only the first part?",
    "It rained all night, and by morning the river had reached the lower garden.",
    "Your order has been packed and should arrive before the weekend.",
    "Turn left at the old bakery, then keep going until you see the bridge.",
    "She opened the window, listened for a moment, and began to laugh.",
    "There are three unread letters on your desk, and one of them is urgent.",
    "The kettle is on, so let us talk about what happened yesterday.",
    "Nobody remembered who had planted the apple tree behind the school.",
)
"""The default texts, spoken in turn."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean and upper percentiles (linearly interpolated) of a measure; None if there are no values."""

    avg: float | None
    p90: float | None
    p95: float | None
    p99: float | None


def distribution(values: Sequence[float]) -> Distribution:
    """Summarize values."""
    if not values:
        return Distribution(None, None, None, None)
    return Distribution(float(np.mean(values)), *(float(np.percentile(values, percent)) for percent in (90, 95, 99)))


@dataclass(slots=True)
class Load:
    """The load to put on a server.

    Attributes:
        streams: number of concurrent conversations, each on a connection of its own.
        iterations: number of utterances per stream, one after another.
        texts: spoken in turn; stream n starts with text n.
        settings: of every stream.
        warm_up: number of utterances spoken beforehand on one stream, which are not measured.
        interrupt_after_ms: each utterance is interrupted this long after its first audio; None: never.
    """

    streams: int = 1
    iterations: int = 20
    texts: Sequence[str] = SENTENCES
    settings: StreamSettings = field(default_factory=StreamSettings)
    warm_up: int = 1
    interrupt_after_ms: float | None = None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The measurements of a load test.

    Attributes:
        wall_s: from the first text to the last audio.
        latencies: of each utterance that was completed or interrupted.
        server_ttfa_ms: the server's first sound, measured there, of each of them that has one.
        stop_ms: from each interruption to the receipt of its answer.
        errors: messages of the utterances and calls that failed.
    """

    wall_s: float
    latencies: tuple[Latency, ...]
    server_ttfa_ms: tuple[float, ...]
    errors: tuple[str, ...]
    stop_ms: tuple[float, ...] = ()

    def summary(self) -> dict[str, Any]:
        """The figures as JSON values."""
        audio_s = sum(latency.audio_ms for latency in self.latencies) / 1000
        continuous = [latency.continuous for latency in self.latencies]
        first_ms = [latency.ttfa_ms for latency in self.latencies if latency.ttfa_ms is not None]
        filler_ms = [latency.filler_ttfa_ms for latency in self.latencies if latency.filler_ttfa_ms is not None]
        return {
            "utterances": len(self.latencies),
            "errors": len(self.errors),
            "server_ttfa_ms": asdict(distribution(self.server_ttfa_ms)),
            "latency_to_first_audio_ms": asdict(distribution(first_ms)),
            "latency_to_first_filler_ms": asdict(distribution(filler_ms)),
            "inter_chunk_ms": asdict(distribution([gap for latency in self.latencies for gap in latency.gaps_ms])),
            "stop_ms": asdict(distribution(self.stop_ms)),
            "audio_s": audio_s,
            "wall_s": self.wall_s,
            "rtfx": audio_s / self.wall_s if self.wall_s else None,
            "underrun_s": sum(latency.underrun_s for latency in self.latencies),
            "interrupted_playback": continuous.count(False),
            "continuity_percent": 100 * sum(continuous) / len(continuous) if continuous else None,
            "continuity_threshold_ms": 1000 * CONTINUITY_THRESHOLD_S,
        }


@dataclass(slots=True)
class _Measurements:
    """What all streams have measured so far."""

    latencies: list[Latency] = field(default_factory=list)
    server_ttfa_ms: list[float] = field(default_factory=list)
    stop_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, speech: Speech) -> None:
        if speech.done is None or speech.done.reason != "interrupted":
            try:
                speech.raise_unless_completed()
            except IntoneError as error:
                self.errors.append(str(error))
                return
        self.latencies.append(speech.latency)
        if speech.report is not None and speech.report.ttfa_ms is not None:
            self.server_ttfa_ms.append(speech.report.ttfa_ms)


async def run_load(
    connect: Callable[[], AsyncSpeechClient], load: Load, clock: Callable[[], float], progress: Callable[[], None]
) -> LoadResult:
    """Run a load test.

    Args:
        connect: makes the client of one stream.
        clock: monotonic clock in seconds.
        progress: called after every measured utterance.

    Raises:
        IntoneError: the warm-up failed.
    """
    if load.warm_up:
        async with connect() as client:
            for iteration in range(load.warm_up):
                await client.say(load.texts[iteration % len(load.texts)], load.settings)
    measured = _Measurements()
    start_s = clock()
    streams = (_Stream(load, measured, clock, progress) for _ in range(load.streams))
    await asyncio.gather(*(stream.run(connect, number) for number, stream in enumerate(streams)))
    return LoadResult(
        clock() - start_s,
        tuple(measured.latencies),
        tuple(measured.server_ttfa_ms),
        tuple(measured.errors),
        tuple(measured.stop_ms),
    )


@dataclass(frozen=True, slots=True)
class _Stream:
    """One stream of the load."""

    load: Load
    measured: _Measurements
    clock: Callable[[], float]
    progress: Callable[[], None]

    async def run(self, connect: Callable[[], AsyncSpeechClient], number: int) -> None:
        """Speak one text after another on one stream; open another stream when that one is lost."""
        load = self.load
        texts = [load.texts[(number + iteration) % len(load.texts)] for iteration in range(load.iterations)]
        async with connect() as client:
            while texts:
                remaining = len(texts)
                try:
                    async with client.conversation(load.settings) as talk:
                        while texts:
                            await self._speak(talk, texts.pop(0))
                except IntoneError as error:  # the call failed, not just one utterance
                    self.measured.errors.append(str(error))
                    if len(texts) == remaining:
                        texts.pop(0)  # the call was lost before its first text was sent
                    self.progress()

    async def _speak(self, talk: AsyncConversation, text: str) -> None:
        utterance = talk.utterance().speak(text)
        if self.load.interrupt_after_ms is not None:
            await self._interrupt(utterance, self.load.interrupt_after_ms / 1000)
        await utterance.done()
        self.measured.add(utterance.speech)
        self.progress()

    async def _interrupt(self, utterance: AsyncUtterance, after_s: float) -> None:
        """Interrupt an utterance some time after its first audio, and measure how long the answer takes."""
        async for event in utterance.events():
            if isinstance(event, AudioChunk):
                await asyncio.sleep(after_s)
                asked_s = self.clock()
                await utterance.interrupt()
                self.measured.stop_ms.append(1000 * (self.clock() - asked_s))
                return


def conditions(info: ServerInfo, command: str) -> dict[str, Any]:
    """The conditions of a measurement: date, command, client version, commit and machine, and the server's info."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "client_version": version("intone"),
        "client_commit": _commit(),
        "client_machine": f"{platform.platform()}, {platform.processor() or platform.machine()}",
        "server": to_json(info),
    }


def _commit() -> str | None:
    """The commit of the checkout that contains this file, with `-dirty` if it was changed; None if there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return git.stdout.strip() or None
