"""What is expected of an engine: from what it did."""

import numpy as np
import pytest

from intone.server.routing.ttfa_forecast import REMEMBERED, TTFAForecast


def test_nothing_is_known_at_first():
    known = TTFAForecast()
    assert known.ttfa_ms("voxcpm", 40, 0) is None
    known.learn("voxcpm", 40, 0, 300)
    assert known.ttfa_ms("indextts", 40, 0) is None


def test_one_unit_is_enough_to_guess():
    known = TTFAForecast()
    known.learn("voxcpm", 40, 0, 300)
    assert known.ttfa_ms("voxcpm", 40, 0) == pytest.approx(300, rel=0.01)
    assert 150 < known.ttfa_ms("voxcpm", 10, 0) < 300 < known.ttfa_ms("voxcpm", 80, 0)
    assert known.ttfa_ms("voxcpm", 40, 1) == pytest.approx(600, rel=0.01)


@pytest.mark.parametrize("parts", [(200, 0, 0), (50, 100, 0), (100, 20, 80), (0, 0, 400)])
def test_it_learns_what_the_time_is_made_of(parts):
    random = np.random.default_rng(1)
    known = TTFAForecast()

    def true_ms(characters, load):
        return parts[0] + parts[1] * characters / 40 + parts[2] * load

    for _ in range(60):
        characters, load = int(random.integers(5, 200)), int(random.integers(0, 5))
        known.learn("one", characters, load, true_ms(characters, load) * random.uniform(0.9, 1.1))
    for characters, load in [(10, 0), (100, 0), (40, 3)]:
        expected = true_ms(characters, load)
        assert known.ttfa_ms("one", characters, load) == pytest.approx(expected, rel=0.25, abs=40)


def test_it_forgets():
    known = TTFAForecast()
    for ttfa_ms in [2000] * 100 + [100] * REMEMBERED:
        known.learn("one", 40, 0, ttfa_ms)
    assert known.ttfa_ms("one", 40, 0) == pytest.approx(100, rel=0.01)


def test_it_is_never_negative():
    known = TTFAForecast()
    for characters, ttfa_ms in [(200, 10), (5, 500), (100, 20)]:
        known.learn("one", characters, 0, ttfa_ms)
    assert known.ttfa_ms("one", 10_000, 50) >= 0


def test_whole_units_have_times_of_their_own():
    known = TTFAForecast()
    known.learn("one", 40, 0, 100)
    assert known.ttfa_ms("one", 40, 0, whole=True) is None
    known.learn("one", 40, 0, 2000, whole=True)
    assert known.ttfa_ms("one", 40, 0, whole=True) == pytest.approx(2000, rel=0.01)
    assert known.ttfa_ms("one", 40, 0) == pytest.approx(100, rel=0.01)
