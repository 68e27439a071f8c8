"""Voices are given levels and fillers: by whom, how loud, and what is kept."""

import importlib.util

import numpy as np
import pytest

from intone.server.domain import Filler, Level
from intone.server.engines.starter.engine import StarterEngine
from intone.server.voices.background import with_clips
from intone.server.voices.filler_phrases import CALIBRATION, FEELINGS, GREETING, PHRASES
from intone.server.voices.loudness import loudness_db, matching_gain
from intone.server.voices.store import VoiceStore
from tests.support.background import RATE_HZ, engine, outfitted, outfitting, said, tone, voice
from tests.support.live_server import soon

# ---- who renders what


def test_a_voice_is_given_levels_and_fillers(run):
    store, plain, feeling = VoiceStore(), engine(), engine("indextts", voices_emotion=True, level=0.02)
    outfitted(run, store, plain, feeling)
    made = store.get("default")
    assert set(made.levels) == {"voxcpm", "indextts"}
    assert made.levels["voxcpm"].loudness_db - made.levels["indextts"].loudness_db == pytest.approx(13.98, abs=0.05)
    for language, phrases in PHRASES.items():
        for emotion, texts in phrases.items():
            assert said(made.fillers, emotion, language) == set(texts)
    for one in made.fillers:
        assert one.engine == ("voxcpm" if one.emotion == "neutral" else "indextts") and one.fingerprint == "scripted-1"
        assert one.duration_ms == pytest.approx(40 * len(one.text), abs=60)
    weights = {request.text: request.emotion for request in feeling.requests}
    for emotion in FEELINGS[1:]:
        assert weights[PHRASES["zh"][emotion][-1]].label in {
            other for other in FEELINGS if PHRASES["zh"][emotion][-1] in PHRASES["zh"][other]
        }
    assert {request.emotion.label for request in feeling.requests} == set(FEELINGS)
    assert all(not any(request.emotion.weights) for request in plain.requests)
    seeds = {request.text: request.seed for request in plain.requests}
    assert len(set(seeds.values())) == 1, "a fixed seed: the same server makes the same fillers"


def test_a_cloned_voice_is_spoken_with(run):
    store, plain = VoiceStore(), engine()
    store.add(voice())
    outfitted(run, store, plain, engine("starter", clones_voices=False))
    made = store.get("ada")
    assert set(made.levels) == {"voxcpm"} and {one.engine for one in made.fillers} == {"voxcpm"}
    prepared = [request for request in plain.requests if request.voice is not None]
    texts = {text for table in PHRASES.values() for group in table.values() for text in group}
    assert {request.text for request in prepared} == texts | set(CALIBRATION["en"])


def test_without_rendering_voices_get_levels_only(run):
    store, alone = VoiceStore(), engine()
    outfitted(run, store, engine(), engine("starter"), render=False)
    assert set(store.get("default").levels) == {"voxcpm", "starter"} and not store.get("default").fillers
    outfitted(run, VoiceStore(), alone, render=False)
    assert not alone.requests, "there is nothing to compare it with"


# ---- how loud


def test_fillers_are_as_loud_as_plain_talk(run):
    """After the gain that an engine's audio is played with: whoever renders, whatever the user recorded."""
    store, soft = VoiceStore(), engine("indextts", voices_emotion=True, level=0.05)
    loud = Filler("Mine!", "sad", "en", tone(400, 0.9), RATE_HZ, (400,))
    store.outfit(store.get("default"), lambda now: with_clips(now, [loud]))
    outfitted(run, store, engine(), soft)
    made = store.get("default")
    wanted_db = made.levels["voxcpm"].loudness_db
    for one in made.fillers:
        gain = matching_gain(made, one.engine, one.fingerprint, "voxcpm", "scripted-1") if one.engine else 1.0
        found_db = loudness_db(one.samples * np.float32(gain), RATE_HZ)
        assert found_db == pytest.approx(wanted_db, abs=1.1), one
    assert sum(1 for one in made.fillers if one.text == "Mine!") == 1


# ---- what is kept


