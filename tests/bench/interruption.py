"""Barge-in on real engines: from a `cancel` to the last moment of model work, and to the `interrupted` at the client.

    python tests/bench/interruption.py [--turns 60] [--steps 10]

Starts a server in this process with VoxCPM and IndexTTS, both nano and untrained, and interrupts utterances at random
moments over loopback gRPC. Every step of the engines is timed; model work may go on only to the end of the step that
was running. Prints a Markdown table and whether that held. Run it on an idle machine.
"""

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import soundfile
from conditions import command_line, conditions, refuse_if_busy
from rich.progress import track

from intone.proto import emotion_pb2, speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
from intone.server.app import serving
from intone.server.config import Config
from intone.server.domain import SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.voxcpm.engine import VoxCPMEngine

TEXT = "I was going to tell you about the whole of the journey, from the harbour up to the lighthouse and back."
ANGRY = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_ANGRY)
PLAIN = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_NEUTRAL)
VOICE_RATE_HZ = 16_000


@dataclass
class Timed:
    """An engine whose steps are written down: when each began and ended."""

    engine: Engine
    steps: list[tuple[float, float]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def start(self, request: SpeakRequest) -> Any:
        """Begin a unit."""
        return self.engine.start(request)

    def step(self, states: Sequence[Any]) -> list[Step]:
        """One step, timed. Written down before it begins, so that one that is running can be seen."""
        began_s = time.monotonic()
        self.steps.append((began_s, float("inf")))
        try:
            return self.engine.step(states)
        finally:
            self.steps[-1] = (began_s, time.monotonic())


@dataclass(frozen=True)
class Cut:
    """One interruption, in milliseconds: to the client's `interrupted`, to the end of model work, and the step that
    was running (0 where the engine was idle)."""

    engine: str
    told_ms: float
    idle_ms: float
    step_ms: float
    begun_after: int


async def interrupt(call: Any, engines: dict[str, Timed], name: str, emotion: Any, options: Any, after_s: float) -> Cut:
    """Start an utterance, cancel it after a while, and see what the engines did then."""
    await call.write(_request(text={"utterance_id": name, "delta": TEXT, "emotion": emotion, "options": options}))
    engine = ""
    while not engine:
        answer = await call.read()
        engine = answer.started.engine if answer.WhichOneof("response") == "started" else ""
    waiting = asyncio.create_task(_until_interrupted(call))
    await asyncio.sleep(after_s)
    cut_s = time.monotonic()
    await call.write(_request(cancel={"utterance_id": name}))
    told_s = await waiting
    timed = engines[engine]
    while any(ended == float("inf") for _, ended in timed.steps):  # noqa: ASYNC110
        await asyncio.sleep(0.002)  # the engines' threads know nothing of this loop
    last = [(began, ended) for began, ended in timed.steps if ended > cut_s]
    late = [began for began, _ in last if began > told_s]
    idle_ms = 1000 * (max((ended for _, ended in last), default=cut_s) - cut_s)
    step_ms = 1000 * max((ended - began for began, ended in last), default=0.0)
    return Cut(engine, 1000 * (told_s - cut_s), idle_ms, step_ms, len(late))


async def _until_interrupted(call: Any) -> float:
    while (await call.read()).WhichOneof("response") != "interrupted":
        pass
    return time.monotonic()


def _request(**message: Any) -> speech_pb2.StreamSynthesizeRequest:
    return speech_pb2.StreamSynthesizeRequest(**message)


async def _upload() -> AsyncIterator[voice_pb2.CreateVoiceRequest]:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * VOICE_RATE_HZ)
    soundfile.write(file, noise, VOICE_RATE_HZ, format="WAV")
    yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="noise", transcript="Some words."))
    yield voice_pb2.CreateVoiceRequest(audio=file.getvalue())


async def measure(turns: int, steps: int) -> list[Cut]:
    """Interrupt `turns` utterances, plain and emotional in turn, at random moments of their first second and a half."""
    engines = {"voxcpm": Timed(VoxCPMEngine.random("nano")), "indextts": Timed(IndexTTSEngine.random("nano"))}
    config = Config(port=0, default_engine="voxcpm", fillers=False, match_loudness=False, log_level="error")
    options = speech_pb2.SynthesisOptions(steps=steps)
    draw = random.Random(7)
    async with (
        serving(config, engines={name: lambda one=timed: one for name, timed in engines.items()}) as app,  # type: ignore[misc]
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        await voice_pb2_grpc.VoiceServiceStub(channel).CreateVoice(_upload())
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize()
        await call.write(_request(config={"voice": "noise", "lead_limit_ms": 600_000}))
        cuts = []
        for turn in track(range(turns), "interrupting"):
            emotion = (PLAIN, ANGRY)[turn % 2]
            cuts.append(await interrupt(call, engines, f"u{turn}", emotion, options, draw.uniform(0.02, 1.5)))
        call.cancel()
    return cuts


def table(cuts: Sequence[Cut]) -> str:
    """The figures by engine: p50 / p99."""
    lines = [
        "| engine | cuts | told, ms | work ends, ms | step running, ms | steps begun after |",
        "|---|---|---|---|---|---|",
    ]
    for engine in sorted({cut.engine for cut in cuts}):
        mine = [cut for cut in cuts if cut.engine == engine]
        figures = [_both([getattr(cut, name) for cut in mine]) for name in ("told_ms", "idle_ms", "step_ms")]
        lines.append(f"| {engine} | {len(mine)} | {' | '.join(figures)} | {sum(cut.begun_after for cut in mine)} |")
    return "\n".join(lines)


def _both(values: Sequence[float]) -> str:
    return f"{np.percentile(values, 50):.1f} / {np.percentile(values, 99):.1f}"


def main() -> None:
    """The command line."""
    parser = command_line(__doc__)
    parser.add_argument("--turns", type=int, default=60)
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    busy = refuse_if_busy(given.anyway)
    cuts = asyncio.run(measure(given.turns, given.steps))
    print(table(cuts))
    held = all(cut.idle_ms <= cut.step_ms + 1 and cut.begun_after == 0 for cut in cuts)
    print(f"\nmodel work ended within the step that was running: {'always' if held else 'NOT always'}")
    print(f"\n{conditions(busy)}")


if __name__ == "__main__":
    main()
