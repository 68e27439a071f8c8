"""Background rendering of fillers and loudness: engines, loudness, persistence, failures, and live speech beside it."""

import asyncio
import errno
import importlib.util
import logging

import numpy as np
import pytest

from intone.server.domain import Filler, Level, SpeakRequest
from intone.server.engines.starter.engine import StarterEngine
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.voices import render_plan
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.filler_phrases import CALIBRATION_SENTENCES, EMOTIONS_WITH_PHRASES, FIRST_SENTENCE, PHRASES
from intone.server.voices.fillers import with_clips
from intone.server.voices.loudness import loudness_db, matching_gain
from intone.server.voices.render_plan import RenderPlan
from intone.server.voices.store import VoiceStore
from tests.support.background import RATE_HZ, RecordedForecast, engine, render_all, rendering, texts_of, tone, voice
from tests.support.fakes import ScriptedEngine, ScriptedWorker, info
from tests.support.live_server import soon

# ---- engines


def test_a_voice_gets_its_loudness_and_its_fillers(run):
    store, plain, feeling = VoiceStore(), engine(), engine("indextts", voices_emotion=True, level=0.02)
    render_all(run, store, plain, feeling)
    made = store.get("default")
    assert set(made.levels) == {"voxcpm", "indextts"}
    assert made.levels["voxcpm"].loudness_db - made.levels["indextts"].loudness_db == pytest.approx(13.98, abs=0.05)
    for language, phrases in PHRASES.items():
        for emotion, texts in phrases.items():
            assert texts_of(made.fillers, emotion, language) == set(texts)
    for one in made.fillers:
        assert one.engine == ("voxcpm" if one.emotion == "neutral" else "indextts") and one.fingerprint == "scripted-1"
        assert one.duration_ms == pytest.approx(40 * len(one.text), abs=60)
    weights = {request.text: request.emotion for request in feeling.requests}
    for emotion in EMOTIONS_WITH_PHRASES[1:]:
        assert weights[PHRASES["zh"][emotion][-1]].label in {
            other for other in EMOTIONS_WITH_PHRASES if PHRASES["zh"][emotion][-1] in PHRASES["zh"][other]
        }
    assert {request.emotion.label for request in feeling.requests} == set(EMOTIONS_WITH_PHRASES)
    assert all(not any(request.emotion.weights) for request in plain.requests)
    seeds = {request.text: request.seed for request in plain.requests}
    assert len(set(seeds.values())) == 1, "with a fixed seed a server always renders the same fillers"


def test_a_cloned_voice_is_used(run):
    store, plain = VoiceStore(), engine()
    store.add(voice())
    render_all(run, store, plain, engine("starter", clones_voices=False))
    made = store.get("ada")
    assert set(made.levels) == {"voxcpm"} and {one.engine for one in made.fillers} == {"voxcpm"}
    prepared = [request for request in plain.requests if request.voice is not None]
    texts = {text for table in PHRASES.values() for group in table.values() for text in group}
    assert {request.text for request in prepared} == texts | set(CALIBRATION_SENTENCES["en"])


def test_without_rendering_only_loudness_is_measured(run):
    store, alone = VoiceStore(), engine()
    render_all(run, store, engine(), engine("starter"), render=False)
    assert set(store.get("default").levels) == {"voxcpm", "starter"} and not store.get("default").fillers
    render_all(run, VoiceStore(), alone, render=False)
    assert not alone.requests, "one engine needs no measurement"


# ---- loudness


