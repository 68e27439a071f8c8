"""What listeners notice when the process of an engine is killed in mid-utterance, again and again.

    python tests/bench/engine_kills.py [--kills 50] [--anyway]

A server with the packaged voices; four listeners hear the starter voice, one hears VoxCPM nano. Each time this one
hears sound, the process that speaks it gets SIGKILL. Printed: how long until the listener is told (target: 1 s), how
long until VoxCPM is heard again (target: 10 s), what the other four noticed, and what the server held after the fifth
and after the last kill.
"""

import asyncio
import os
import signal
import sys
import time

import numpy as np
from conditions import command_line, conditions, refuse_if_busy
from process_tree import resources
from rich.progress import track
from talkers import Noticed, Talker

from intone.client import AsyncSpeechClient
from intone.client.events import AudioChunk
from intone.client.utterance import AsyncUtterance
from intone.server.app import App, serving
from intone.server.config import Config
from intone.server.runtime.process_worker import ProcessWorker

TEXT = "The train to the coast leaves from platform seven in twelve minutes, and it will be rather full today."
BYSTANDERS = 4
TARGET_TOLD_S, TARGET_BACK_S = 1.0, 10.0
WARM_UP_KILLS = 5
GIVE_UP_S = 60.0
PAUSE_S = 1.0
"""Between two kills: the engine must have spoken, so that it is started again at once."""


async def killed_once(client: AsyncSpeechClient, worker: ProcessWorker) -> tuple[float, float]:
    """Kill the process while it is heard.

    Returns:
        Seconds until the listener is told, and until the engine is heard again.
    """
    async with client.conversation(engine="voxcpm") as talk:
        utterance = talk.utterance().speak(TEXT)
        killed_s = 0.0
        async for event in utterance.events():
            if isinstance(event, AudioChunk) and not killed_s:
                os.kill(worker.pid, signal.SIGKILL)
                killed_s = time.monotonic()
        told_s = time.monotonic()
        done = await utterance.done()
        if done.error is None:
            sys.exit("the utterance was spoken to its end before the kill: the text is too short for this machine")
        while time.monotonic() < killed_s + GIVE_UP_S:
            again, back_s = talk.utterance().speak("Here I am again."), 0.0
            async for event in again.events():
                if isinstance(event, AudioChunk) and _engine(again) == "voxcpm":
                    back_s = back_s or time.monotonic()
            if back_s:  # and it has spoken to the end: an engine that has not is started with a delay the next time
                return told_s - killed_s, back_s - killed_s
    sys.exit(f"the engine was not back after {GIVE_UP_S:g} s")


def _engine(utterance: AsyncUtterance) -> str:
    """The engine that speaks an utterance; the other one does while the killed one is away."""
    started = utterance.speech.started
    return started.route.engine if started is not None else ""


async def measure(app: App, kills: int) -> tuple[list[tuple[float, float]], Noticed, list[str]]:
    """Kill, while others listen; returns the times, what the others noticed, and what the server held."""
    target, noticed = f"127.0.0.1:{app.port}", Noticed()
    worker = app.service.workers["voxcpm"]
    assert isinstance(worker, ProcessWorker)
    others = [Talker(target, number, noticed, options={"engine": "starter"}) for number in range(BYSTANDERS)]
    listening = [asyncio.create_task(other.run(asyncio.Event())) for other in others]
    times, held = [], []
    try:
        async with AsyncSpeechClient(target) as client:
            for number in track(range(kills), "killing"):
                times.append(await killed_once(client, worker))
                await asyncio.sleep(PAUSE_S)
                if number + 1 in (min(WARM_UP_KILLS, kills), kills):
                    held.append(f"{number + 1:3} kills: {resources()}")
    finally:
        for task in listening:
            task.cancel()
        await asyncio.wait(listening)
    return times, noticed, held


async def run(kills: int) -> tuple[list[tuple[float, float]], Noticed, list[str]]:
    """Serve and measure."""
    async with serving(Config(port=0, fillers=False, match_loudness=False, max_load=0.0, log_level="error")) as app:
        return await measure(app, kills)


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    options = parser.parse_args()
    busy = refuse_if_busy(options.anyway)
    times, noticed, held = asyncio.run(run(options.kills))
    told, back = np.array(times).T
    print(f"conditions {conditions(busy)}")
    print(f"told       p50 {np.median(told):.3f} s, max {told.max():.3f} s (target {TARGET_TOLD_S:g} s)")
    print(f"back       p50 {np.median(back):.1f} s, max {back.max():.1f} s (target {TARGET_BACK_S:g} s)")
    print(f"others     {noticed}")
    for line in held:
        print(f"held       {line}")
    failed = told.max() > TARGET_TOLD_S or back.max() > TARGET_BACK_S or noticed.errors
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
