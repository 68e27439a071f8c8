"""Which engine speaks when one is busy, fails, or cannot use the voice, and what it is told. On virtual time."""

import asyncio
import itertools

import numpy as np
import pytest

from intone.server import events as e
from intone.server.conversation.unit_synthesis import HEAD_START_S
from intone.server.domain import PreparedVoice, Recording, SpeakRequest, Voice
from intone.server.errors import Reason
from intone.server.routing.router import Router, RouteReason
from intone.server.routing.ttfa_forecast import TTFAForecast
from tests.support.fakes import MS_PER_CHARACTER, Script, ScriptedWorker
from tests.support.talk import Talk

ENGLISH_AND_MANDARIN = (  # each long enough for a unit of its own
    "Good morning, everybody in this room. ",
    "早上好，在座的各位女士，在座的各位先生，还有孩子们。",
    "It is a sunny day, and the sea is calm. ",
    "今天天气非常好，大海也很平静，我们都想出去走一走看看。",
)


def known_times():
    """VoxCPM is fast when streamed and slow when buffered; the starter engine is fast at both."""
    forecast = TTFAForecast()
    for engine, whole, ttfa_ms in [("voxcpm", False, 50), ("voxcpm", True, 5000), ("starter", False, 50)]:
        forecast.learn(engine, 40, 1, ttfa_ms, whole)
    forecast.learn("starter", 40, 0, 50, whole=True)
    return forecast


@pytest.mark.parametrize(
    ("buffered", "engine", "reason"),
    [(False, "voxcpm", RouteReason.PLAIN), (True, "starter", RouteReason.BUSY)],
)
def test_a_stream_is_routed_by_the_forecast_for_its_delivery(talk, buffered, engine, reason):
    plain, other = (ScriptedWorker(Script(step_s=0.01), name=name) for name in ("voxcpm", "starter"))

    async def body(t: Talk) -> None:
        plain.submit(SpeakRequest("another stream's", 1))  # an engine without other work is never busy
        t.text("u", "Good morning.", end=True)
        await t.finish()
        (started,) = t.of(e.Started)
        assert (started.engine, started.reason) == (engine, reason)

    server = {"forecast": known_times(), "router": Router(busy_ms=1000.0)}
    talk(body, plain, other, server=server, buffered=buffered)


def test_a_voice_from_a_recording_is_spoken_by_an_engine_that_has_it(talk):
    recording = Recording(np.zeros(16_000, np.float32), 16_000, "")
    prepared = {"indextts": PreparedVoice("scripted-1", {}), "starter": PreparedVoice("of other weights", {})}
    voice = Voice("default", recording, prepared)

    async def body(t: Talk) -> None:
        t.text("u", "Good morning.", end=True)
        await t.finish()
        (started,) = t.of(e.Started)
        assert (started.engine, started.reason) == ("indextts", RouteReason.PLAIN)
        assert "a voice that indextts has and starter does not" in started.explanation and not t.of(e.Notice)

    talk(body, ScriptedWorker(), ScriptedWorker(name="indextts"), voice=voice)


def test_english_and_mandarin_take_turns_without_notices(talk):
    english = ScriptedWorker(name="starter", languages=("en",))
    both = ScriptedWorker(name="voxcpm", languages=("en", "zh"))

    async def body(t: Talk) -> None:
        for sentence in ENGLISH_AND_MANDARIN:
            t.text("u", sentence)
        t.text("u", "", end=True)
        await t.finish()
        engines = [chunk.engine for chunk in t.of(e.AudioChunk)]
        assert [name for name, _ in itertools.groupby(engines)] == ["starter", "voxcpm"] * 2
        assert [(one.engine, one.reason) for one in t.of(e.Rerouted)] == [
            ("voxcpm", RouteReason.LANGUAGE),
            ("starter", RouteReason.PLAIN),
            ("voxcpm", RouteReason.LANGUAGE),
        ]
        assert not t.of(e.Notice)

    talk(body, english, both)


def test_an_engine_that_fails_before_any_audio_is_replaced(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Somebody has to say this.", end=True)
        await t.finish()
        assert t.spoken_text("u") == "Somebody has to say this."
        assert {chunk.engine for chunk in t.of(e.AudioChunk)} == {"starter"}
        assert e.NoticeCode.ENGINE_SUBSTITUTED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED

    talk(body, ScriptedWorker(Script(fail_at_step=0), name="voxcpm"), ScriptedWorker())


def test_an_engine_that_fails_after_audio_is_replaced_from_the_next_unit_on(talk):
    async def body(t: Talk) -> None:
        t.text("u", "The first sentence breaks off. The second sentence is whole.", end=True)
        await t.finish()
        assert t.spoken_text("u") == "The first sentence breaks off."[:8] + "The second sentence is whole."
        assert e.NoticeCode.ENGINE_FAILED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.FAILED

    talk(body, ScriptedWorker(Script(fail_at_step=2), name="voxcpm"), ScriptedWorker())


def test_without_another_engine_the_utterance_fails_and_the_conversation_goes_on(talk):
    async def body(t: Talk) -> None:
        t.text("a", "This will not work.", end=True)
        await asyncio.sleep(0.1)
        t.workers["starter"].script.fail_at_step = None
        t.text("b", "This will.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.reason, second.reason) == (e.DoneReason.FAILED, e.DoneReason.COMPLETED)
        assert t.spoken_text("b") == "This will."

    talk(body, ScriptedWorker(Script(fail_at_step=0)))


def test_an_engine_that_cannot_use_the_voice_is_replaced(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning.", end=True)
        await t.finish()
        assert t.spoken_text("u") == "Good morning."
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED
        assert {notice.code for notice in t.of(e.Notice)} == {e.NoticeCode.ENGINE_SUBSTITUTED}

    talk(body, ScriptedWorker(Script(needs_voice=True), name="voxcpm"), ScriptedWorker())


def test_without_another_engine_for_the_voice_the_utterance_fails(talk):
    async def body(t: Talk) -> None:
        t.text("u", "Good morning.", end=True)
        await t.finish()
        (done,) = t.of(e.Done)
        assert done.reason is e.DoneReason.FAILED and done.error.field == "config.defaults.voice"
        assert done.error.reason is Reason.VOICE_UNSUPPORTED
        assert [notice.code for notice in t.of(e.Notice)] == [e.NoticeCode.TEXT_NOT_SPOKEN]

    talk(body, ScriptedWorker(Script(needs_voice=True)))


def test_an_engine_learns_how_long_the_listener_still_has_something_to_hear(talk):
    """A unit is submitted when the one before it has been synthesized, which the listener then still hears."""
    worker = ScriptedWorker(Script(characters_per_step=100, step_s=0.02))

    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today?", end=True)
        await t.finish()
        first_s, second_s = worker.slacks_s
        heard_first = t.of(e.AudioChunk)[0].unit_span
        assert first_s == 0
        assert second_s == pytest.approx(MS_PER_CHARACTER * heard_first[1] / 1000 - HEAD_START_S, abs=0.1)

    talk(body, worker)
