"""Texts that once held up the whole server: each is spoken or left out, and the event loop goes on meanwhile."""

import asyncio
import contextlib
import time

import pytest

from intone.proto import speech_pb2
from tests.support.live_server import live, soon

MAX_STRETCH_MS = 50.0
"""Processor time of the event loop at a stretch: the server's and the client's, which share it here."""

TEXTS = {
    "a line of marks": "=" * 60 + " Summary",
    "lines of marks": ("-" * 60 + " x\n") * 4,
    "marks of one word": "*" * 400,
    "a table": "|" + "-" * 1000 + "| x",
    "hyphens": "a-" * 100,
    "slashes and digits": "a/" * 100 + "1a" * 100,
    "a rare character": "这是兙，龦。",
    "flags": ("🇦" * 99 + "x") * 4,
    "titles that never end": "《" * 1000,
    "tags that never end": "<speak " * 40 + "[" * 100,
    "digits": "9" * 400,
    "prices": "$1,234.56 " * 30,
    "one long word": "x" * 400,
    "joined emoji": "👩‍" * 200,
    "prose": "The train to the coast leaves from platform seven, and it will be rather full today. " * 4,
}


async def longest_stretch_ms(ended: asyncio.Event) -> float:
    """The longest processor time of this thread between two wakings, until `ended`."""
    longest_s = 0.0
    while not ended.is_set():
        began_s = time.thread_time()
        await asyncio.sleep(0.001)
        longest_s = max(longest_s, time.thread_time() - began_s)
    return 1000 * longest_s


@contextlib.asynccontextmanager
async def responsive():
    """The event loop must not be held up inside."""
    ended = asyncio.Event()
    watching = asyncio.create_task(longest_stretch_ms(ended))
    try:
        yield
    finally:
        ended.set()
        longest_ms = await watching
    assert longest_ms < MAX_STRETCH_MS


@pytest.mark.slow
def test_texts_that_once_held_up_the_server_hold_up_nobody(run):
    async def main():
        # A text that takes longer than its time would be spoken as it is written: on a busy machine that is none of it.
        async with live(processes=True, normalize_budget_ms=20_000) as server:
            beside = await server.talk()
            for name, text in TEXTS.items():
                async with responsive():
                    talk = await server.talk(max_lead_ms=600_000)
                    await talk.say("u", text)
                    answers = await talk.until("done", "u")
                    done = answers[-1][1]
                    reasons = (speech_pb2.DONE_REASON_COMPLETED, speech_pb2.DONE_REASON_EMPTY)
                    assert done.reason in reasons, name
                    faults = [
                        one.message for kind, one in answers if kind == "notice" and "not read out" in one.message
                    ]
                    assert not faults, name
                    talk.call.cancel()
                await beside.say(name, "And on we go.")
                await beside.until("done", name)
            beside.call.cancel()
            await soon(lambda: server.idle, "all are gone")

    run(main(), timeout_s=240)


@pytest.mark.slow
def test_analyzing_such_texts_holds_up_nobody(run):
    async def main():
        async with live(processes=True, normalize_budget_ms=20_000, max_characters_per_s=1e6) as server:
            for text in TEXTS.values():
                async with responsive():
                    request = speech_pb2.AnalyzeEmotionRequest(text=text[:1000])
                    assert "not analyzed" not in (await server.speech.AnalyzeEmotion(request)).explanation

    run(main(), timeout_s=120)
