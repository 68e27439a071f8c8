"""Fillers: trimming, cut points, replacement in a voice, and the choice for a wait."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intone.server.domain import EMOTIONS, Filler, Voice
from intone.server.text.characters import is_speakable
from intone.server.voices.filler_phrases import CALIBRATION_SENTENCES, EMOTIONS_WITH_PHRASES, FIRST_SENTENCE, PHRASES
from intone.server.voices.fillers import (
    MAX_RECENT_FILLERS,
    FillerChooser,
    cut_points,
    make_filler,
    same_language,
    trimmed,
    user_clips,
    with_clips,
    with_rendered,
)

RATE_HZ = 24_000


def sound(duration_ms, level=0.3, rate_hz=RATE_HZ):
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return (level * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)


def gap(duration_ms, rate_hz=RATE_HZ):
    noise = np.random.default_rng(3).standard_normal(duration_ms * rate_hz // 1000)
    return (1e-4 * noise).astype(np.float32)


def joined(*pieces):
    return np.concatenate(pieces)


# ---- trimming and cutting


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("level", [0.02, 0.3, 1.0])
def test_silence_at_the_ends_is_trimmed(rate_hz, level):
    raw = joined(gap(300, rate_hz), sound(400, level, rate_hz), gap(500, rate_hz))
    made = trimmed(raw, rate_hz)
    assert 1000 * len(made) / rate_hz == pytest.approx(440, abs=12)
    assert abs(made[0]) < 1e-6 and abs(made[-1]) < 1e-6
    assert np.abs(made).max() == pytest.approx(level, rel=0.01)


def test_a_quiet_tail_is_kept():
    raw = joined(gap(300), sound(300), sound(200, 0.01), gap(300))
    assert 1000 * len(trimmed(raw, RATE_HZ)) / RATE_HZ == pytest.approx(540, abs=12)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(RATE_HZ), 1e-5 * np.ones(1000)], ids=len)
def test_nothing_to_trim(samples):
    assert len(trimmed(samples.astype(np.float32), RATE_HZ)) == 0
    assert make_filler("Oh.", "neutral", "en", samples.astype(np.float32), RATE_HZ) is None


def test_a_click_is_not_a_filler():
    assert make_filler("Oh.", "neutral", "en", joined(gap(300), np.float32([0.5]), gap(300)), RATE_HZ) is None


def test_cut_points_are_between_sounds():
    made = joined(sound(200), gap(100), sound(300), gap(60), sound(140))
    assert cut_points(made, RATE_HZ) == pytest.approx((250, 630, 800), abs=6)


@pytest.mark.parametrize(
    "samples",
    [sound(300), joined(gap(100), sound(300), gap(100)), joined(sound(200), gap(20), sound(200)), gap(300)],
    ids=["one sound", "silence at the ends", "a short gap", "no sound"],
)
def test_only_the_end_is_a_cut_point(samples):
    assert cut_points(samples, RATE_HZ) == (1000 * len(samples) // RATE_HZ,)


@given(
    st.lists(st.tuples(st.integers(10, 300), st.sampled_from([0.0, 1e-4, 0.01, 0.3])), min_size=1, max_size=8),
    st.sampled_from([8000, 22_050, 24_000]),
)
def test_any_audio_gives_a_valid_filler_or_none(pieces, rate_hz):
    made = make_filler("Oh.", "sad", "en", joined(*(sound(ms, level, rate_hz) for ms, level in pieces)), rate_hz)
    if made is None:
        return
    assert abs(made.samples[0]) < 1e-6 and abs(made.samples[-1]) < 1e-6
    assert list(made.cuts_ms) == sorted(set(made.cuts_ms)) and made.cuts_ms[0] > 0
    assert made.duration_ms <= made.cuts_ms[-1] < made.duration_ms + 1


# ---- phrases


@pytest.mark.parametrize("language", PHRASES)
def test_phrases(language):
    assert set(PHRASES[language]) == {"neutral", *EMOTIONS} - {"calm"} == set(EMOTIONS_WITH_PHRASES)
    assert EMOTIONS_WITH_PHRASES[0] == "neutral"
    for emotion, texts in PHRASES[language].items():
        assert len(texts) >= 3 and len(set(texts)) == len(texts), emotion
        lengths = [len(text) for text in texts]
        assert lengths == sorted(lengths) and lengths[-1] >= lengths[0] + 3, (emotion, "shortest first")
        assert all(is_speakable(text) and len(text) <= 40 for text in texts), emotion
    assert len(CALIBRATION_SENTENCES[language]) == 2 and FIRST_SENTENCE[language]
    assert set(CALIBRATION_SENTENCES) == set(FIRST_SENTENCE) == set(PHRASES)


# ---- in a voice


def test_rendered_fillers_do_not_replace_clips_of_the_user_and_clips_replace_rendered_ones():
    def texts(voice):
        return {(one.text, one.samples[0]) for one in voice.fillers}

    def made(text, emotion, language="en", level=0.1, engine="voxcpm"):
        return replace(filler(text, 300, emotion, language, engine), samples=np.full(7200, level, np.float32))

    tenth = np.float32(0.1)
    rendered = with_rendered(Voice("default"), [made("Oh.", "sad"), made("Hmm.", "neutral")])
    given = with_clips(rendered, [made("Ach.", "sad", "en-GB", engine="")])
    assert texts(given) == {("Ach.", tenth), ("Hmm.", tenth)}
    again = with_rendered(
        given, [made("Oh dear.", "sad"), made("Hmm.", "neutral", level=0.2), made("唉。", "sad", "zh")]
    )
    assert texts(again) == {("Ach.", tenth), ("Hmm.", np.float32(0.2)), ("唉。", tenth)}
    louder = with_clips(again, [made("Ach.", "sad", "en-GB", 0.5, engine="")])
    assert texts(louder) == {("Ach.", np.float32(0.5)), ("Hmm.", np.float32(0.2)), ("唉。", tenth)}


# ---- choosing


def filler(text, duration_ms=500, emotion="neutral", language="en", engine="starter"):
    samples = np.zeros(duration_ms * RATE_HZ // 1000, np.float32)
    return Filler(text, emotion, language, samples, RATE_HZ, (duration_ms,), engine, engine)


BANK = (
    filler("n300", 300),
    filler("n600", 600),
    filler("n900", 900),
    filler("a400", 400, "angry"),
    filler("a800", 800, "angry"),
    filler("a999", 999, "angry"),
    filler("z500", 500, "neutral", "zh"),
)


@pytest.mark.parametrize(
    ("emotion", "language", "wait_ms", "text"),
    [
        ("neutral", "en", 0, "n300"),
        ("neutral", "en", 300, "n300"),
        ("neutral", "en", 301, "n600"),
        ("neutral", "en", 5000, "n900"),
        ("angry", "en", 100, "a400"),
        ("angry", "en", 801, "a999"),
        ("disgusted", "en", 500, "a800"),
        ("happy", "en", 500, "n600"),
        ("calm", "en", 500, "n600"),
        ("neutral", "en-GB", 500, "n600"),
        ("angry", "zh", 100, "z500"),
        ("angry", "fr", 100, None),
    ],
)
def test_choice(emotion, language, wait_ms, text):
    chosen = FillerChooser().choose(BANK, emotion, language, wait_ms)
    assert (chosen and chosen.text) == text


def test_recent_fillers_are_not_repeated():
    chooser = FillerChooser()
    chosen = [chooser.choose(BANK, "neutral", "en", 500).text for _ in range(30)]
    for n, text in enumerate(chosen):
        assert text not in chosen[max(0, n - MAX_RECENT_FILLERS) : n], chosen


def test_if_all_are_recent_only_the_last_one_is_avoided():
    chooser = FillerChooser()
    assert [chooser.choose(BANK[:2], "neutral", "en", 500).text for _ in range(5)] == ["n600", "n300"] * 2 + ["n600"]
    assert [chooser.choose(BANK[:1], "neutral", "en", 500).text for _ in range(3)] == ["n300"] * 3


def test_a_neutral_filler_is_preferred_to_a_recent_one():
    chooser, bank = FillerChooser(), (BANK[0], BANK[3])
    assert [chooser.choose(bank, "angry", "en", 100).text for _ in range(4)] == ["a400", "n300", "a400", "n300"]


def test_choosers_are_independent():
    assert [FillerChooser().choose(BANK, "neutral", "en", 500).text for _ in range(3)] == ["n600"] * 3


def test_clips_of_the_user_take_precedence_for_their_emotion_and_language():
    mine = filler("mine", 100, "angry", "en-US", engine="")
    chooser = FillerChooser()
    assert user_clips((*BANK, mine), "angry", "en") == [mine] and not user_clips((*BANK, mine), "neutral", "en")
    chosen = [chooser.choose((*BANK, mine), "angry", "en", 800).text for _ in range(6)]
    assert chosen[0] == "mine" and not {"a400", "a800", "a999"} & set(chosen)
    assert FillerChooser().choose((*BANK, mine), "neutral", "en", 800).text == "n900"
    assert FillerChooser().choose((*BANK, replace(mine, emotion="calm")), "calm", "en", 800).text == "mine"


def test_no_fillers_to_choose_from():
    assert FillerChooser().choose((), "neutral", "en", 500) is None


@pytest.mark.parametrize(("one", "other", "same"), [("en", "EN-us", True), ("zh-CN", "zh", True), ("en", "eo", False)])
def test_same_language(one, other, same):
    assert same_language(one, other) is same


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(100, 900), st.sampled_from(["neutral", "sad", "happy"])),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.tuples(st.sampled_from(["neutral", *EMOTIONS]), st.integers(0, 1000)), min_size=1, max_size=12),
)
def test_never_the_same_twice_in_a_row_if_there_is_a_choice(entries, waits):
    bank = [filler(text, ms, emotion) for text, ms, emotion in entries]
    chooser, last = FillerChooser(), None
    for emotion, wait_ms in waits:
        chosen = chooser.choose(bank, emotion, "en", wait_ms)
        fitting = {one.text for one in bank if one.emotion in (emotion, "neutral")}
        if len(fitting) > 1:
            assert chosen is not None and chosen.text != last
        last = chosen.text if chosen else last
