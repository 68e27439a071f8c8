"""The conversation on virtual time: order, lead limit, time limits, refused input, shutdown."""

import asyncio

import numpy as np
import pytest

from intone.server import events as e
from intone.server.engines import parameters
from intone.server.errors import CallerError, OverloadError, Reason
from intone.server.text.cues import TextFormat
from tests.support.fakes import MS_PER_CHARACTER, RATE_HZ, Script, ScriptedWorker
from tests.support.talk import WAIT_MS, Talk


def test_an_utterance_is_spoken_whole_and_has_a_report(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today?", end=True)
        await t.finish()
        assert t.spoken_text("u").replace(" ", "") == "Goodmorning,everyone.Howareyoutoday?"
        (started,), (done,) = t.of(e.Started), t.of(e.Done)
        assert (started.engine, started.reason, started.seed) == ("starter", e.RouteReason.PLAIN, 7)
        assert (done.reason, done.error) == (e.DoneReason.COMPLETED, None)
        assert done.usage.unit_count == 2  # an early clause; "everyone." alone would be too short
        assert done.usage.speech_ms == pytest.approx(MS_PER_CHARACTER * len(t.spoken_text("u")))
        assert done.usage.characters == done.usage.spoken_characters == 42
        assert done.sample_count == sum(chunk.sample_count for chunk in t.of(e.AudioChunk))
        assert done.latency.ttfa_ms == pytest.approx(20, abs=0.1)
        assert done.latency.rtf == pytest.approx(done.latency.synthesis_ms / done.usage.speech_ms)

    talk(body)


def test_the_spans_of_chunks_tile_the_text(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today? Fine.", end=True)
        await t.finish()
        chunks = t.of(e.AudioChunk)
        spans = [chunk.unit_span for chunk in chunks if chunk.unit_span is not None]
        assert len(spans) == 3 and spans[0][0] == 0
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
        t.report("u", 0)
        await asyncio.sleep(0.01)
        await asyncio.wait_for(t.finish(), timeout=30)
        assert [event.reason for event in t.of(e.Done)] == [e.DoneReason.COMPLETED]
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) > 7000
        assert t.events[-1][0] - t.time_of(e.AudioChunk) > 5.5  # the lead limit still holds

    talk(body, max_lead_ms=1000)


def test_after_a_report_only_reports_release_audio_and_a_stall_is_noted_once(talk):
    async def body(t: Talk) -> None:
        t.text("u", "x" * 100 + ".", end=True)
        await asyncio.sleep(0.05)
        t.report("u", 0)
        await asyncio.sleep(60)
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) == pytest.approx(1000)
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.PLAYBACK_STALLED]
        t.report("u", RATE_HZ // 2)
        await asyncio.sleep(1)
        assert sum(chunk.duration_ms for chunk in t.of(e.AudioChunk)) == pytest.approx(1500)
        await asyncio.sleep(10)
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.PLAYBACK_STALLED] * 2

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


@pytest.mark.parametrize(
    "text",
    [
        "Your total is $42.",
        "Visit example.org.",
        "It is plan B.",
        "Mail me@e.org.",
        "It has 20°C.",
        "Wait,",
    ],
)
def test_a_sentence_is_spoken_whole_after_the_wait_time(talk, text):
    async def body(t: Talk) -> None:
        t.text("u", text)
        await asyncio.sleep(WAIT_MS / 1000 + 0.2)
        assert t.spoken_text("u") == text
        t.text("u", "", end=True)
        await t.finish()
        assert t.of(e.Done)[0].usage.unit_count == 1

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


def test_text_without_letters_and_digits_ends_empty_and_without_an_error(talk):
    async def body(t: Talk) -> None:
        texts = (
            "",
            "  \n ",
            "?!…",
            "[happy]",
            "[sigh]",
            "🎉",
            "⏰ ▶️ ↗️",
            "\u200b",
            "<think>Hm. No.</think>",
            "<|im_end|>",
        )
        for number, text in enumerate(texts):
            t.text(str(number), text, end=True)
            await asyncio.sleep(0.01)
        await t.finish()
        assert [done.reason for done in t.of(e.Done)] == [e.DoneReason.EMPTY] * len(texts)
        assert all(done.error is None and done.sample_count == 0 for done in t.of(e.Done))
        assert not t.of(e.AudioChunk) and not t.of(e.Started)

    talk(body)


