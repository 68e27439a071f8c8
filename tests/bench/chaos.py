"""A hundred conversations over bad networks: delay, stalls, resets, half-closes, 8 kB/s.

    python tests/bench/chaos.py [--conversations 100] [--together 10] [--seed 1] [--anyway]

A server in this process, with a scripted engine, speaks to each conversation over a proxy of its own
(`tests/support/chaos_proxy.py`) that makes one kind of trouble. A conversation says three utterances, some of which are
interrupted. Checked of each: audio without a gap, an overlap or a repetition, and that of the text where nothing was
interrupted; one `done` for each utterance and one `interrupted` for each interruption; one end. Prints a Markdown
table; exits with 1 if a check fails.
"""

import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from conditions import command_line, conditions, module_of_tests, refuse_if_busy
from rich.console import Console

from intone.client import AsyncSpeechClient, AudioChunk, Closed, Done, Event, Interrupted, IntoneError

chaos_proxy: Any = module_of_tests("support.chaos_proxy")
fakes: Any = module_of_tests("support.fakes")
live_server: Any = module_of_tests("support.live_server")

KINDS = ("delay", "stall", "reset", "half-close", "throttle")
TEXTS = ("How can I help you?", "Let me look that up for you.", "It is on its way.")
TROUBLE_S = 0.15
"""Mean time between two faults."""
SLOW_BYTES_PER_S = 8_000.0


@dataclass
class Talk:
    """One conversation: what was said and received, how it ended, and how often it lost its connection."""

    kind: str
    events: list[Event] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    interrupted: set[str] = field(default_factory=set)
    error: str = ""
    cuts: int = 0
    took_s: float = 0.0


async def trouble(proxy: Any, kind: str, draw: random.Random) -> None:
    """Disturb the network of a conversation until cancelled."""
    if kind == "delay":
        proxy.delay_s = draw.uniform(0.005, 0.03)
    elif kind == "throttle":
        proxy.bytes_per_s = SLOW_BYTES_PER_S
    while True:
        await asyncio.sleep(TROUBLE_S * draw.uniform(0.5, 1.5))
        if kind == "stall":
            proxy.flowing.clear()
            await asyncio.sleep(TROUBLE_S * draw.uniform(0.5, 2))
            proxy.flowing.set()
        elif kind == "reset":
            proxy.reset()
        elif kind == "half-close":
            proxy.half_close()


async def converse(server: str, kind: str, seed: int) -> Talk:
    """One conversation over a network with one kind of trouble."""
    done, draw, began_s = Talk(kind), random.Random(seed), time.monotonic()
    async with chaos_proxy.chaos_proxy(server, seed) as proxy, AsyncSpeechClient(proxy.target) as client:
        troubling = asyncio.create_task(trouble(proxy, kind, draw))
        try:
            async with client.conversation(on_event=done.events.append, sample_rate_hz=fakes.RATE_HZ) as talk:
                for text in TEXTS:
                    turn = talk.utterance().speak(text)
                    done.said[turn.id] = text
                    if draw.random() < 0.2:
                        await asyncio.sleep(draw.uniform(0, 0.5))
                        done.interrupted.add(turn.id)
                        await turn.interrupt()
                    await turn.done()
                await talk.finish()
        except IntoneError as error:
            done.error = f"{type(error).__name__}: {error}"
        finally:
            troubling.cancel()
            done.cuts = proxy.cuts
    done.took_s = time.monotonic() - began_s
    return done


def faults(talk: Talk) -> list[str]:
    """What is wrong with a conversation that has ended."""
    found = [talk.error] if talk.error else []
    counts = Counter(type(event) for event in talk.events)
    if [event.utterance_id for event in talk.events if isinstance(event, Done)] != [*talk.said]:
        found.append("not one `done` for each utterance, in order")
    if counts[Interrupted] != len(talk.interrupted):
        found.append(f"{counts[Interrupted]} answers to {len(talk.interrupted)} interruptions")
    if counts[Closed] != 1 or not isinstance(talk.events[-1], Closed):
        found.append(f"`closed` {counts[Closed]} times, or not at the end")
    return found + audio_faults(talk)


def audio_faults(talk: Talk) -> list[str]:
    """What is wrong with the audio of a conversation."""
    found = []
    audio: dict[str, list[AudioChunk]] = defaultdict(list)
    for event in talk.events:
        if isinstance(event, AudioChunk):
            audio[event.utterance_id].append(event)
    for utterance_id, chunks in audio.items():
        place = 0
        for number, chunk in enumerate(chunks):
            if (chunk.sequence, chunk.offset_samples) != (number, place):
                found.append(f"{utterance_id}: chunk {chunk.sequence} in place of {number}")
            place += chunk.sample_count
    for utterance_id in talk.said.keys() - talk.interrupted:
        heard = "".join(fakes.text_of(chunk.samples) for chunk in audio[utterance_id])
        if heard.replace(" ", "") != talk.said[utterance_id].replace(" ", ""):
            found.append(f"{utterance_id}: {heard!r} was heard")
    return found


async def run(count: int, together: int, seed: int) -> list[Talk]:
    """The conversations, and a check that the server has forgotten them."""
    async with live_server.live(fakes.ScriptedEngine()) as running:
        server, places = f"127.0.0.1:{running.app.port}", asyncio.Semaphore(together)

        async def one(number: int) -> Talk:
            async with places:
                return await converse(server, KINDS[number % len(KINDS)], seed + number)

        talks = await asyncio.gather(*(one(number) for number in range(count)))
        await live_server.soon(lambda: running.idle, "the server holds nothing any more")
        return talks


def report(talks: Sequence[Talk], console: Console) -> bool:
    """Print the table; returns whether every check has passed."""
    console.print("| trouble | conversations | connections lost | longest, s | faults |\n|---|---|---|---|---|")
    failed = False
    for kind in KINDS:
        of_kind = [talk for talk in talks if talk.kind == kind]
        found = [fault for talk in of_kind for fault in faults(talk)]
        failed = failed or bool(found)
        longest_s = max((talk.took_s for talk in of_kind), default=0.0)
        cuts = sum(talk.cuts for talk in of_kind)
        console.print(f"| {kind} | {len(of_kind)} | {cuts} | {longest_s:.1f} | {len(found)} |")
        for fault in found[:10]:
            console.print(f"  {fault}", markup=False)
    return not failed


def main() -> None:
    """Run the conversations and print what became of them."""
    parser = command_line(__doc__)
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--together", type=int, default=10, help="at the same time")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    console = Console(width=200, highlight=False)
    passed = report(asyncio.run(run(arguments.conversations, arguments.together, arguments.seed)), console)
    console.print(f"\n{conditions(busy)}", markup=False)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
