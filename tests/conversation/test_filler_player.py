"""Fillers: when they play, how they stop, and what the report says. On virtual time, with a scripted engine."""

import asyncio
import itertools

import numpy as np
import pytest

from intone.server import events as e
from intone.server.conversation.context import FillerSettings
from intone.server.conversation.filler_player import (
    FADE_OUT_MS,
    FILLER_LEAD_MS,
    GAP_BEFORE_FILLER_MS,
    MAX_CUT_DISTANCE_MS,
    faded_out,
)
from intone.server.domain import Filler, Voice
from intone.server.routing.ttfa_forecast import TTFAForecast
from intone.server.settings import FillerPolicy
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker
from tests.support.listener import heard, silence_s
from tests.support.talk import Talk

SETTINGS = FillerSettings()
THRESHOLD_S = SETTINGS.threshold_ms / 1000


def filler(text, duration_ms, cuts_ms=(), emotion="neutral", language="en", rate_hz=RATE_HZ):
    samples = np.full(rate_hz * duration_ms // 1000, 0.25, np.float32)
    return Filler(text, emotion, language, samples, rate_hz, (*cuts_ms, duration_ms))


HMM, WELL = filler("Hmm.", 500), filler("Well…", 700, (300,))
VOICE = Voice("default", fillers=(HMM, WELL))


def forecast(ttfa_ms):
    known = TTFAForecast()
    if ttfa_ms is not None:
        for _ in range(20):
            known.learn("starter", 10, 0, ttfa_ms)
    return known


async def one_turn(ttfa_s, expected_ms=None, text="Good morning.", voice=VOICE, script=None, **changes):
    """One utterance by an engine whose first sound takes `ttfa_s`; the forecast says `expected_ms`."""
    worker = ScriptedWorker(script or Script(step_s=0.01, first_s=ttfa_s - 0.01))
    talk = Talk(worker, voice=voice, server={"forecast": forecast(expected_ms)}, **changes)
    talk.text("u", text, end=True)
    await talk.finish()
    await talk.close()
    return talk


def kinds(talk):
    """Kinds of the chunks in order, consecutive equal ones merged."""
    found = [chunk.kind.value for chunk in talk.of(e.AudioChunk)]
    return [kind for i, kind in enumerate(found) if i == 0 or found[i - 1] != kind]


def latency(talk):
    return talk.of(e.Done)[0].latency


def usage(talk):
    return talk.of(e.Done)[0].usage


def test_a_predicted_wait_starts_with_a_filler(run_virtual):
    talk = run_virtual(one_turn(2.0, expected_ms=2000))
    assert kinds(talk) == ["filler", "speech"]  # the fillers ended long before: no gap is added
    assert talk.time_of(e.AudioChunk) <= 0.010
    assert talk.spoken_text("u") == "Good morning."  # speech is complete
    found, used = latency(talk), usage(talk)
    assert found.filler_ttfa_ms <= 10 and found.ttfa_ms == pytest.approx(2000, abs=1)
    assert found.predicted_ttfa_ms == pytest.approx(2000, rel=0.1)
    assert used.filler_count == 2 and used.filler_ms == pytest.approx(1200)
    assert found.covered_ms == pytest.approx(1200, abs=1)
    assert used.speech_ms == pytest.approx(13 * 50)


def test_a_filler_is_not_delayed_when_nothing_was_playing(run_virtual):
    """On a clock that advances with every call, as real clocks do: the runner starts after the text has arrived."""

    async def main():
        ticks = itertools.count()
        virtual_s = asyncio.get_running_loop().time
        server_changes = {"forecast": forecast(2000), "clock": lambda: virtual_s() + next(ticks) * 1e-6}
        talk = Talk(ScriptedWorker(Script(step_s=0.01, first_s=2.0)), voice=VOICE, server=server_changes)
        talk.text("u", "Good morning.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    assert talk.time_of(e.AudioChunk) <= 0.020


def test_an_unpredicted_wait_gets_a_filler_after_the_threshold(run_virtual):
    for expected_ms in (None, 100):
        talk = run_virtual(one_turn(1.5, expected_ms=expected_ms))
        assert talk.time_of(e.AudioChunk) == pytest.approx(THRESHOLD_S, abs=1e-3)
        assert talk.of(e.AudioChunk)[0].kind is e.AudioKind.FILLER


def test_a_short_wait_stays_silent(run_virtual):
    talk = run_virtual(one_turn(0.39, expected_ms=100))
    assert kinds(talk) == ["speech"] and usage(talk).filler_count == 0
    assert latency(talk).filler_ttfa_ms is None and latency(talk).covered_ms == 0


def test_the_policy_off_plays_no_fillers(run_virtual):
    talk = run_virtual(one_turn(2.0, expected_ms=2000, filler=FillerPolicy.OFF))
    assert kinds(talk) == ["speech"]


def test_a_filler_stops_when_speech_is_ready(run_virtual):
    """It stops at a cut position nearby, or fades out; the gap and the speech follow at once."""
    voice = Voice("default", fillers=(filler("Well…", 2000, (300,)),))
    talk = run_virtual(
        one_turn(0.05, expected_ms=2000, voice=Voice("default", fillers=(filler("Well…", 2000, (220,)),)))
    )
    assert kinds(talk) == ["filler", "silence", "speech"]
    assert usage(talk).filler_ms == pytest.approx(220, abs=1), "the cut at 220 ms is close enough"
    assert latency(talk).ttfa_ms == pytest.approx(50, abs=1)
    assert usage(talk).pause_ms == pytest.approx(SETTINGS.gap_ms, abs=1)
    talk = run_virtual(one_turn(0.4, expected_ms=2000, voice=voice))
    sent_ms = 400 + FILLER_LEAD_MS
    assert sent_ms <= usage(talk).filler_ms <= sent_ms + 20 + FADE_OUT_MS, "no cut is near: it fades out"
    tail = np.frombuffer(talk.of(e.AudioChunk)[kinds_index(talk, "silence") - 1].data, np.float32)
    assert abs(tail[-1]) < 1e-6 and np.abs(np.diff(tail)).max() < 0.01


def kinds_index(talk, kind):
    return next(i for i, chunk in enumerate(talk.of(e.AudioChunk)) if chunk.kind.value == kind)


def test_a_filler_that_has_started_plays_for_the_minimum_time(run_virtual):
    talk = run_virtual(one_turn(0.02, expected_ms=2000))
    assert SETTINGS.min_ms <= usage(talk).filler_ms <= SETTINGS.min_ms + MAX_CUT_DISTANCE_MS + FADE_OUT_MS


def test_a_voices_only_filler_is_not_repeated_in_one_wait(run_virtual):
    talk = run_virtual(one_turn(3.0, expected_ms=3000, voice=Voice("default", fillers=(HMM,))))
    assert usage(talk).filler_count == 1 and usage(talk).filler_ms == pytest.approx(500)
    assert talk.of(e.Notice) == []


def test_no_filler_comes_after_speech_and_none_plays_twice_in_a_row(run_virtual):
    async def main():
        worker = ScriptedWorker(Script(step_s=0.01, first_s=1.5))
        talk = Talk(worker, voice=VOICE, server={"forecast": forecast(1500)})
        for turn in range(4):
            talk.text(f"u{turn}", "Good morning.", end=True)
            await asyncio.sleep(6)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    runs = [chunk.filler_text for chunk in talk.of(e.AudioChunk) if chunk.filler_text]
    assert len(runs) >= 4 and all(one != other for one, other in zip(runs, runs[1:], strict=False))
    for turn in range(4):
        order = [chunk.kind for chunk in talk.of(e.AudioChunk, f"u{turn}")]
        assert e.AudioKind.FILLER not in order[order.index(e.AudioKind.SPEECH) :]


def test_only_the_policy_eager_plays_fillers_between_units(run_virtual):
    text = "This is the first sentence of two. And this is the second one."
    script = Script(step_s=0.01, first_s=1.5, characters_per_step=100)
    usual = run_virtual(one_turn(0, 1500, text, script=script))
    assert kinds(usual)[-1] == "speech" and "filler" not in kinds(usual)[kinds(usual).index("speech") :]
    eager = run_virtual(one_turn(0, 1500, text, script=script, filler=FillerPolicy.EAGER))
    # the first unit plays for 1.7 s while the second is synthesized: no wait
    assert "filler" not in kinds(eager)[kinds(eager).index("speech") :]
    late = Script(step_s=0.01, first_s=4.0, characters_per_step=100)
    eager = run_virtual(one_turn(0, 4000, text, script=late, filler=FillerPolicy.EAGER))
    assert "filler" in kinds(eager)[kinds(eager).index("speech") :]
    assert eager.spoken_text("u") == text.replace(". ", ".")


def test_a_wait_starts_when_earlier_speech_has_been_played(run_virtual):
    async def main():
        worker = ScriptedWorker(Script(step_s=0.01, first_s=1.0, characters_per_step=100))
        talk = Talk(worker, voice=VOICE, server={"forecast": forecast(1000)})
        talk.text("long", "A sentence of speech that lasts for about three seconds.", end=True)
        talk.text("next", "Good morning.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    assert all(chunk.kind is e.AudioKind.SPEECH for chunk in talk.of(e.AudioChunk, "next"))
    assert talk.of(e.Done)[1].latency.covered_ms == pytest.approx(talk.of(e.Done)[1].latency.ttfa_ms, abs=1)


def test_fillers_play_after_playback_was_reported(run_virtual):
    """The last report is before the end of the audio; playback is assumed to go on."""

    async def main():
        worker = ScriptedWorker(Script(step_s=0.01, first_s=1.0, characters_per_step=100))
        talk = Talk(worker, voice=VOICE, server={"forecast": forecast(1000)}, filler=FillerPolicy.AUTO)
        talk.text("u", "Good morning.", end=True)
        await asyncio.sleep(2.5)
        talk.report("u", RATE_HZ * 400 // 1000)
        await asyncio.sleep(5)
        talk.text("v", "Good morning.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    second = talk.of(e.Done)[1]
    assert second.usage.filler_count and second.latency.filler_ttfa_ms <= 10


def test_a_voice_without_fillers_is_reported_by_a_warning(run_virtual):
    talk = run_virtual(one_turn(1.5, 1500, voice=Voice("default")))
    (notice,) = talk.of(e.Notice)
    assert notice.code is e.NoticeCode.FILLER_UNAVAILABLE and "'en'" in notice.message
    assert run_virtual(one_turn(0.1, 100, voice=Voice("default"))).of(e.Notice) == []


def test_fillers_are_in_the_language_of_the_text(run_virtual):
    voice = Voice("default", fillers=(HMM, filler("嗯。", 400, language="zh")))
    talk = run_virtual(one_turn(1.0, 1000, "早上好。", voice=voice))
    assert {chunk.filler_text for chunk in talk.of(e.AudioChunk) if chunk.filler_text} == {"嗯。"}


def test_an_interrupted_filler_counts_as_audio_and_not_as_text(run_virtual):
    async def main():
        talk = Talk(ScriptedWorker(Script(step_s=0.01, first_s=2.0)), voice=VOICE, server={"forecast": forecast(2000)})
        talk.text("u", "Good morning.", end=True)
        await asyncio.sleep(0.3)
        talk.interrupt("u")
        talk.text("v", "Yes.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    (cut,) = talk.cuts
    assert cut.heard_text == "" and cut.unheard_text == "Good morning."
    assert cut.heard_samples == pytest.approx(RATE_HZ * 0.3, abs=80)
    (done,) = talk.of(e.Done, "u")
    assert done.reason is e.DoneReason.INTERRUPTED and done.usage.filler_count == 1
    at_s = talk.time_of(e.Interrupted)
    assert not [event for at, event in talk.events if at > at_s and getattr(event, "utterance_id", "") == "u"]
    assert talk.spoken_text("v") == "Yes."


def test_another_engine_after_a_failure_does_not_add_fillers(run_virtual):
    async def main():
        broken = ScriptedWorker(Script(step_s=0.01, first_s=2.5, fail_at_step=0), name="voxcpm")
        whole = ScriptedWorker(Script(step_s=0.01, first_s=2.5), name="starter")
        known = forecast(2500)
        known.learn("voxcpm", 10, 0, 2500)
        talk = Talk(broken, whole, voice=VOICE, server={"forecast": known})
        talk.text("u", "Good morning.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    talk = run_virtual(main())
    assert talk.spoken_text("u") == "Good morning." and usage(talk).filler_count == SETTINGS.max_in_a_row
    assert [event.engine for event in talk.of(e.Started)] == ["voxcpm"]
    assert [event.engine for event in talk.of(e.Rerouted)] == ["starter"]


def test_silence_is_bounded_while_there_are_fillers(run_virtual):
    talk = run_virtual(one_turn(1.9, expected_ms=1900))
    played = heard(talk.events)
    assert silence_s(played, 0.0, 1.9) <= max(THRESHOLD_S, GAP_BEFORE_FILLER_MS / 1000) + 1e-3
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in zip(played, played[1:], strict=False))


def test_fade_out_is_of_equal_power():
    ramp = faded_out(np.ones(1000, np.float32), 100)
    assert np.all(ramp[:900] == 1) and abs(ramp[-1]) < 1e-6
    rising = ramp[900:] ** 2 + (np.sin(0.5 * np.pi * np.arange(1, 101) / 100)) ** 2
    np.testing.assert_allclose(rising, 1.0, atol=1e-6)  # with the matching fade-in
    assert len(faded_out(np.ones(5, np.float32), 100)) == 5 and len(faded_out(np.zeros(0, np.float32), 9)) == 0


def test_fillers_of_another_sample_rate_are_resampled(run_virtual):
    voice = Voice("default", fillers=(filler("Hmm.", 500, rate_hz=24_000),))
    talk = run_virtual(one_turn(1.0, 1000, voice=voice))
    assert usage(talk).filler_ms == pytest.approx(500, abs=2)
    loud = [np.frombuffer(c.data, np.float32) for c in talk.of(e.AudioChunk) if c.kind is e.AudioKind.FILLER]
    assert np.abs(np.median(np.concatenate(loud)) - 0.25) < 1e-3
