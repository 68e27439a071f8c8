"""Synthetic speakers: mixtures of voices, and pairs of sentences of the same speaker."""

import numpy as np
import pytest

from training.batches import Plan
from training.speakers import LANGUAGES, STYLE_NUMBERS, VOICES_SHA256, Speaker, speaker

HALF = STYLE_NUMBERS // 2


def voice(name):
    """A style that shows the voice: its place in the table, plus 1000 in the prosody."""
    place = float(list(VOICES_SHA256).index(name))
    return np.concatenate((np.full((3, HALF), place), np.full((3, HALF), 1000 + place)), 1).astype(np.float32)


def test_style_has_the_timbre_of_some_voices_and_the_prosody_of_others():
    mixed = Speaker((("af_heart", 0.75), ("am_michael", 0.25)), (("zf_xiaoxiao", 1.0),)).style(voice)
    heart, michael, xiaoxiao = (list(VOICES_SHA256).index(name) for name in ("af_heart", "am_michael", "zf_xiaoxiao"))
    assert mixed.shape == (3, STYLE_NUMBERS) and mixed.dtype == np.float32
    np.testing.assert_allclose(mixed[:, :HALF], 0.75 * heart + 0.25 * michael)
    np.testing.assert_allclose(mixed[:, HALF:], 1000 + xiaoxiao)


@pytest.mark.parametrize("language", LANGUAGES)
def test_speakers_are_of_one_sex_and_all_different(language):
    found = [speaker(number, language) for number in range(300)]
    assert found == [speaker(number, language) for number in range(300)] and len(set(map(str, found))) == 300
    for number, one in enumerate(found):
        for part in (one.timbre, one.prosody):
            assert sum(weight for _, weight in part) == pytest.approx(1) and part[0][1] >= 0.5
            assert {name[1] for name, _ in part} == {"fm"[number % 2]}
        assert {name[0] for name, _ in one.prosody} <= set(LANGUAGES[language])
    assert {name for one in found for name, _ in one.timbre} == set(VOICES_SHA256)
    assert [one.timbre for one in found] == [speaker(number, "en").timbre for number in range(300)]


def test_pairs_are_sentences_of_one_speaker():
    lengths = ((3,) * 20, (5,) * 20)
    speakers = [number % 4 for number in range(40)]
    plan = Plan(lengths, batch=8, joined_share=1.0, seed=1, speakers=speakers)
    groups = [group for step in range(10) for group in plan.groups(step)]
    assert all(len(group) == 2 and group[0] != group[1] for group in groups) and len(groups) == 40
    assert all(speakers[one] == speakers[other] for one, other in groups)
    assert any((one < 20) != (other < 20) for one, other in groups)  # pairs across languages too
    assert plan.groups(3) == plan.groups(3)
    lonely = Plan(((3,) * 4,), batch=4, joined_share=1.0, seed=1, speakers=range(4))
    assert all(one == other for one, other in lonely.groups(0))
