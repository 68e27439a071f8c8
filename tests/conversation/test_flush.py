"""Flush: buffered text is spoken at once, and the answer follows its audio."""

import asyncio

from intone.server import events as e
from tests.support.fakes import RATE_HZ
from tests.support.talk import Talk


def flushed(t: Talk) -> list[str]:
    return [event.flush_id for event in t.of(e.Flushed)]


def test_a_flush_is_answered_after_its_audio(talk):
    async def body(t: Talk) -> None:
        t.text("u", "half a thought")
        t.session.receive(e.Flush("f1"))
        await asyncio.sleep(1)
        assert t.spoken_text("u") == "half a thought"
        assert isinstance(t.events[-1][1], e.Flushed)
        t.session.receive(e.Flush("f2"))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert flushed(t) == ["f1", "f2"]
        t.text("u", "", end=True)
        await t.finish()

    talk(body)


def test_a_flush_of_an_utterance_waits_for_no_text(talk):
    async def body(t: Talk) -> None:
        t.text("a", "An open one")
        t.text("b", "This one is behind it.", end=True)
        t.session.receive(e.Flush("a", "a"))
        t.session.receive(e.Flush("all"))
        await asyncio.sleep(2)
        assert flushed(t) == ["a", "all"] and t.spoken_text("a") == "An open one" and not t.spoken_text("b")
        t.session.receive(e.Flush("b", "b"))
        await asyncio.sleep(2)
        assert flushed(t) == ["a", "all"]
        t.text("a", "", end=True)
        await asyncio.sleep(2)
        assert flushed(t) == ["a", "all", "b"] and t.spoken_text("b") == "This one is behind it."

    talk(body)


def test_a_flush_of_several_utterances_is_answered_after_the_last_that_can_be_spoken(talk):
    async def body(t: Talk) -> None:
        t.text("a", "One.", end=True)
        t.text("b", "Two.", end=True)
        t.text("c", "Three")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(2)
        assert isinstance(t.events[-1][1], e.Flushed) and t.spoken_text("c") == "Three"

    talk(body)


def test_a_flush_with_nothing_to_speak_is_answered_at_once(talk):
    async def body(t: Talk) -> None:
        t.session.receive(e.Flush("none"))
        t.session.receive(e.Flush("unknown", "u"))
        await asyncio.sleep(0.01)
        assert flushed(t) == ["none", "unknown"]

    talk(body)


def test_a_flush_sends_what_does_not_fill_a_chunk(talk):
    async def body(t: Talk) -> None:
        t.text("u", "abc")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(1)
        counts = [chunk.sample_count for chunk in t.of(e.AudioChunk)]
        assert counts == [RATE_HZ // 10, RATE_HZ // 20] and flushed(t) == ["f"]

    talk(body, chunk_ms=100)