def test_an_invalid_text_rejects_its_utterance_and_no_other(talk):
    async def body(t: Talk) -> None:
        t.text("a", "This was fine, ")
        t.text("a", "but this is not.", fault=CallerError("text.delta", "has U+0007", Reason.TEXT_INVALID))
        t.text("a", "Too late.")
        t.text("a", "Much too late.")
        t.text("b", "Another one.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.utterance_id, first.reason, first.error.field) == ("a", e.DoneReason.REJECTED, "text.delta")
        assert second.reason is e.DoneReason.COMPLETED
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.UTTERANCE_ENDED]

    talk(body)


@pytest.mark.parametrize(
    ("settings", "field", "reason"),
    [
        ({"voice": "nobody"}, "start.settings.voice", Reason.VOICE_NOT_FOUND),
        ({"engine": "nothing"}, "start.settings.engine", Reason.ENGINE_NOT_FOUND),
        ({"engine_parameters": {"colour": 1.0}}, "start.settings.engine_parameters[colour]", Reason.VALUE_UNKNOWN),
        ({"engine_parameters": {"steps": 0.0}}, "start.settings.engine_parameters[steps]", Reason.VALUE_OUT_OF_RANGE),
        ({"engine_parameters": {"steps": 2.5}}, "start.settings.engine_parameters[steps]", Reason.VALUE_INVALID),
    ],
)
def test_settings_that_cannot_be_used_reject_their_utterance(talk, settings, field, reason):
    async def body(t: Talk) -> None:
        t.start("u", **settings)
        t.text("u", "Hello.", end=True)
        await t.finish()
        (done,) = t.of(e.Done)
        assert (done.reason, done.error.field, done.error.reason) == (e.DoneReason.REJECTED, field, reason)
        assert not t.of(e.AudioChunk)

    talk(body, ScriptedWorker(Script(), parameters=(parameters.steps(10),)))


def test_an_utterances_settings_come_before_those_of_the_stream(talk):
    async def body(t: Talk) -> None:
        t.start("u", speed=1.5, engine_parameters={"steps": 3.0}, seed=9)
        t.text("u", "One sentence.", end=True)
        t.text("v", "Another sentence.", end=True)
        await t.finish()
        worker = t.workers["starter"]
        assert [request.options.speed for request in worker.requests] == [1.5, 0.8]
        assert worker.requests[0].options.parameters == {"steps": 3.0, "guidance": 2.0}
        assert worker.requests[1].options.parameters == {"steps": 10.0, "guidance": 2.0}
        assert [started.seed for started in t.of(e.Started)] == [9, 7]

    known = (parameters.steps(10), parameters.guidance(2.0))
    worker = ScriptedWorker(Script(), changes_speed=True, parameters=known)
    talk(body, worker, speed=0.8, engine_parameters={"steps": 10.0, "guidance": 2.0})


def test_the_volume_scales_the_samples(talk):
    async def body(t: Talk) -> None:
        t.text("u", "One.", end=True)
        t.start("v", volume_db=-20.0)
        t.text("v", "One.", end=True)
        await t.finish()
        whole, quiet = (
            np.frombuffer(b"".join(chunk.data for chunk in t.of(e.AudioChunk, name)), np.float32) for name in "uv"
        )
        np.testing.assert_allclose(quiet, 0.1 * whole, rtol=1e-6)

    talk(body)


def test_plain_text_keeps_its_brackets(talk):
    async def body(t: Talk) -> None:
        t.start("u", text_format=TextFormat.PLAIN)
        t.text("u", "Press [1] or [happy].", end=True)
        t.text("v", "Press [1] or [happy].", end=True)
        await t.finish()
        assert t.spoken_text("u") == "Press [1] or [happy]."
        assert "happy" not in t.spoken_text("v")

    talk(body)


def test_a_repeated_start_is_accepted_and_another_one_ignored_with_a_notice(talk):
    async def body(t: Talk) -> None:
        t.start("u", speed=1.0)
        t.start("u", speed=1.0)
        t.start("u")
        assert not t.of(e.Notice)
        t.text("u", "Good morning.")
        t.start("u", speed=2.0)
        t.text("u", "", end=True)
        await t.finish()
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.SETTINGS_IGNORED]
        assert [done.reason for done in t.of(e.Done)] == [e.DoneReason.COMPLETED]
        assert t.spoken_text("u") == "Good morning."

    talk(body, ScriptedWorker(Script(), changes_speed=True))


