"""Predicted times to first audio."""

import numpy as np
import pytest

from intone.server.routing.ttfa_forecast import WINDOW_UNITS, TTFAForecast


def test_nothing_is_predicted_at_first():
    forecast = TTFAForecast()
    assert forecast.ttfa_ms("voxcpm", 40, 0) is None
    forecast.learn("voxcpm", 40, 0, 300)
    assert forecast.ttfa_ms("indextts", 40, 0) is None


def test_one_unit_is_enough_to_guess():
    forecast = TTFAForecast()
    forecast.learn("voxcpm", 40, 0, 300)
    assert forecast.ttfa_ms("voxcpm", 40, 0) == pytest.approx(300, rel=0.01)
    assert 150 < forecast.ttfa_ms("voxcpm", 10, 0) < 300 < forecast.ttfa_ms("voxcpm", 80, 0)
    assert forecast.ttfa_ms("voxcpm", 40, 1) == pytest.approx(600, rel=0.01)


@pytest.mark.parametrize("parts", [(200, 0, 0), (50, 100, 0), (100, 20, 80), (0, 0, 400)])
def test_it_learns_each_part_of_the_time(parts):
    random = np.random.default_rng(1)
    forecast = TTFAForecast()

    def true_ms(characters, load):
        return parts[0] + parts[1] * characters / 40 + parts[2] * load

    for _ in range(60):
        characters, load = int(random.integers(5, 200)), int(random.integers(0, 5))
        forecast.learn("one", characters, load, true_ms(characters, load) * random.uniform(0.9, 1.1))
    for characters, load in [(10, 0), (100, 0), (40, 3)]:
        expected = true_ms(characters, load)
        assert forecast.ttfa_ms("one", characters, load) == pytest.approx(expected, rel=0.25, abs=40)


def test_it_forgets():
    forecast = TTFAForecast()
    for ttfa_ms in [2000] * 100 + [100] * WINDOW_UNITS:
        forecast.learn("one", 40, 0, ttfa_ms)
    assert forecast.ttfa_ms("one", 40, 0) == pytest.approx(100, rel=0.01)


def test_it_is_never_negative():
    forecast = TTFAForecast()
    for characters, ttfa_ms in [(200, 10), (5, 500), (100, 20)]:
        forecast.learn("one", characters, 0, ttfa_ms)
    assert forecast.ttfa_ms("one", 10_000, 50) >= 0


def test_whole_units_have_times_of_their_own():
    forecast = TTFAForecast()
    forecast.learn("one", 40, 0, 100)
    assert forecast.ttfa_ms("one", 40, 0, whole=True) is None
    forecast.learn("one", 40, 0, 2000, whole=True)
    assert forecast.ttfa_ms("one", 40, 0, whole=True) == pytest.approx(2000, rel=0.01)
    assert forecast.ttfa_ms("one", 40, 0) == pytest.approx(100, rel=0.01)