def test_fillers_are_as_loud_as_the_plain_engine(run):
    """After the gain of their engine, for any engine and for clips of the user."""
    store, soft = VoiceStore(), engine("indextts", voices_emotion=True, level=0.05)
    loud = Filler("Mine!", "sad", "en", tone(400, 0.9), RATE_HZ, (400,))
    store.update_assets(store.get("default"), lambda now: with_clips(now, [loud]))
    render_all(run, store, engine(), soft)
    made = store.get("default")
    wanted_db = made.levels["voxcpm"].loudness_db
    for one in made.fillers:
        gain = matching_gain(made, one.engine, one.fingerprint, "voxcpm", "scripted-1") if one.engine else 1.0
        found_db = loudness_db(one.samples * np.float32(gain), RATE_HZ)
        assert found_db == pytest.approx(wanted_db, abs=1.1), one
    assert sum(1 for one in made.fillers if one.text == "Mine!") == 1


# ---- persistence


def test_a_restarted_server_continues(run, tmp_path):
    first_sentence, calibration = FIRST_SENTENCE["en"], set(CALIBRATION_SENTENCES["en"])
    first = engine()

    async def stopped_early():
        store = VoiceStore(tmp_path)
        async with rendering(store, first):
            await soon(lambda: texts_of(store.get("default").fillers, "happy", "en"), "the happy fillers")

    run(stopped_early())
    saved = VoiceStore(tmp_path).get("default")
    assert texts_of(saved.fillers, "neutral", "zh") == set(PHRASES["zh"]["neutral"]) and saved.levels
    again, third = engine(), engine()
    render_all(run, VoiceStore(tmp_path), again)
    texts = [request.text for request in again.requests]
    assert texts[0] == first_sentence and not calibration & set(texts) and "让我想想。" not in texts
    store = VoiceStore(tmp_path)
    whole = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    render_all(run, store, third)
    assert [request.text for request in third.requests] == [first_sentence]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == whole
    assert len(store.get("default").fillers) == sum(
        len(group) for table in PHRASES.values() for group in table.values()
    )


def test_other_weights_are_rendered_again(run):
    store = VoiceStore()
    render_all(run, store, engine())
    before = store.get("default")
    render_all(run, store, engine(fingerprint="scripted-2", level=0.3))
    after = store.get("default")
    assert {one.fingerprint for one in after.fillers} == {"scripted-2"} and len(after.fillers) == len(before.fillers)
    assert after.levels["voxcpm"].fingerprint == "scripted-2"


def test_a_new_voice_is_rendered_and_a_deleted_one_is_not_restored(run):
    store, plain = VoiceStore(), engine()

    async def main():
        async with rendering(store, plain) as (renderer, _):
            await renderer.wait_idle()
            store.add(voice("bob"))
            renderer.voice_added("bob")
            await renderer.wait_idle()
            assert len(store.get("bob").fillers) == len(store.get("default").fillers)
            store.add(voice("eve"))
            renderer.voice_added("eve")
            await soon(lambda: store.get("eve").fillers, "the first fillers of eve")
            store.delete("eve")
            store.add(voice("bob", created_s=2.0), replace=True)
            renderer.voice_added("bob")
            await renderer.wait_idle()
            assert [one.name for one in store.list()] == ["default", "bob"]
            assert len(store.get("bob").fillers) == len(store.get("default").fillers)

    run(main())


def test_one_line_says_how_many_fillers_a_voice_has_got(run, caplog):
    store = VoiceStore()
    with caplog.at_level(logging.INFO, "intone"):
        render_all(run, store, engine())
    said = [record.getMessage() for record in caplog.records if "filler" in record.getMessage()]
    assert said == [f"voice default: {len(store.get('default').fillers)} fillers are rendered"]


# ---- failures


def test_a_failed_engine_is_not_used_again(run, caplog):
    store, plain, broken = VoiceStore(), engine(), engine("indextts", voices_emotion=True)
    broken.broken = True

    async def main():
        async with rendering(store, plain, broken) as (renderer, _):
            await renderer.wait_idle()
            made = store.get("default")
            assert {one.emotion for one in made.fillers} == {"neutral"} and set(made.levels) == {"voxcpm"}
            assert len(broken.requests) == 1, "tried once"
            broken.broken = False
            renderer.voice_added("default")
            await renderer.wait_idle()
            assert {one.emotion for one in store.get("default").fillers} == set(EMOTIONS_WITH_PHRASES)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert any("indextts" in record.getMessage() for record in caplog.records)


