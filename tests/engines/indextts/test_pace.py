"""Chunk sizes by the measured speed."""

from dataclasses import replace

import pytest

from intone.server.engines.indextts.pace import FIRST_FEATURES, MARGIN, Pace, Rates, Speed
from intone.server.engines.indextts.s2mel.flow_work import FlowWork
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan

BASE = ChunkPlan()
WORK = FlowWork(frame=47_400_000, new_frame=26_000_000, pair=13_312, context_frames=16)
SPEED = Speed(code_s=0.068, multiplication_s=1.5e-11, frame_s=0.008)
"""Of IndexTTS 2.5 in fp32 on two cores without AVX-512."""


def pace(faster: float, caches_voice: bool = False) -> Pace:
    speed = Speed(*(part / faster for part in (SPEED.code_s, SPEED.multiplication_s, SPEED.frame_s)))
    return Pace(BASE, WORK, speed, Rates(2, 86.13), caches_voice)


@pytest.mark.parametrize("caches_voice", [False, True])
@pytest.mark.parametrize("faster", [12, 16, 24, 60, 1000])
def test_playback_does_not_wait_on_a_machine_that_is_fast_enough(faster: float, caches_voice: bool) -> None:
    subject = pace(faster, caches_voice)
    chosen = subject.plan(20, 430)
    assert subject.play(chosen, 20, 430, MARGIN).waits_s == 0
    for first in (size for size in FIRST_FEATURES if size < chosen.first_features):
        assert subject.play(replace(chosen, first_features=first), 20, 430, MARGIN).waits_s > 0


def test_the_first_sound_is_earlier_the_faster_the_machine() -> None:
    firsts = [pace(faster).plan(20, 430).first_features for faster in (12, 16, 24, 60, 1000)]
    assert firsts == sorted(firsts, reverse=True) and firsts[0] > firsts[-1] == FIRST_FEATURES[0]


def test_a_slow_machine_has_little_work_after_an_early_first_sound() -> None:
    subject = pace(1)
    chosen = subject.plan(20, 430)
    played, usual = (subject.play(plan, 20, 430) for plan in (chosen, BASE))
    assert played.waits_s > 0 and chosen.first_features == BASE.first_features
    assert played.first_s == usual.first_s and played.total_s < 0.9 * usual.total_s


def test_cached_frames_are_not_computed() -> None:
    exact, cached = (pace(1, caches).play(BASE, 20, 430) for caches in (False, True))
    assert cached.first_s < 0.4 * exact.first_s and cached.total_s < 0.9 * exact.total_s


def test_a_unit_played_by_hand() -> None:
    """Codes alone take time: 28 features are 14 codes, then 236 more in chunks of 28, 50, 50 ..."""
    subject = Pace(BASE, WORK, Speed(0.1, 0.0, 0.0), Rates(2, 100.0), False)
    played = subject.play(BASE, 20, 430)
    assert played.first_s == pytest.approx(1.4) and played.total_s == pytest.approx(25.0)
    # The last chunk, of 8 codes, is in time. The one before is made at 24.2 s, and begins with the frame behind those
    # of 192 codes but 18 provisional ones.
    assert played.waits_s == pytest.approx(24.2 - 1.4 - (int(192 * 3.44) - 18) / 100)
