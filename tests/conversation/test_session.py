"""The conversation on virtual time: order, lead limit, time limits, refused input, shutdown."""

import asyncio

import pytest

from intone.server import events as e
from intone.server.domain import Emotion, SynthesisOptions
from intone.server.errors import CallerError, Fault, OverloadError, ShutdownError
from tests.support.fakes import MS_PER_CHARACTER, Script, ScriptedWorker
from tests.support.talk import WAIT_MS, Talk


def test_an_utterance_is_spoken_whole_and_has_a_report(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today?", end=True)
        await t.finish()
        assert t.spoken_text("u").replace(" ", "") == "Goodmorning,everyone.Howareyoutoday?"
        (started,), (done,) = t.of(e.Started), t.of(e.Done)
        assert (started.engine, started.reason, started.seed) == ("starter", e.RouteReason.PLAIN, 7)
        assert (done.reason, done.error) == (e.DoneReason.COMPLETED, None)
        assert done.report.unit_count == 2  # an early clause; "everyone." alone would be too short
        assert done.report.ttfa_ms == pytest.approx(20, abs=0.1)
        assert done.report.audio_ms == pytest.approx(MS_PER_CHARACTER * len(t.spoken_text("u")))
        assert done.report.rtf == pytest.approx(done.report.synthesis_ms / done.report.audio_ms)

    talk(body)


def test_the_spans_of_chunks_tile_the_text(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today? Fine.", end=True)
        await t.finish()
        chunks = t.of(e.AudioChunk)
        spans = sorted({(chunk.start, chunk.end) for chunk in chunks})
        assert spans[0][0] == 0
        assert spans[-1][1] == len("Good morning, everyone. How are you today? Fine.")
        assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))

    talk(body)


def test_utterances_are_spoken_in_the_order_they_were_started(talk):
    async def body(t: Talk) -> None:
        t.text("a", "First one. ")
        t.text("b", "Second one.", end=True)
        t.text("a", "Still the first.", end=True)
        await t.finish()
        order = [event.utterance_id for event in t.of(e.AudioChunk)]
        assert order == sorted(order)
        assert [done.utterance_id for done in t.of(e.Done)] == ["a", "b"]

    talk(body)


def test_audio_sent_ahead_of_playback_stays_within_the_lead_limit(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 150 + ".", end=True)  # 7.5 s
        await t.finish()
        began = t.time_of(e.AudioChunk)
        sent_ms = 0.0
        for at, event in t.events:
            if isinstance(event, e.AudioChunk):
                sent_ms += event.duration_ms
                assert sent_ms - 1000 * (at - began) <= 1000 + 1e-6
        assert t.events[-1][0] > 6

    talk(body, max_lead_ms=1000)


def test_after_half_close_audio_leaves_in_real_time_although_no_report_can_come(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 150 + ".", end=True)  # 7.5 s
        await asyncio.sleep(0.5)
        t.session.receive(e.PlaybackProgress(0))
        await asyncio.wait_for(t.finish(), timeout=30)
        assert [event.reason for event in t.of(e.Done)] == [e.DoneReason.COMPLETED]
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) > 7000
        assert t.events[-1][0] - t.time_of(e.AudioChunk) > 5.5  # the lead limit still holds

    talk(body, max_lead_ms=1000)


def test_after_a_progress_report_only_reports_release_audio(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 100 + ".", end=True)
        t.session.receive(e.PlaybackProgress(0))
        await asyncio.sleep(60)
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) == pytest.approx(1000)
        t.session.receive(e.PlaybackProgress(500))
        await asyncio.sleep(1)
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) == pytest.approx(1500)

    talk(body, max_lead_ms=1000)


def test_text_without_a_boundary_is_spoken_after_the_wait_time(talk):
    async def body(t: Talk) -> None:
        t.text("u", "no full stop here ")
        await asyncio.sleep(WAIT_MS / 1000 - 0.01)
        assert not t.of(e.AudioChunk)
        await asyncio.sleep(0.2)
        assert t.spoken_text("u") == "no full stop here"
        t.text("u", "and the rest.", end=True)
        await t.finish()
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED

    talk(body)