def test_a_refused_text_is_skipped_and_not_logged(run, caplog):
    store, plain = VoiceStore(), engine()
    plain.script.refuse = ("Let me see.", "嗯。", FIRST_SENTENCE["en"])
    with caplog.at_level(logging.DEBUG, "intone"):
        render_all(run, store, plain)
    made = store.get("default").fillers
    assert texts_of(made, "neutral", "en") == set(PHRASES["en"]["neutral"]) - {"Let me see."}
    assert texts_of(made, "neutral", "zh") == set(PHRASES["zh"]["neutral"]) - {"嗯。"}
    assert not any("Let me see" in record.getMessage() for record in caplog.records)


def test_silence_gives_no_filler_and_no_loudness(run, caplog):
    store = VoiceStore()
    with caplog.at_level(logging.WARNING):
        render_all(run, store, engine(level=0.0))
    assert not store.get("default").fillers and not store.get("default").levels
    assert any("calibration sentences are silent" in record.getMessage() for record in caplog.records)


def test_a_full_disk_is_not_fatal(run, caplog, tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "no space left")

    store = VoiceStore(tmp_path)
    monkeypatch.setattr("os.fsync", full_disk)
    with caplog.at_level(logging.WARNING):
        render_all(run, store, engine())
    assert any("cannot be saved: the server's disk is full" in record.getMessage() for record in caplog.records)


def test_rendering_ends_when_an_engine_is_shut_down(run):
    async def main():
        async with rendering(VoiceStore(), engine()) as (_, workers):
            await asyncio.sleep(0)
            workers["voxcpm"].close()
            (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "renderer")
            await asyncio.wait_for(asyncio.shield(task), 5)

    run(main())


# ---- many voices


def test_the_search_for_tasks_grows_with_the_number_of_voices(run, monkeypatch):
    """Each voice is looked at twice: to find its tasks, and when none is left. The event loop is free between two."""
    looked, ticks, count = [], [], 15
    monkeypatch.setattr(render_plan, "EMOTIONS_WITH_PHRASES", ("neutral",))
    monkeypatch.setattr(render_plan, "PHRASES", {"en": {"neutral": ("Hm.",)}})
    missing = RenderPlan.missing_phrases
    monkeypatch.setattr(RenderPlan, "missing_phrases", lambda *given: looked.append(given) or missing(*given))
    store = VoiceStore()
    for number in range(count - 1):
        store.add(voice(f"v{number}"))

    async def tick():
        while True:
            ticks.append(len(looked))
            await asyncio.sleep(0)

    async def main():
        async with rendering(store, engine()) as (renderer, _):
            ticking = asyncio.create_task(tick())
            await renderer.wait_idle()
            ticking.cancel()

    run(main())
    assert all({one.text for one in each.fillers} == {"Hm."} and each.levels for each in store.list())
    assert len(looked) <= 4 * count
    assert max(b - a for a, b in zip(ticks, ticks[1:], strict=False)) <= 2


# ---- live speech


def test_nothing_starts_during_live_speech(run, thread_pools):
    store, plain, other = VoiceStore(), engine(), ScriptedEngine(info=info("starter"))

    async def main():
        workers = {
            one.info.name: await ThreadWorker.launch(one.info.name, lambda one=one: one, 4) for one in (plain, other)
        }
        renderer = BackgroundRenderer(store, workers, "voxcpm", RecordedForecast(), thread_pools)
        live = workers["starter"].submit(SpeakRequest("x" * 60, 1))
        task = asyncio.create_task(renderer.run())
        try:
            for _ in range(10):  # of 15 steps; the engine is at most four ahead of what is consumed
                await anext(live)
                await asyncio.sleep(0.02)
                assert not plain.requests
            assert [step.done async for step in live][-1]
            await renderer.wait_idle()
            assert plain.requests[0].text == FIRST_SENTENCE["en"] and store.get("default").fillers
        finally:
            task.cancel()
            await asyncio.wait([task])
            for one in workers.values():
                one.close()

    run(main())


