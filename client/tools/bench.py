"""A closed-loop load on a server, and what its users would have noticed. Knows measures, nothing of tables."""

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
from intone.client.settings import Settings
from intone.client.speaking import speak
from intone.client.speech import Speech, Trace
from intone.client.stream import SpeechClient, completed

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
"""What is spoken when no file of texts is given, one after another."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a measure is spread; percentiles interpolate linearly. None where nothing was measured."""

    avg: float | None
    p90: float | None
    p95: float | None
    p99: float | None


def spread(values: Sequence[float]) -> Spread:
    """Mean and upper percentiles."""
    if not values:
        return Spread(None, None, None, None)
    return Spread(float(np.mean(values)), *(float(np.percentile(values, percent)) for percent in (90, 95, 99)))


@dataclass(slots=True)
class Load:
    """What to ask of the server.

    Attributes:
        streams: conversations open at once, each on a connection of its own.
        iterations: utterances that each speaks, one after another.
        texts: spoken in turn; stream n starts at the n-th.
        settings: of every stream.
        warm_up: utterances spoken first, on one stream, that do not count.
    """

    streams: int = 1
    iterations: int = 20
    texts: Sequence[str] = SENTENCES
    settings: Settings = field(default_factory=Settings)
    warm_up: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        wall_s: from the first text of the load to the last audio.
        latencies: of every utterance that was spoken to its end.
        server_ttfa_ms: the server's own figure for each of those that has one.
        errors: of the others, in words.
    """

    wall_s: float
    latencies: tuple[Latency, ...]
    server_ttfa_ms: tuple[float, ...]
    errors: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """The figures to publish; see the keys."""
        audio_s = sum(latency.audio_ms for latency in self.latencies) / 1000
        continuous = [latency.continuous for latency in self.latencies]
        first_ms = [latency.ttfa_ms for latency in self.latencies if latency.ttfa_ms is not None]
        return {
            "utterances": len(self.latencies),
            "errors": len(self.errors),
            "latency_to_first_audio_ms": asdict(spread(first_ms)),
            "server_ttfa_ms": asdict(spread(self.server_ttfa_ms)),
            "inter_chunk_ms": asdict(spread([gap for latency in self.latencies for gap in latency.gaps_ms])),
            "audio_s": audio_s,
            "wall_s": self.wall_s,
            "rtfx": audio_s / self.wall_s if self.wall_s else None,
            "underrun_s": sum(latency.underrun_s for latency in self.latencies),
            "continuity_percent": 100 * sum(continuous) / len(continuous) if continuous else None,
            "continuity_threshold_ms": 1000 * CONTINUITY_THRESHOLD_S,
        }


@dataclass(slots=True)
class _Tally:
    """What has been measured so far, by all streams."""

    latencies: list[Latency] = field(default_factory=list)
    server_ttfa_ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


async def run_load(
    connect: Callable[[], SpeechClient], load: Load, clock: Callable[[], float], progress: Callable[[], None]
) -> Outcome:
    """Put the load on the server and measure.

    Args:
        connect: makes the client of one stream.
        clock: seconds, monotonic.
        progress: told after every utterance that counts.

    Raises:
        IntoneCallError: the warm-up failed: there is nothing to measure.
    """
    if load.warm_up:
        async with connect() as client:
            for turn in range(load.warm_up):
                await client.say(load.texts[turn % len(load.texts)], load.settings)
    tally = _Tally()
    start_s = clock()
    await asyncio.gather(*(_speaker(connect, load, number, tally, progress) for number in range(load.streams)))
    return Outcome(clock() - start_s, tuple(tally.latencies), tuple(tally.server_ttfa_ms), tuple(tally.errors))


async def _speaker(
    connect: Callable[[], SpeechClient], load: Load, number: int, tally: _Tally, progress: Callable[[], None]
) -> None:
    """One user: speaks one text after another on one stream; opens another stream when that one is lost."""
    texts = [load.texts[(number + turn) % len(load.texts)] for turn in range(load.iterations)]
    async with connect() as client:
        while texts:
            left = len(texts)
            try:
                await _conversation(client, load.settings, texts, tally, progress)
            except IntoneCallError as error:  # of the whole call
                tally.errors.append(str(error))
                if len(texts) == left:
                    texts.pop(0)  # lost before it was tried
                progress()


async def _conversation(
    client: SpeechClient, settings: Settings, texts: list[str], tally: _Tally, progress: Callable[[], None]
) -> None:
    """Speak texts from the front of `texts`, which are taken out, until none is left or the call fails."""
    trace = Trace()
    async with client.converse(settings, trace=trace) as conversation:
        while texts:
            utterance = f"u{len(texts)}"
            async with aclosing(speak(conversation, texts.pop(0), utterance)) as events:
                async for _ in events:
                    pass
            speech = trace.speech(utterance)
            trace.sent.clear()
            trace.events.clear()
            if speech.ended is None:
                completed(speech)  # raises: the call is over
            _count(speech, tally)
            progress()


def _count(speech: Speech, tally: _Tally) -> None:
    try:
        completed(speech)
    except IntoneCallError as error:
        tally.errors.append(str(error))
        return
    tally.latencies.append(speech.latency)
    if speech.report is not None and speech.report.ttfa_ms is not None:
        tally.server_ttfa_ms.append(speech.report.ttfa_ms)


def conditions(info: Any, command: str) -> dict[str, Any]:
    """What has to be known to read the figures: machine, commit, command, date, and what the server says it is."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "client_version": version("intone"),
        "client_commit": _commit(),
        "client_machine": f"{platform.platform()}, {platform.processor() or platform.machine()}",
        "server": MessageToDict(info, preserving_proto_field_name=True, always_print_fields_with_no_presence=True),
    }


def _commit() -> str | None:
    """Commit of the checkout this file is in, `-dirty` when it was changed; None when it is installed."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        asked = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return asked.stdout.strip() or None