def test_text_without_a_boundary_waits_longer_while_speech_is_playing(talk):
    async def body(t: Talk) -> None:
        t.text("u", "A first sentence that takes a good three seconds to be said aloud. Then half ")
        await asyncio.sleep(2.0)  # longer than the wait time, but speech is still playing
        assert "Then" not in t.spoken_text("u")
        t.text("u", "a sentence.", end=True)
        await t.finish()
        assert t.spoken_text("u").endswith("Then half a sentence.")

    talk(body)


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
        assert [flushed.flush_id for flushed in t.of(e.Flushed)] == ["f1", "f2"]
        t.text("u", "", end=True)
        await t.finish()

    talk(body)


def test_text_without_letters_and_digits_is_rejected(talk):
    async def body(t: Talk) -> None:
        for name, text in (("a", ""), ("b", "  \n "), ("c", "?!…")):
            t.text(name, text, end=True)
        await t.finish()
        assert [done.reason for done in t.of(e.Done)] == [e.DoneReason.REJECTED] * 3
        assert {done.error.field for done in t.of(e.Done)} == {"text.delta"}

    talk(body)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"emotion": Emotion()}, "text.emotion"),
        ({"voice": "default"}, "text.voice"),
        ({"options": SynthesisOptions()}, "text.options"),
        ({"fault": CallerError("text.delta", "has U+0007")}, "text.delta"),
    ],
)
def test_an_invalid_message_rejects_its_utterance_and_no_other(talk, more, field):
    async def body(t: Talk) -> None:
        t.text("a", "This was fine, ")
        t.text("a", "but this is not.", **more)
        t.text("a", "Too late.")
        t.text("a", "Much too late.")
        t.text("b", "Another one.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.utterance_id, first.reason, first.error.field) == ("a", e.DoneReason.REJECTED, field)
        assert second.reason is e.DoneReason.COMPLETED
        assert [notice.code for notice in t.of(e.Notice)] == [e.WarningCode.UTTERANCE_ENDED]

    talk(body)


def test_text_that_normalizes_to_nothing_is_rejected(talk):
    async def body(t: Talk) -> None:
        t.text("u", "a", end=True)
        await t.finish()
        assert t.of(e.Done)[0].reason is e.DoneReason.REJECTED

    talk(body, normalized={"a": " - "})


def test_an_utterance_over_a_limit_is_rejected(talk):
    async def body(t: Talk) -> None:
        t.text("long", "x" * 2001)
        for name in "abcde":
            t.text(name, "Hello there.")
        t.text("v", "Hello.", voice="nobody")
        t.session.receive(e.Interrupt("never"))
        await t.finish()
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert done["long"].error.fault is Fault.TOO_LARGE
        assert isinstance(done["e"].error, OverloadError)
        assert done["a"].reason is e.DoneReason.COMPLETED
        assert t.of(e.RequestRefused)[0].error.fault is Fault.NOT_FOUND

    talk(body)


def test_draining_finishes_open_utterances_and_starts_none(talk):
    async def body(t: Talk) -> None:
        t.text("a", "This one is open. ")
        await asyncio.sleep(0.05)
        t.session.drain()
        t.text("a", "It may be finished.", end=True)
        t.text("b", "This may not start.", end=True)
        await t._reader
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert done["a"].reason is e.DoneReason.COMPLETED
        assert isinstance(done["b"].error, ShutdownError)
        assert isinstance(t.failure, ShutdownError)
        assert t.of(e.Notice)[0].code is e.WarningCode.DRAINING

    talk(body)


def test_buffered_delivery_sends_whole_units(talk):
    async def body(t: Talk) -> None:
        text = "Forty characters of text, more or less."
        t.text("u", text, end=True)
        await t.finish()
        first = min(at for at, event in t.events if isinstance(event, e.AudioChunk))
        steps = -(-len("Forty characters of text,") // 4)  # the first unit, four characters a step
        assert first == pytest.approx(t.time_of(e.Started) + 0.02 * steps)
        assert t.spoken_text("u") == text.replace(", ", ",")

    worker = ScriptedWorker(Script(step_s=0.02))
    talk(body, worker, buffered=True)
