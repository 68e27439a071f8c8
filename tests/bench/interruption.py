"""Barge-in latency with real engines: from `interrupt` to the client's `interrupted`, and to the end of model work.

    python tests/bench/interruption.py [--turns 60] [--steps 10]

Starts a server in this process with VoxCPM and IndexTTS, both nano with random weights, and interrupts utterances at
random times over loopback gRPC. Every engine step is timed: after an interruption, only the step that is running may
finish. Prints a Markdown table and whether that held. Refuses to run on a busy machine.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from conditions import command_line, conditions, refuse_if_busy
from rich.progress import track

from intone.client import AsyncConversation, AsyncSpeechClient, SpeechSettings, Started
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.voxcpm.engine import VoxCPMEngine

TEXT = "I was going to tell you about the whole of the journey, from the harbour up to the lighthouse and back."
EMOTIONS = ("neutral", "angry")
VOICE_RATE_HZ = 16_000


@dataclass
class Timed:
    """An engine that records the start and end of each of its steps."""

    engine: Engine
    steps: list[tuple[float, float]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def start(self, request: SpeakRequest) -> Any:
        """Start a unit."""
        return self.engine.start(request)

    def step(self, states: Sequence[Any]) -> list[Step]:
        """One step, recorded before it starts so that a running step is visible."""
        start_s = time.monotonic()
        self.steps.append((start_s, float("inf")))
        try:
            return self.engine.step(states)
        finally:
            self.steps[-1] = (start_s, time.monotonic())


@dataclass(frozen=True)
class Cut:
    """One interruption.

    Attributes:
        engine: name of the engine that spoke.
        interrupted_ms: from `interrupt` to the client's receipt of `interrupted`.
        idle_ms: from `interrupt` to the end of model work.
        step_ms: length of the step that was running; 0 if the engine was idle.
        late_steps: steps that started after `interrupted`.
    """

    engine: str
    interrupted_ms: float
    idle_ms: float
    step_ms: float
    late_steps: int


async def interrupt(
    talk: AsyncConversation, engines: dict[str, Timed], settings: SpeechSettings, after_s: float
) -> Cut:
    """Start an utterance, interrupt it `after_s` after its `started`, and record what the engine did from then on."""
    utterance = talk.utterance(settings).speak(TEXT)
    started = await anext(event async for event in utterance.events() if isinstance(event, Started))
    await asyncio.sleep(after_s)
    cut_s = time.monotonic()
    await utterance.interrupt()
    interrupted_s = time.monotonic()
    timed = engines[started.route.engine]
    while any(ended == float("inf") for _, ended in timed.steps):  # noqa: ASYNC110
        await asyncio.sleep(0.002)  # polled: the engine runs on a thread of its own
    last = [(began, ended) for began, ended in timed.steps if ended > cut_s]
    late = [began for began, _ in last if began > interrupted_s]
    idle_ms = 1000 * (max((ended for _, ended in last), default=cut_s) - cut_s)
    step_ms = 1000 * max((ended - began for began, ended in last), default=0.0)
    return Cut(started.route.engine, 1000 * (interrupted_s - cut_s), idle_ms, step_ms, len(late))


async def make_voice(client: AsyncSpeechClient) -> None:
    """Make the voice "noise"."""
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * VOICE_RATE_HZ)
    with tempfile.TemporaryDirectory(prefix="intone-bench-") as scratch:
        soundfile.write(Path(scratch) / "noise.wav", noise, VOICE_RATE_HZ)
        await client.voices.create(Path(scratch) / "noise.wav", "noise", transcript="Some words.")


async def measure(turns: int, steps: int) -> list[Cut]:
    """Interrupt `turns` utterances, alternately neutral and angry, at random times within their first 1.5 s."""
    engines = {"voxcpm": Timed(VoxCPMEngine.random("nano")), "indextts": Timed(IndexTTSEngine.random("nano"))}
    config = Config(port=0, default_engine="voxcpm", fillers=False, match_loudness=False, log_level="error")
    rng = random.Random(7)
    cuts = []
    async with (
        serving(config, engines={name: lambda one=timed: one for name, timed in engines.items()}) as app,  # type: ignore[misc]
        AsyncSpeechClient(f"127.0.0.1:{app.port}") as client,
    ):
        await make_voice(client)
        async with client.conversation(voice="noise", max_lead_ms=600_000) as talk:
            for turn in track(range(turns), "interrupting"):
                settings = SpeechSettings(emotion=EMOTIONS[turn % 2], engine_parameters={"steps": steps})
                cuts.append(await interrupt(talk, engines, settings, rng.uniform(0.02, 1.5)))
    return cuts


def table(cuts: Sequence[Cut]) -> str:
    """Markdown table by engine: p50 / p99."""
    lines = [
        "| engine | interruptions | interrupted, ms | model work ends, ms | running step, ms | steps started after |",
        "|---|---|---|---|---|---|",
    ]
    for engine in sorted({cut.engine for cut in cuts}):
        mine = [cut for cut in cuts if cut.engine == engine]
        figures = [_p50_p99([getattr(cut, name) for cut in mine]) for name in ("interrupted_ms", "idle_ms", "step_ms")]
        lines.append(f"| {engine} | {len(mine)} | {' | '.join(figures)} | {sum(cut.late_steps for cut in mine)} |")
    return "\n".join(lines)


def _p50_p99(values: Sequence[float]) -> str:
    return f"{np.percentile(values, 50):.1f} / {np.percentile(values, 99):.1f}"


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--turns", type=int, default=60, help="utterances; default: %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="diffusion steps; default: %(default)s")
    options = parser.parse_args()
    busy = refuse_if_busy(options.anyway)
    cuts = asyncio.run(measure(options.turns, options.steps))
    print(table(cuts))
    held = all(cut.idle_ms <= cut.step_ms + 1 and cut.late_steps == 0 for cut in cuts)
    print(f"\nmodel work ended with the step that was running: {'always' if held else 'NOT always'}")
    print(f"\n{conditions(busy)}")


if __name__ == "__main__":
    main()
