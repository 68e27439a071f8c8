"""Does the server keep its memory, its files and its promptness over hours?

    python tests/bench/soak.py [--minutes 30] [--streams 8] [--barge-in 0.2] [--csv soak.csv]

Talks to a real server with the packaged voices, in real time and with interruptions, and looks every ten seconds at
what the server and its processes hold. Prints the slope of the memory after a warm-up of a tenth of the time, with the
standard error of the slope, and what the listeners noticed. One more conversation is silent for five minutes and then
speaks. Exits with status 1 if memory grows by more than three
standard errors and more than 1 MiB a minute, or if a listener got an error.
"""

import argparse
import asyncio
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from conditions import command_line, conditions, refuse_if_busy
from process_tree import Resources, only_child, resources
from talkers import Noticed, talk

from intone.client import AsyncSpeechClient
from intone.client.errors import IntoneError
from intone.client.tools.console import Console
from intone.client.tools.local_server import local_server

PERIOD_S = 10.0
MAX_GROWTH_MIB = 1.0
"""A minute."""

IDLE_S = 300.0
"""Silence of one conversation: longer than the keepalive of client and server, and many a proxy's patience."""


async def watched(server: int, talking: "asyncio.Task[Noticed]") -> list[tuple[float, Resources]]:
    """What the server holds, every ten seconds, with the time since the beginning in seconds."""
    began_s, seen = time.monotonic(), []
    while not talking.done():
        seen.append((time.monotonic() - began_s, resources(server)))
        if len(seen) % 6 == 1:
            print(f"{seen[-1][0] / 60:6.1f} min {seen[-1][1]}", flush=True)
        await asyncio.wait({talking}, timeout=PERIOD_S)
    return seen


def slope(seen: list[tuple[float, Resources]]) -> tuple[float, float]:
    """Growth of the memory in MiB a minute and its standard error, without the first tenth."""
    kept = seen[len(seen) // 10 :]
    minutes = np.array([when for when, _ in kept]) / 60
    memory = np.array([one.memory_mib for _, one in kept])
    coefficients, covariance = np.polyfit(minutes, memory, 1, cov=True)
    return float(coefficients[0]), float(np.sqrt(covariance[0, 0]))


async def idle(address: str, seconds: float) -> None:
    """Open a conversation, be silent, then speak.

    Raises:
        IntoneError: the conversation was lost meanwhile.
    """
    async with AsyncSpeechClient(address, reconnect_s=0, resume=False) as client, client.conversation() as talk:
        await asyncio.sleep(seconds)
        utterance = talk.utterance().speak("Still here.")
        await utterance.done()
        utterance.speech.raise_unless_completed()


async def measure(
    address: str, server: int, options: argparse.Namespace
) -> tuple[Noticed, list[tuple[float, Resources]]]:
    """Talk and watch."""
    talking = asyncio.create_task(talk(address, options.streams, options.barge_in, seconds=60 * options.minutes))
    idling = asyncio.create_task(idle(address, min(IDLE_S, 30 * options.minutes)))
    seen = await watched(server, talking)
    noticed = await talking
    try:
        await idling
    except IntoneError as error:
        noticed.errors.append(f"the idle conversation: {error}")
    return noticed, seen


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; default: %(default)s")
    parser.add_argument("--streams", type=int, default=8, help="conversations; default: %(default)s")
    parser.add_argument("--barge-in", type=float, default=0.2, help="share that is interrupted; default: %(default)s")
    parser.add_argument("--csv", type=Path, help="file for the series")
    options = parser.parse_args()
    busy = refuse_if_busy(options.anyway)
    with tempfile.TemporaryDirectory() as folder, local_server((), Path(folder), Console(stderr=True)) as address:
        noticed, seen = asyncio.run(measure(address, only_child(), options))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["seconds", "memory_mib", "files", "threads", "processes"])
            writer.writerows((round(when), one.memory_mib, one.files, one.threads, one.processes) for when, one in seen)
    growth, error = slope(seen)
    print(f"conditions {conditions(busy)}")
    print(f"listeners  {noticed}")
    print(f"first      {seen[0][1]}")
    print(f"last       {seen[-1][1]}")
    print(f"memory     {growth:+.3f} ± {error:.3f} MiB a minute, after the first tenth")
    grows = growth > max(MAX_GROWTH_MIB, 3 * error)
    sys.exit(1 if grows or noticed.errors else 0)


if __name__ == "__main__":
    main()