def test_text_after_its_end_is_dropped_with_one_notice(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning.", end=True)
        t.text("u", "", end=True)  # repeats what is known
        for _ in range(3):
            t.text("u", "Too late.")
        await t.finish()
        t.text("u", "Much too late.")
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.UTTERANCE_ENDED]
        assert t.spoken_text("u") == "Good morning."

    talk(body)


def test_text_that_is_sent_again_with_its_offset_is_dropped_and_a_gap_is_refused(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good ", offset=0)
        t.text("u", "Good mor", offset=0)
        t.text("u", "rning", offset=7)
        t.text("u", "nobody", offset=20)
        t.text("u", "g.", offset=11, end=True)
        t.text("u", "Good morning.", offset=0, end=True)
        await t.finish()
        assert t.spoken_text("u") == "Good morning."
        (refused,) = t.of(e.RequestRefused)
        assert (refused.request_index, refused.error.field) == (4, "text.text_offset")
        assert (refused.error.reason, refused.error.values) == (Reason.TEXT_GAP, {"received": "12"})
        assert not t.of(e.Notice)

    talk(body)


def test_text_that_normalizes_to_nothing_ends_empty(talk):
    async def body(t: Talk) -> None:
        t.text("u", "a", end=True)
        await t.finish()
        assert t.of(e.Done)[0].reason is e.DoneReason.EMPTY

    talk(body, normalized={"a": " - "})


def test_utterances_over_a_limit_are_refused(talk):
    async def body(t: Talk) -> None:
        t.text("long", "x" * 2001)
        for name in "abcde":
            t.text(name, "Hello there.")
        await t.finish()
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert (done["long"].reason, done["long"].error.reason) == (e.DoneReason.REJECTED, Reason.UTTERANCE_TOO_LONG)
        assert (done["e"].reason, done["e"].error.reason) == (e.DoneReason.FAILED, Reason.TOO_MANY_UTTERANCES)
        assert isinstance(done["e"].error, OverloadError)
        assert done["a"].reason is e.DoneReason.COMPLETED

    talk(body)


def test_exact_chunks_all_have_the_same_length_but_the_last_of_an_utterance(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone in the room. How are you today? Fine.", end=True)
        await t.finish()
        chunks = t.of(e.AudioChunk)
        assert {chunk.sample_count for chunk in chunks[:-1]} == {RATE_HZ * 30 // 1000}
        assert 0 < chunks[-1].sample_count <= RATE_HZ * 30 // 1000
        assert [chunk.offset_samples for chunk in chunks] == [480 * i for i in range(len(chunks))]
        spans = [chunk.unit_span for chunk in chunks if chunk.unit_span is not None]
        assert len(spans) == 3 and spans[-1][1] == 60
        mixed = [chunk for chunk in chunks if len(chunk.samples) > 1]
        assert mixed, "a chunk may hold the end of speech and the beginning of a pause"
        assert all(chunk.kind is e.AudioKind.SPEECH for chunk in mixed)

    async def usual(t: Talk) -> None:
        await body(t)
        exact.append(b"".join(chunk.data for chunk in t.of(e.AudioChunk)))

    async def any_length(t: Talk) -> None:
        t.text("u", "Good morning, everyone in the room. How are you today? Fine.", end=True)
        await t.finish()
        exact.append(b"".join(chunk.data for chunk in t.of(e.AudioChunk)))

    exact: list[bytes] = []
    script = Script(step_s=0.02, characters_per_step=3)
    talk(usual, ScriptedWorker(script), chunk_ms=30, server={"pause_scale": 1.0})
    talk(any_length, ScriptedWorker(script), server={"pause_scale": 1.0})
    assert exact[0] == exact[1], "the length of chunks does not change the audio"


def test_the_first_event_says_how_the_stream_is_configured_and_the_last_what_was_used(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning.", end=True)
        t.text("v", "Good night.", end=True)
        await t.finish()
        configured, closed = t.events[0][1], t.events[-1][1]
        assert isinstance(configured, e.Configured) and configured.settings.defaults.voice == "default"
        assert isinstance(closed, e.Closed) and closed.error is None
        assert closed.usage == t.of(e.Done)[0].usage + t.of(e.Done)[1].usage
        assert closed.usage.characters == 24

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
