"""The conversation on virtual time when it does not go to plan: interruption, and engines that fail."""

import asyncio

from intone.server import events as e
from tests.support.fakes import Script, ScriptedWorker
from tests.support.talk import Talk


def test_an_interruption_says_what_was_heard(talk) -> None:
    async def body(t: Talk) -> None:
        said = "Good morning, everyone in the room. How are you all today, my dear friends?"
        t.text("u", said, end=True)
        await asyncio.sleep(1.0)
        t.session.receive(e.Interrupt("u", played_ms=700))
        await asyncio.sleep(1.0)
        (cut,) = t.of(e.Interrupted)
        assert cut.heard_text + cut.unheard_text == said
        assert cut.heard_text == "Good morning, "
        assert cut.heard_ms == 700
        assert isinstance(t.said[-1][1], e.Interrupted)
        assert not t.of(e.Done)
        assert t.workers["starter"].load == 0

    talk(body, max_lead_ms=2000)


def test_after_an_interruption_the_next_utterance_speaks(talk) -> None:
    async def body(t: Talk) -> None:
        t.text("a", "One sentence that is rather long. And another one that follows.", end=True)
        await asyncio.sleep(0.3)
        t.session.receive(e.Interrupt("a", played_ms=100))
        t.text("b", "The next one.", end=True)
        await t.finish()
        assert t.voiced("b") == "The next one."
        kinds = [type(event) for _, event in t.said]
        assert kinds.index(e.Interrupted) < kinds.index(e.Done)

    talk(body)


def test_what_is_done_but_still_playing_can_be_interrupted(talk) -> None:
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


def test_a_wrong_position_does_not_stop_an_interruption(talk) -> None:
    async def body(t: Talk) -> None:
        t.text("u", "A sentence of two seconds or so in all.", end=True)
        await asyncio.sleep(0.2)
        t.session.receive(e.Interrupt("u", played_ms=10**9))
        await asyncio.sleep(0.1)
        assert t.of(e.RequestRefused)[0].error.field == "cancel.played_ms"
        assert t.of(e.Interrupted)

    talk(body)


def test_cancelling_everything_ends_each_utterance_once(talk) -> None:
    async def body(t: Talk) -> None:
        for name in "abc":
            t.text(name, f"This is utterance {name}, and it goes on.")
        await asyncio.sleep(0.1)
        t.session.receive(e.Interrupt(""))
        await t.finish()
        assert [cut.utterance_id for cut in t.of(e.Interrupted)] == ["a", "b", "c"]
        assert not t.of(e.Done)

    talk(body)


def test_flush_marks_of_a_cancelled_utterance_are_still_answered(talk) -> None:
    async def body(t: Talk) -> None:
        t.text("u", "A long sentence that is being spoken. Another one.")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(0.05)
        t.session.receive(e.Interrupt("u"))
        await t.finish()
        kinds = [type(event) for _, event in t.said]
        assert kinds.index(e.Interrupted) < kinds.index(e.Flushed)

    talk(body)


def test_an_engine_that_fails_before_it_was_heard_is_replaced(talk) -> None:
    broken = ScriptedWorker(Script(fail_at_step=0), name="voxcpm")

    async def body(t: Talk) -> None:
        t.text("u", "Somebody has to say this.", end=True)
        await t.finish()
        assert t.voiced("u") == "Somebody has to say this."
        assert {chunk.engine for chunk in t.of(e.AudioChunk)} == {"starter"}
        assert e.WarningCode.ENGINE_SUBSTITUTED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED

    talk(body, broken, ScriptedWorker())


def test_an_engine_that_fails_in_mid_unit_hands_over_at_the_next(talk) -> None:
    broken = ScriptedWorker(Script(fail_at_step=2), name="voxcpm")

    async def body(t: Talk) -> None:
        t.text("u", "The first sentence breaks off. The second sentence is whole.", end=True)
        await t.finish()
        assert t.voiced("u") == "The first sentence breaks off."[:8] + "The second sentence is whole."
        assert e.WarningCode.ENGINE_FAILED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.FAILED

    talk(body, broken, ScriptedWorker())


def test_without_another_engine_the_utterance_fails_and_the_conversation_goes_on(talk) -> None:
    async def body(t: Talk) -> None:
        t.text("a", "This will not work.", end=True)
        await asyncio.sleep(0.1)
        t.workers["starter"].script.fail_at_step = None
        t.text("b", "This will.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.reason, second.reason) == (e.DoneReason.FAILED, e.DoneReason.COMPLETED)
        assert t.voiced("b") == "This will."

    talk(body, ScriptedWorker(Script(fail_at_step=0)))
