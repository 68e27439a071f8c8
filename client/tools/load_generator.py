"""Generates closed-loop load on a server and measures it: latency, gaps, throughput, continuity."""

import asyncio
import platform
import subprocess
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict

from intone.client.errors import IntoneCallError
from intone.client.latency import CONTINUITY_THRESHOLD_S, Latency
from intone.client.settings import StreamSettings
from intone.client.speaking import speak
from intone.client.speech import ConversationLog, Speech
from intone.client.speech_client import SpeechClient

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
    """

    streams: int = 1
    iterations: int = 20
    texts: Sequence[str] = SENTENCES
    settings: StreamSettings = field(default_factory=StreamSettings)
    warm_up: int = 1


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The measurements of a load test.

    Attributes:
        wall_s: from the first text to the last audio.
        latencies: of each completed utterance.
        server_ttfa_ms: TTFA measured at the server, of each completed utterance that has one.
        errors: messages of the utterances and calls that failed.
    """

    wall_s: float
    latencies: tuple[Latency, ...]
    server_ttfa_ms: tuple[float, ...]
    errors: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """The figures as JSON values."""
        audio_s = sum(latency.audio_ms for latency in self.latencies) / 1000
        continuous = [latency.continuous for latency in self.latencies]
        first_ms = [latency.ttfa_ms for latency in self.latencies if latency.ttfa_ms is not None]
        return {
            "utterances": len(self.latencies),
            "errors": len(self.errors),
            "latency_to_first_audio_ms": asdict(distribution(first_ms)),
            "server_ttfa_ms": asdict(distribution(self.server_ttfa_ms)),
            "inter_chunk_ms": asdict(distribution([gap for latency in self.latencies for gap in latency.gaps_ms])),
            "audio_s": audio_s,
            "wall_s": self.wall_s,
            "rtfx": audio_s / self.wall_s if self.wall_s else None,
            "underrun_s": sum(latency.underrun_s for latency in self.latencies),
            "continuity_percent": 100 * sum(continuous) / len(continuous) if continuous else None,
            "continuity_threshold_ms": 1000 * CONTINUITY_THRESHOLD_S,
        }


@dataclass(slots=True)
class _Measurements:
    """What all streams have measured so far."""

    latencies: list[Latency] = field(default_factory=list)
    server_ttfa_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, speech: Speech) -> None:
        try:
            speech.raise_unless_completed()
        except IntoneCallError as error:
            self.errors.append(str(error))
            return
        self.latencies.append(speech.latency)
        if speech.report is not None and speech.report.ttfa_ms is not None:
            self.server_ttfa_ms.append(speech.report.ttfa_ms)


async def run_load(
    connect: Callable[[], SpeechClient], load: Load, clock: Callable[[], float], progress: Callable[[], None]
) -> LoadResult:
    """Run a load test.

    Args:
        connect: makes the client of one stream.
        clock: monotonic clock in seconds.
        progress: called after every measured utterance.

    Raises:
        IntoneCallError: the warm-up failed.
    """
    if load.warm_up:
        async with connect() as client:
            for iteration in range(load.warm_up):
                await client.say(load.texts[iteration % len(load.texts)], load.settings)
    measured = _Measurements()
    start_s = clock()
    await asyncio.gather(*(_run_stream(connect, load, number, measured, progress) for number in range(load.streams)))
    return LoadResult(
        clock() - start_s, tuple(measured.latencies), tuple(measured.server_ttfa_ms), tuple(measured.errors)
    )


async def _run_stream(
    connect: Callable[[], SpeechClient], load: Load, number: int, measured: _Measurements, progress: Callable[[], None]
) -> None:
    """Speak one text after another on one stream; open another stream when that one is lost."""
    texts = [load.texts[(number + iteration) % len(load.texts)] for iteration in range(load.iterations)]
    async with connect() as client:
        while texts:
            remaining = len(texts)
            try:
                await _speak_all(client, load.settings, texts, measured, progress)
            except IntoneCallError as error:  # the call failed, not just one utterance
                measured.errors.append(str(error))
                if len(texts) == remaining:
                    texts.pop(0)  # the call was lost before its first text was sent
                progress()


async def _speak_all(
    client: SpeechClient,
    settings: StreamSettings,
    texts: list[str],
    measured: _Measurements,
    progress: Callable[[], None],
) -> None:
    """Speak and remove texts from the front of `texts`, until none is left or the call fails."""
    log = ConversationLog()
    async with client.converse(settings, log=log) as conversation:
        while texts:
            utterance_id = f"u{len(texts)}"
            async with aclosing(speak(conversation, texts.pop(0), utterance_id)) as events:
                async for _ in events:
                    pass
            speech = log.speech(utterance_id)
            log.sent.clear()
            log.events.clear()
            if speech.ended is None:
                speech.raise_unless_completed()  # raises: the call is over
            measured.add(speech)
            progress()


def conditions(info: Any, command: str) -> dict[str, Any]:
    """The conditions of a measurement: date, command, client version, commit and machine, and the server's info."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "client_version": version("intone"),
        "client_commit": _commit(),
        "client_machine": f"{platform.platform()}, {platform.processor() or platform.machine()}",
        "server": MessageToDict(info, preserving_proto_field_name=True, always_print_fields_with_no_presence=True),
    }


def _commit() -> str | None:
    """The commit of the checkout that contains this file, with `-dirty` if it was changed; None if there is none."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return git.stdout.strip() or None
