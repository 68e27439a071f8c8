"""Interruptions, on virtual time: what was heard, and what happens to the utterances behind."""

import asyncio

from intone.server import events as e
from tests.support.talk import Talk


def test_an_interruption_reports_the_heard_text(talk):
    async def body(t: Talk) -> None:
        text = "Good morning, everyone in the room. How are you all today, my dear friends?"
        t.text("u", text, end=True)
        await asyncio.sleep(1.0)
        t.session.receive(e.Interrupt("u", played_ms=700))
        await asyncio.sleep(1.0)
        (cut,) = t.of(e.Interrupted)
        assert cut.heard_text + cut.unheard_text == text
        assert cut.heard_text == "Good morning, "
        assert cut.heard_ms == 700
        assert isinstance(t.events[-1][1], e.Interrupted)
        assert not t.of(e.Done)
        assert t.workers["starter"].load == 0

    talk(body, max_lead_ms=2000)


def test_after_an_interruption_the_next_utterance_is_spoken(talk):
    async def body(t: Talk) -> None:
        t.text("a", "One sentence that is rather long. And another one that follows.", end=True)
        await asyncio.sleep(0.3)
        t.session.receive(e.Interrupt("a", played_ms=100))
        t.text("b", "The next one.", end=True)
        await t.finish()
        assert t.spoken_text("b") == "The next one."
        kinds = [type(event) for _, event in t.events]
        assert kinds.index(e.Interrupted) < kinds.index(e.Done)

    talk(body)


def test_an_utterance_that_is_done_and_still_playing_can_be_interrupted(talk):
    async def body(t: Talk) -> None:
        t.text("u", "A sentence of two seconds or so in all.", end=True)
        await asyncio.sleep(0.5)
        assert t.of(e.Done)
        t.session.receive(e.Interrupt("", played_ms=450))
        await asyncio.sleep(0.1)
        (cut,) = t.of(e.Interrupted)
        assert cut.heard_text == "A "
        t.session.receive(e.Interrupt("u", played_ms=450))
        await asyncio.sleep(0.1)
        assert t.of(e.Notice)[-1].code is e.WarningCode.UTTERANCE_ENDED

    talk(body, max_lead_ms=60_000)


def test_an_invalid_position_does_not_prevent_an_interruption(talk):
    async def body(t: Talk) -> None:
        t.text("u", "A sentence of two seconds or so in all.", end=True)
        await asyncio.sleep(0.2)
        t.session.receive(e.Interrupt("u", played_ms=10**9))
        await asyncio.sleep(0.1)
        assert t.of(e.RequestRefused)[0].error.field == "cancel.played_ms"
        assert t.of(e.Interrupted)

    talk(body)


def test_interrupting_all_utterances_ends_each_once(talk):
    async def body(t: Talk) -> None:
        for name in "abc":
            t.text(name, f"This is utterance {name}, and it goes on.")
        await asyncio.sleep(0.1)
        t.session.receive(e.Interrupt(""))
        await t.finish()
        assert [cut.utterance_id for cut in t.of(e.Interrupted)] == ["a", "b", "c"]
        assert not t.of(e.Done)

    talk(body)


def test_flushes_of_an_interrupted_utterance_are_answered(talk):
    async def body(t: Talk) -> None:
        t.text("u", "A long sentence that is being spoken. Another one.")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(0.05)
        t.session.receive(e.Interrupt("u"))
        await t.finish()
        kinds = [type(event) for _, event in t.events]
        assert kinds.index(e.Interrupted) < kinds.index(e.Flushed)

    talk(body)
