"""For tests of background rendering: an engine that speaks tones, voices, and a renderer at work on them."""

import asyncio
import contextlib
from dataclasses import dataclass, field, replace

import numpy as np

from intone.server.domain import Filler, PreparedVoice, Recording, SpeakRequest, Step
from intone.server.errors import CallerError
from intone.server.runtime.thread_pools import ThreadPools
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.store import build_voice
from tests.support.fakes import ScriptedEngine, info

RATE_HZ = 16_000


def tone(duration_ms, level, rate_hz=RATE_HZ):
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return (level * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)


@dataclass
class SteadyToneEngine(ScriptedEngine):
    """Speaks a tone of amplitude `level`, 40 ms per character, between two silences. Each of the three is one step."""

    level: float = 0.1
    requests: list[SpeakRequest] = field(default_factory=list)
    broken: bool = False

    def start(self, request):
        self.requests.append(request)
        if request.text in self.script.refuse:
            raise CallerError("text", "refused by the script")
        quiet = np.zeros(RATE_HZ // 5, np.float32)
        return [request, [quiet, tone(40 * len(request.text), self.level), quiet]]

    def held_bytes(self, state):
        return 0

    def step(self, states):
        if self.broken:
            raise RuntimeError("broken by the test")
        return [Step(pieces.pop(0), done=not pieces) for _, pieces in states]


@dataclass
class RecordedForecast:
    """Stands for a forecast, and records what it would learn."""

    units: list[tuple] = field(default_factory=list)

    def learn(self, engine, characters, load, ttfa_ms):
        self.units.append((engine, characters, load, ttfa_ms))


def engine(name="voxcpm", **changes):
    own = {key: changes.pop(key) for key in ("level", "script", "fingerprint", "broken") if key in changes}
    return SteadyToneEngine(info=info(name, **changes), batches=True, **own)


def recording():
    return Recording(tone(1500, 0.2), RATE_HZ, "the transcript")


def voice(name="ada", engines=("voxcpm",), created_s=1.0):
    made = {one: PreparedVoice("scripted-1", {"length": np.array([3])}, "the transcript") for one in engines}
    return build_voice(name, recording(), made, created_s)


@contextlib.asynccontextmanager
async def rendering(store, *engines, forecast=None, **options):
    """A running renderer and its workers. The first engine is the plain one."""
    workers = {one.info.name: await ThreadWorker.launch(one.info.name, lambda one=one: one, 4) for one in engines}
    pools = ThreadPools()
    renderer = BackgroundRenderer(
        store, workers, engines[0].info.name, forecast or RecordedForecast(), pools, **options
    )
    task = asyncio.create_task(renderer.run(), name="renderer")
    try:
        yield renderer, workers
    finally:
        task.cancel()
        await asyncio.wait([task])
        for worker in workers.values():
            worker.close()
        pools.close()
        if not task.cancelled():
            task.result()


def render_all(run, store, *engines, **options):
    """Run a renderer until nothing is left to do."""

    async def main():
        async with rendering(store, *engines, **options) as (renderer, _):
            await renderer.wait_idle()

    run(main())


def texts_of(fillers, emotion, language):
    return {one.text for one in fillers if (one.emotion, one.language) == (emotion, language)}


def filler(text, emotion, language="en", level=0.1):
    return Filler(text, emotion, language, tone(300, level), RATE_HZ, (300,), "voxcpm", "scripted-1")


def clip(text, emotion, language="en", level=0.1):
    return replace(filler(text, emotion, language, level), engine="", fingerprint="")