def test_live_speech_preempts_rendering(run_virtual, thread_pools):
    """A text that takes ten seconds is abandoned within one step, and spoken again afterwards."""
    slow = ScriptedWorker(name="voxcpm")
    slow.script.step_s, slow.script.characters_per_step = 0.5, 1

    async def main():
        learned = RecordedForecast()
        renderer = BackgroundRenderer(VoiceStore(), {"voxcpm": slow}, "voxcpm", learned, thread_pools)
        task = asyncio.create_task(renderer.run())
        await asyncio.sleep(1.2)
        assert [one.text for one in slow.requests] == [FIRST_SENTENCE["en"]] and slow.load == 1
        live = slow.submit(SpeakRequest("live", 1))
        await asyncio.sleep(0.5)
        assert slow.live == [live], "preempted"
        await asyncio.sleep(5.0)
        assert len(slow.requests) == 2, "nothing starts meanwhile"
        live.cancel()
        await asyncio.sleep(0.2)
        assert [one.text for one in slow.requests] == [FIRST_SENTENCE["en"], "live", FIRST_SENTENCE["en"]]
        assert [unit[:3] for unit in learned.units] == [("voxcpm", len(FIRST_SENTENCE["en"]), 0)]
        task.cancel()
        await asyncio.wait([task])
        assert slow.load == 0, "cancellation leaves nothing in the engine"

    run_virtual(main())


def test_the_forecast_learns_of_every_engine_first(run):
    learned = RecordedForecast()
    render_all(run, VoiceStore(), engine(), engine("starter"), forecast=learned)
    assert [unit[0] for unit in learned.units[:2]] == ["voxcpm", "starter"]
    assert {unit[2] for unit in learned.units} == {0} and all(unit[3] > 0 for unit in learned.units)
    assert learned.units[0][1] == len(FIRST_SENTENCE["en"])


# ---- a real voice


@pytest.mark.slow
def test_the_starter_voice(run, require, tmp_path):
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    store = VoiceStore(tmp_path)
    render_all(run, store, StarterEngine.packaged(threads=1))
    made = VoiceStore(tmp_path).get("default")
    assert {(one.text, one.emotion) for one in made.fillers} == {
        (text, emotion) for emotion, texts in PHRASES["en"].items() for text in texts
    }
    wanted_db = made.levels["starter"].loudness_db
    assert -35 < wanted_db < -15
    inner = 0
    for one in made.fillers:
        rate_hz, duration_ms = one.sample_rate_hz, one.duration_ms
        audible = np.flatnonzero(np.abs(one.samples) > 0.02 * np.abs(one.samples).max())
        assert 1000 * audible[0] / rate_hz <= 60, "silence before the sound"
        assert 1000 * (len(one.samples) - audible[-1]) / rate_hz <= 60, "silence after the sound"
        assert abs(one.samples[0]) < 1e-6 and abs(one.samples[-1]) < 1e-6, "a click at an end"
        assert 150 < duration_ms < 2500
        assert all(60 < cut < duration_ms - 60 for cut in one.cuts_ms[:-1]) and one.cuts_ms[-1] >= duration_ms
        for cut in one.cuts_ms[:-1]:
            around = one.samples[(cut - 5) * rate_hz // 1000 : (cut + 5) * rate_hz // 1000]
            assert np.abs(around).max() < 0.12 * np.abs(one.samples).max(), f"{one.text}: sound at {cut} ms"
        inner += len(one.cuts_ms) - 1
        assert loudness_db(one.samples, rate_hz) == pytest.approx(wanted_db, abs=2.0), one.text
    assert inner >= 5, "long fillers can be stopped before their end"
    assert made.levels["starter"] == Level("hibari-tts-0.2.1-heart", wanted_db)
