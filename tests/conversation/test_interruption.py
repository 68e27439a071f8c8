"""Interruptions, on virtual time: what was heard, who ends how, and what happens to the utterances behind."""

import asyncio

import pytest

from intone.server import events as e
from tests.support.fakes import RATE_HZ
from tests.support.talk import Talk

LONG = "A sentence of two seconds or so in all."


def ends(t: Talk) -> dict[str, list[e.DoneReason]]:
    """The reasons of all `Done`, by utterance."""
    found: dict[str, list[e.DoneReason]] = {}
    for done in t.of(e.Done):
        found.setdefault(done.utterance_id, []).append(done.reason)
    return found


def ms(samples: int) -> float:
    return 1000 * samples / RATE_HZ


def test_an_interruption_reports_the_heard_text(talk):
    async def body(t: Talk) -> None:
        text = "Good morning, everyone in the room. How are you all today, my dear friends?"
        t.text("u", text, end=True)
        await asyncio.sleep(1.0)
        t.interrupt("u", interrupt_id="i", played=("u", RATE_HZ * 700 // 1000))
        await asyncio.sleep(1.0)
        (cut,) = t.cuts
        assert cut.heard_text + cut.unheard_text == text
        assert cut.heard_text == "Good morning, "
        assert (ms(cut.heard_samples), cut.source) == (700, e.HeardSource.REPORTED)
        assert t.events[-1][1] == e.Interrupted("i", (cut,))
        assert ends(t) == {"u": [e.DoneReason.INTERRUPTED]}
        assert isinstance(t.events[-2][1], e.Done), "the end comes before the answer"
        assert t.workers["starter"].load == 0

    talk(body, max_lead_ms=2000)


@pytest.mark.parametrize("reported", [True, False])
def test_without_a_position_what_was_heard_is_extrapolated_or_estimated(talk, reported):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        await asyncio.sleep(0.62)
        if reported:
            t.report("u", RATE_HZ * 400 // 1000)  # 200 ms behind the estimate
        await asyncio.sleep(0.15)
        t.interrupt("u")
        await asyncio.sleep(0.01)
        (cut,) = t.cuts
        assert ms(cut.heard_samples) == pytest.approx(550 if reported else 750, abs=1)
        assert cut.source is (e.HeardSource.EXTRAPOLATED if reported else e.HeardSource.ESTIMATED)

    talk(body, max_lead_ms=60_000)


def test_positions_of_the_next_utterance_do_not_drift_after_an_interruption_without_one(talk):
    async def body(t: Talk) -> None:
        t.text("a", LONG, end=True)
        await asyncio.sleep(0.42)
        t.report("a", RATE_HZ * 400 // 1000)
        await asyncio.sleep(0.15)
        t.interrupt()  # the player is at 550 ms
        t.text("b", LONG, end=True)
        await asyncio.sleep(0.52)
        t.report("b", RATE_HZ // 2)
        t.report("b", 10**9)  # past what was sent
        t.interrupt("b", played=("b", RATE_HZ * 600 // 1000))  # now it is behind
        await asyncio.sleep(0.01)
        assert not t.of(e.RequestRefused)
        assert [ms(cut.heard_samples) for cut in t.cuts] == [pytest.approx(550, abs=1)]
        assert ends(t)["b"] == [e.DoneReason.COMPLETED], "all of it was heard, by the last report"

    talk(body, max_lead_ms=60_000)


def test_the_position_of_an_interrupt_does_not_make_audio_wait_for_reports(talk):
    async def body(t: Talk) -> None:
        t.text("a", LONG)
        t.text("b", "x" * 60 + ".", end=True)  # 3 s, with a lead of half a second
        await asyncio.sleep(0.3)
        t.interrupt("nobody", played=("a", RATE_HZ // 5))
        t.text("a", "", end=True)
        t.session.receive(e.Finish())
        await t._reader
        assert ends(t) == {"a": [e.DoneReason.COMPLETED], "b": [e.DoneReason.COMPLETED]}
        assert not t.of(e.Notice)

    talk(body, max_lead_ms=500)


def test_after_an_interruption_the_next_utterance_is_spoken(talk):
    async def body(t: Talk) -> None:
        t.text("a", "One sentence that is rather long. And another one that follows.", end=True)
        await asyncio.sleep(0.3)
        t.interrupt("a", played=("a", 100))
        t.text("b", "The next one.", end=True)
        await t.finish()
        assert t.spoken_text("b") == "The next one."
        assert ends(t) == {"a": [e.DoneReason.INTERRUPTED], "b": [e.DoneReason.COMPLETED]}

    talk(body)


def test_an_utterance_that_is_done_and_still_playing_can_be_interrupted(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        await asyncio.sleep(0.5)
        assert t.of(e.Done)
        t.interrupt(played=("u", RATE_HZ * 450 // 1000))
        await asyncio.sleep(0.1)
        (cut,) = t.cuts
        assert cut.heard_text == "A "
        assert ends(t) == {"u": [e.DoneReason.COMPLETED]}
        t.interrupt("u", interrupt_id="again")
        t.interrupt(interrupt_id="all")
        await asyncio.sleep(0.1)
        assert t.of(e.Interrupted)[1:] == [e.Interrupted("again"), e.Interrupted("all")]
        assert not t.of(e.Notice)

    talk(body, max_lead_ms=60_000)


def test_an_utterance_that_was_heard_by_the_estimate_is_cut_where_a_position_says_so(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)  # 1.95 s
        await asyncio.sleep(2.3)
        t.interrupt("u", played=("u", RATE_HZ))  # the network or a jitter buffer is slow
        await asyncio.sleep(0.01)
        assert [ms(cut.heard_samples) for cut in t.cuts] == [1000]

    talk(body, max_lead_ms=60_000)


@pytest.mark.parametrize("sample", [-1, 10**15])
def test_an_absurd_position_is_clamped_and_never_an_error(talk, sample):
    async def body(t: Talk) -> None:
        t.text("u", "A first sentence of two seconds or so. And a second one, which is not sent yet.", end=True)
        await asyncio.sleep(0.2)
        sent = sum(chunk.sample_count for chunk in t.of(e.AudioChunk))
        t.interrupt("u", played=("u", sample))
        await asyncio.sleep(0.1)
        assert [cut.heard_samples for cut in t.cuts] == [0 if sample < 0 else sent]
        assert not t.of(e.RequestRefused)

    talk(body)


def test_an_interruption_before_the_first_text_bars_the_id(talk):
    async def body(t: Talk) -> None:
        t.interrupt("u", interrupt_id="i")
        await asyncio.sleep(0.01)
        assert t.events[-1][1] == e.Interrupted("i")
        for delta in ("The late ", "token.", ""):
            t.text("u", delta, end=not delta)
        await t.finish()
        assert ends(t) == {"u": [e.DoneReason.INTERRUPTED]}
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.UTTERANCE_ENDED]
        assert not t.of(e.AudioChunk)

    talk(body)


def test_interrupting_when_idle_is_answered_and_bars_nothing(talk):
    async def body(t: Talk) -> None:
        t.interrupt(interrupt_id="i")
        t.text("u", "Good morning.", end=True)
        await t.finish()
        assert t.of(e.Interrupted) == [e.Interrupted("i")] and not t.of(e.Notice)
        assert t.spoken_text("u") == "Good morning."

    talk(body)


def test_interrupting_all_utterances_ends_each_once(talk):
    async def body(t: Talk) -> None:
        for name in "abc":
            t.text(name, f"This is utterance {name}, and it goes on.")
        await asyncio.sleep(0.1)
        t.interrupt()
        await t.finish()
        assert [cut.utterance_id for cut in t.cuts] == ["a", "b", "c"]
        assert ends(t) == {name: [e.DoneReason.INTERRUPTED] for name in "abc"}
        assert len(t.of(e.Interrupted)) == 1

    talk(body)


def test_interrupting_the_utterance_behind_leaves_the_first(talk):
    async def body(t: Talk) -> None:
        t.text("a", LONG, end=True)
        t.text("b", LONG, end=True)
        await asyncio.sleep(0.5)
        t.interrupt("b", "c", "b")
        await t.finish()
        assert [(cut.utterance_id, cut.heard_samples) for cut in t.cuts] == [("b", 0)]
        assert ends(t) == {"a": [e.DoneReason.COMPLETED], "b": [e.DoneReason.COMPLETED]}, "it was sent already"

    talk(body)


def test_flushes_of_an_interrupted_utterance_are_answered(talk):
    async def body(t: Talk) -> None:
        t.text("u", "A long sentence that is being spoken. Another one.")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(0.05)
        t.interrupt("u")
        await t.finish()
        kinds = [type(event) for _, event in t.events]
        assert kinds.index(e.Interrupted) < kinds.index(e.Flushed)

    talk(body)
