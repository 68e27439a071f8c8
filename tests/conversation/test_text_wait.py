"""Fillers that cover a wait for text: a slow language model, or a tool. On virtual time."""

import asyncio

import numpy as np
import pytest

from intone.server import events as e
from intone.server.domain import Filler, Voice
from intone.server.settings import FillerPolicy
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker
from tests.support.listener import heard, silence_s
from tests.support.talk import Talk


def clip(text: str, duration_ms: int, language: str = "en") -> Filler:
    samples = np.full(RATE_HZ * duration_ms // 1000, 0.25, np.float32)
    return Filler(text, "neutral", language, samples, RATE_HZ, (duration_ms // 2, duration_ms))


VOICE = Voice("default", fillers=(clip("Hmm.", 400), clip("Well…", 600)))


def fillers(t: Talk) -> list[str]:
    return [chunk.filler_text for chunk in t.of(e.AudioChunk) if chunk.filler_text]


def first(t: Talk, kind: e.AudioKind) -> float:
    return next(at for at, event in t.events if isinstance(event, e.AudioChunk) and event.kind is kind)


def test_a_filler_covers_the_wait_for_the_first_text(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=600)
        await asyncio.sleep(2.0)
        assert first(t, e.AudioKind.FILLER) == pytest.approx(0.6, abs=0.03)
        assert not t.of(e.Started), "no engine was chosen yet"
        t.text("u", "Good morning.", end=True)
        await t.finish()
        assert t.spoken_text("u") == "Good morning."
        assert [started.engine for started in t.of(e.Started)] == ["starter"]
        assert 1 <= len(fillers(t)) <= 2 and len(set(fillers(t))) == len(fillers(t))
        (done,) = t.of(e.Done)
        assert done.usage.filler_count == len(fillers(t)) and done.latency.ttfa_ms < 100

    talk(body, voice=VOICE)


def test_without_the_setting_or_with_the_policy_off_the_wait_is_silent(talk):
    async def body(t: Talk) -> None:
        t.start("u")
        t.start("v", cover_after_ms=100, filler=FillerPolicy.OFF)
        await asyncio.sleep(2.0)
        t.text("u", "Good morning.", end=True)
        await asyncio.sleep(3.0)
        t.text("v", "Good morning.", end=True)
        await t.finish()
        assert not fillers(t)

    talk(body, voice=VOICE)


def test_a_filler_covers_a_wait_within_an_utterance(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=500)
        t.text("u", "Let me look that up for you. ")  # 1.35 s of speech
        await asyncio.sleep(4.0)
        speech_end_s = max(one.end_s for one in heard(t.events) if one.chunk.kind is e.AudioKind.SPEECH)
        assert first(t, e.AudioKind.FILLER) >= speech_end_s + 0.5 - 0.12 - 0.03  # sent that much ahead of its sound
        t.text("u", "It is nine.", end=True)
        await t.finish()
        assert fillers(t) and t.spoken_text("u") == "Let me look that up for you.It is nine."
        sounds = heard(t.events)
        assert silence_s(sounds, 0.0, speech_end_s + 0.6) < 0.6

    talk(body, voice=VOICE)


def test_a_filler_plays_on_until_speech_is_ready(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=300)
        await asyncio.sleep(0.5)  # the filler is playing
        t.text("u", "Good morning.", end=True)
        await t.finish()
        kinds = [chunk.kind for chunk in t.of(e.AudioChunk)]
        speech = kinds.index(e.AudioKind.SPEECH)
        assert e.AudioKind.FILLER in kinds[:speech] and e.AudioKind.FILLER not in kinds[speech:]
        assert sum(chunk.samples.get(e.AudioKind.FILLER, 0) for chunk in t.of(e.AudioChunk)) > RATE_HZ * 0.15
        assert t.spoken_text("u") == "Good morning."

    talk(body, ScriptedWorker(Script(step_s=0.02, first_s=0.2)), voice=VOICE)


def test_a_filler_ends_with_an_utterance_without_text(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=100)
        await asyncio.sleep(0.2)
        t.text("u", "", end=True)
        await t.finish()
        (done,) = t.of(e.Done)
        assert done.reason is e.DoneReason.EMPTY and done.usage.filler_count == 1
        assert done.sample_count == sum(chunk.sample_count for chunk in t.of(e.AudioChunk)) > 0

    talk(body, voice=VOICE)


def test_an_interruption_stops_a_filler_that_covers_a_wait_for_text(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=100)
        await asyncio.sleep(0.3)
        t.interrupt("u")
        await asyncio.sleep(2.0)
        (cut,) = t.cuts
        assert cut.heard_samples == pytest.approx(RATE_HZ * 0.2, abs=RATE_HZ * 0.02) and not cut.heard_text
        assert isinstance(t.events[-1][1], e.Interrupted)

    talk(body, voice=VOICE)


def test_the_filler_is_in_the_language_of_the_utterance(talk):
    async def body(t: Talk) -> None:
        t.start("u", cover_after_ms=100, language="zh-CN")
        await asyncio.sleep(1.0)
        t.text("u", "", end=True)
        await t.finish()
        assert set(fillers(t)) == {"嗯。"}

    talk(body, voice=Voice("default", fillers=(clip("Hmm.", 400), clip("嗯。", 400, "zh"))))
