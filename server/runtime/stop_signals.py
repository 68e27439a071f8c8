"""SIGTERM and SIGINT: the first asks the server to stop, the second to stop at once, a third ends the process."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FORCE_S = 2.0
"""How long an orderly end may take after the second signal; then the process ends without one."""


async def until(task: "asyncio.Future[Any]", event: asyncio.Event) -> bool:
    """Wait for a task, whose exception is raised, or cancel it when the event comes; whether it has finished."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = task.done()
        for one in (task, waiting):
            one.cancel()
        await asyncio.wait({task, waiting})
    if finished:
        task.result()
    return finished


@dataclass
class StopSignals:
    """`stop` is set by the first SIGTERM or SIGINT, `stop_now` by the second."""

    stop: asyncio.Event
    stop_now: asyncio.Event


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle signals, also while the event loop is held up: `FORCE_S` after the second one the process ends."""
    signals, loop = StopSignals(asyncio.Event(), asyncio.Event()), asyncio.get_running_loop()
    events, timers = iter((signals.stop, signals.stop_now)), []

    def handle(number: int, frame: object) -> None:
        if (event := next(events, None)) is None:
            os._exit(128 + number)
        loop.call_soon_threadsafe(event.set)
        if event is signals.stop_now:
            timers.append(threading.Timer(FORCE_S, os._exit, (128 + number,)))
            timers[0].daemon = True
            timers[0].start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()