def test_a_restart_goes_on_where_the_last_run_stopped(run, tmp_path):
    greeted, known = GREETING["en"], set(CALIBRATION["en"])
    first = engine()

    async def stopped_early():
        store = VoiceStore(tmp_path)
        async with outfitting(store, first):
            await soon(lambda: said(store.get("default").fillers, "happy", "en"), "the happy ones")

    run(stopped_early())
    kept = VoiceStore(tmp_path).get("default")
    assert said(kept.fillers, "neutral", "zh") == set(PHRASES["zh"]["neutral"]) and kept.levels
    again, third = engine(), engine()
    outfitted(run, VoiceStore(tmp_path), again)
    texts = [request.text for request in again.requests]
    assert texts[0] == greeted and not known & set(texts) and "让我想想。" not in texts
    store = VoiceStore(tmp_path)
    whole = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    outfitted(run, store, third)
    assert [request.text for request in third.requests] == [greeted]
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == whole
    assert len(store.get("default").fillers) == sum(
        len(group) for table in PHRASES.values() for group in table.values()
    )


def test_other_weights_render_again(run):
    store = VoiceStore()
    outfitted(run, store, engine())
    before = store.get("default")
    outfitted(run, store, engine(fingerprint="scripted-2", level=0.3))
    after = store.get("default")
    assert {one.fingerprint for one in after.fillers} == {"scripted-2"} and len(after.fillers) == len(before.fillers)
    assert after.levels["voxcpm"].fingerprint == "scripted-2"


def test_a_new_voice_is_outfitted_and_a_deleted_one_is_not_brought_back(run):
    store, plain = VoiceStore(), engine()

    async def main():
        async with outfitting(store, plain) as (outfitter, _):
            await outfitter.settled()
            store.add(voice("bob"))
            outfitter.voice_added("bob")
            await outfitter.settled()
            assert len(store.get("bob").fillers) == len(store.get("default").fillers)
            store.add(voice("eve"))
            outfitter.voice_added("eve")
            await soon(lambda: store.get("eve").fillers, "the first fillers of eve")
            store.delete("eve")
            store.add(voice("bob", created_s=2.0), replace=True)
            outfitter.voice_added("bob")
            await outfitter.settled()
            assert [one.name for one in store.list()] == ["default", "bob"]
            assert len(store.get("bob").fillers) == len(store.get("default").fillers)

    run(main())


# ---- with a voice that can be listened to


def test_the_starter_voice(run, require, tmp_path):
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    store = VoiceStore(tmp_path)
    outfitted(run, store, StarterEngine.packaged(threads=1))
    made = VoiceStore(tmp_path).get("default")
    assert {(one.text, one.emotion) for one in made.fillers} == {
        (text, emotion) for emotion, texts in PHRASES["en"].items() for text in texts
    }
    wanted_db = made.levels["starter"].loudness_db
    assert -35 < wanted_db < -15
    inner = 0
    for one in made.fillers:
        rate_hz, duration_ms = one.sample_rate_hz, one.duration_ms
        heard = np.flatnonzero(np.abs(one.samples) > 0.02 * np.abs(one.samples).max())
        assert 1000 * heard[0] / rate_hz <= 60, "silence before the sound"
        assert 1000 * (len(one.samples) - heard[-1]) / rate_hz <= 60, "silence after the sound"
        assert abs(one.samples[0]) < 1e-6 and abs(one.samples[-1]) < 1e-6, "a click at an end"
        assert 150 < duration_ms < 2500
        assert all(60 < cut < duration_ms - 60 for cut in one.cuts_ms[:-1]) and one.cuts_ms[-1] >= duration_ms
        for cut in one.cuts_ms[:-1]:
            around = one.samples[(cut - 5) * rate_hz // 1000 : (cut + 5) * rate_hz // 1000]
            assert np.abs(around).max() < 0.12 * np.abs(one.samples).max(), f"{one.text}: sound at {cut} ms"
        inner += len(one.cuts_ms) - 1
        assert loudness_db(one.samples, rate_hz) == pytest.approx(wanted_db, abs=2.0), one.text
    assert inner >= 5, "long ones can be stopped before their end"
    assert made.levels["starter"] == Level("hibari-tts-0.2.1-heart", wanted_db)
