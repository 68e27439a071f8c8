"""How a stream ends: finish, half-close, shutdown, text that never ends, and the idle time. On virtual time."""

import asyncio

import pytest

from intone.server import events as e
from intone.server.errors import CallerError, Reason, ShutdownError
from intone.server.settings import FillerPolicy
from tests.support.talk import Talk

LONG = "A sentence of two seconds or so in all."  # 1.95 s


def closed(t: Talk) -> e.Closed:
    at_end = t.events[-1][1]
    assert isinstance(at_end, e.Closed)
    return at_end


def test_finish_waits_until_everything_was_played(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        t.session.receive(e.Finish())
        await t._reader
        assert closed(t).error is None
        assert t.events[-1][0] - t.time_of(e.AudioChunk) == pytest.approx(1.95, abs=0.01)
        assert t.time_of(e.Done) < 0.5

    talk(body, max_lead_ms=60_000)


def test_after_finish_an_interruption_is_honoured_and_ends_the_stream(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        t.session.receive(e.Finish())
        await asyncio.sleep(1.0)
        t.interrupt()
        await t._reader
        (cut,) = t.cuts
        assert cut.heard_text and cut.unheard_text and closed(t).error is None
        assert t.events[-1][0] == pytest.approx(1.0, abs=0.01)

    talk(body, max_lead_ms=60_000)


def test_after_finish_open_utterances_get_their_text_and_no_other_starts(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good ")
        t.session.receive(e.Finish())
        t.text("u", "morning.", end=True)
        t.text("v", "Too late.", end=True)
        await t._reader
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert t.spoken_text("u") == "Good morning."
        assert (done["v"].reason, done["v"].error.reason) == (e.DoneReason.REJECTED, Reason.FINISHING)

    talk(body)


def test_finish_with_reports_waits_for_the_reported_position(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        await asyncio.sleep(0.5)
        t.report("u", 1600)  # 400 ms behind the estimate
        t.session.receive(e.Finish())
        await t._reader
        assert t.events[-1][0] == pytest.approx(0.5 + 1.85, abs=0.01)

    talk(body, max_lead_ms=60_000)


def test_half_close_ends_the_stream_when_everything_was_sent(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        await t.finish()
        assert t.events[-1][0] < 0.5 and closed(t).error is None

    talk(body, max_lead_ms=60_000)


def test_nobody_listens_to_an_offline_stream(talk):
    async def body(t: Talk) -> None:
        t.text("u", LONG, end=True)
        t.session.receive(e.Finish())
        await t._reader
        assert t.events[-1][0] < 0.5

    talk(body, offline=True)


def test_shutdown_plays_out_what_is_open_and_answers_interrupts(talk):
    async def body(t: Talk) -> None:
        t.text("a", "This one is open. ")
        await asyncio.sleep(0.05)
        t.session.drain(30_000)
        t.text("a", "It may be finished.", end=True)
        t.text("b", "This may not start.", end=True)
        await asyncio.sleep(1.0)
        t.interrupt()
        await t._reader
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert done["a"].reason is e.DoneReason.COMPLETED
        assert done["b"].reason is e.DoneReason.FAILED and isinstance(done["b"].error, ShutdownError)
        assert t.of(e.GoingAway) == [e.GoingAway(30_000)]
        assert [cut.utterance_id for cut in t.cuts] == ["a"]
        assert isinstance(t.failure, ShutdownError) and closed(t).error is t.failure
        assert t.events[-1][0] == pytest.approx(1.05, abs=0.01)

    talk(body, max_lead_ms=60_000)


def test_shutdown_ends_an_idle_stream_at_once(talk):
    async def body(t: Talk) -> None:
        t.session.drain(30_000)
        await t._reader
        assert t.events[-1][0] == 0 and isinstance(t.failure, ShutdownError)

    talk(body)


def test_a_failure_ends_open_utterances_before_the_stream(talk):
    async def body(t: Talk) -> None:
        t.text("a", LONG)
        t.text("b", LONG)
        await asyncio.sleep(0.1)
        failure = CallerError("", "no activity", Reason.IDLE)
        t.session.fail(failure)
        await t._reader
        assert [(done.utterance_id, done.reason) for done in t.of(e.Done)] == [
            ("a", e.DoneReason.FAILED),
            ("b", e.DoneReason.FAILED),
        ]
        assert closed(t).error is failure and t.failure is failure

    talk(body)


def test_text_that_is_silent_for_too_long_ends_when_others_wait(talk):
    async def body(t: Talk) -> None:
        t.start("a", text_timeout_ms=3000)
        t.text("a", "An utterance whose end never comes. ")
        await asyncio.sleep(60)
        assert not t.of(e.Done), "nobody waits"
        t.text("a", "Still no end. ")
        t.text("b", "The next one.", end=True)
        await asyncio.sleep(2.9)
        assert not t.of(e.Done)
        await asyncio.sleep(2)
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.TEXT_TIMEOUT]
        assert t.spoken_text("b") == "The next one."
        t.text("a", "Too late.")
        await asyncio.sleep(0.1)
        assert [notice.code for notice in t.of(e.Notice)][1:] == [e.NoticeCode.UTTERANCE_ENDED]

    talk(body, filler=FillerPolicy.OFF)


def test_the_servers_text_timeout_applies_where_none_is_given_and_while_the_stream_finishes(talk):
    async def body(t: Talk) -> None:
        t.start("a")
        t.session.receive(e.Finish())
        await t._reader
        assert t.events[-1][0] == pytest.approx(10, abs=0.01)
        assert [done.reason for done in t.of(e.Done)] == [e.DoneReason.EMPTY]

    talk(body)


def test_a_stream_is_not_idle_while_audio_is_playing(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 100 + ".", end=True)  # 5.05 s
        await asyncio.sleep(4.0)
        assert t.session.idle_s == pytest.approx(-1.1, abs=0.1)
        await asyncio.sleep(2.0)
        assert t.session.idle_s == pytest.approx(0.9, abs=0.1)

    talk(body, max_lead_ms=60_000)


def test_an_offline_stream_is_idle_as_soon_as_everything_was_sent(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 100 + ".", end=True)  # 5.05 s, sent in half a second
        await asyncio.sleep(3.0)
        assert t.session.idle_s == pytest.approx(2.5, abs=0.1)

    talk(body, offline=True)


def test_word_times_that_the_server_does_not_have_are_declined_by_a_notice(talk):
    async def body(t: Talk) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.FEATURE_UNAVAILABLE]

    talk(body, timings=True)
