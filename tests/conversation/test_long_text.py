"""An utterance of ten thousand characters is spoken whole, in order, and in constant memory."""

import asyncio
import tracemalloc
from dataclasses import replace

import pytest

from intone.server import events as e
from intone.server.conversation.outbox import MAX_QUEUED_MS
from intone.server.text.normalizer import Normalizer
from intone.server.text.segmenter import Segmenter
from tests.support.fakes import MS_PER_CHARACTER, RATE_HZ, Script, ScriptedWorker
from tests.support.talk import LIMITS, Talk

SENTENCE = "This is sentence number %04d of a very long answer. "


async def peak_bytes(sentences):
    """Peak memory of a conversation with one utterance of so many sentences, its usage, and the most audio queued."""
    talk = Talk(
        ScriptedWorker(Script(step_s=0.01)),
        max_lead_ms=2000,
        server={"pause_scale": 1.0, "limits": replace(LIMITS, max_utterance_characters=20_000)},
    )
    state = {"audio_ms": 0.0, "queued_ms": 0.0, "sequence": 0, "position": 0}
    done = []

    async def listen():
        async for event in talk.session:
            if isinstance(event, e.AudioChunk):
                assert event.sequence == state["sequence"]
                state["sequence"] += 1
                if event.unit_span is not None:
                    assert event.unit_span[0] >= state["position"], "repeated, or out of order"
                    state["position"] = event.unit_span[1]
                state["queued_ms"] = max(state["queued_ms"], talk.session._outbox.queued_ms)
            elif isinstance(event, e.Done):
                done.append(event)

    talk._reader.cancel()  # it stores all events
    tracemalloc.start()
    listener = asyncio.create_task(listen())
    for number in range(sentences):
        talk.text("u", SENTENCE % number)
    talk.text("u", "", end=True)
    talk.session.half_close()
    await listener
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    await talk.close()
    return peak, done[0].usage, state["queued_ms"]


def test_memory_does_not_grow_with_the_length_of_the_text(run_virtual):
    short, _, _ = run_virtual(peak_bytes(20))
    long, usage, queued_ms = run_virtual(peak_bytes(200))
    assert len(SENTENCE % 0) * 200 > 10_000
    spoken = sum(len((SENTENCE % number).strip()) for number in range(200)) * MS_PER_CHARACTER
    assert usage.speech_ms == spoken and usage.unit_count >= 190
    assert queued_ms <= MAX_QUEUED_MS + 400  # plus a chunk and a pause
    audio_bytes = usage.speech_ms / 1000 * RATE_HZ * 4
    assert long - short < audio_bytes / 20, f"{long - short} bytes more for {audio_bytes:.0f} bytes more of audio"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("a" * 4000, "a"),
        ("word " * 800, "w"),
        ("天" * 3000, "天"),
        ("See https://example.org/" + "/".join(f"q{number}" for number in range(370)) + ".", "q"),
    ],
)
def test_nothing_of_a_text_without_boundaries_is_lost(text, letter):
    segmenter, read = Segmenter(), Normalizer()
    units = segmenter.push(text) + segmenter.finish()
    assert "".join(unit.text for unit in units) == text and len(units) > 5
    spoken = [read(unit.text) for unit in units]
    assert all(spoken) and "".join(spoken).lower().count(letter) == text.count(letter)
