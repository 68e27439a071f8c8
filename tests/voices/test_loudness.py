"""Loudness against the test tones of the standard, and the gains that equalize it."""

import numpy as np
import pytest

from intone.server.domain import Level, Voice
from intone.server.voices.loudness import loudness_db, match_loudness, matching_gain

RATES_HZ = (8000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000)


def tone(level_db=0.0, duration_ms=3000, rate_hz=48_000, frequency_hz=997.0):
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_reference_tone_of_the_standard(rate_hz):
    assert loudness_db(tone(rate_hz=rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.02)
    assert loudness_db(tone(-20, rate_hz=rate_hz), rate_hz) == pytest.approx(-23.01, abs=0.02)


@pytest.mark.parametrize(
    ("frequency_hz", "expected_db"),
    # A sine has -3.01 - 0.69. The high-pass section is close to an analog one at 38.1 Hz with Q 1/2, whose power
    # response is (x² / (1 + x²))² at x = f / 38.1 Hz. The other section is a high shelf of 4 dB.
    [(50.0, -7.66), (100.0, -4.87), (10_000.0, 0.3)],
)
def test_k_weighting(frequency_hz, expected_db):
    measured = [loudness_db(tone(rate_hz=rate, frequency_hz=frequency_hz), rate) for rate in (24_000, 48_000)]
    assert measured == pytest.approx([expected_db] * 2, abs=0.1)


def test_the_weighting_equals_the_recursive_filter_of_the_standard():
    """The implementation filters in the frequency domain."""
    samples = np.random.default_rng(1).standard_normal(48_000).astype(np.float32) / 10
    filtered = samples.astype(np.float64)
    for (b0, b1, b2), (a1, a2) in (
        ((1.53512485958697, -2.69169618940638, 1.19839281085285), (-1.69065929318241, 0.73248077421585)),
        ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621)),
    ):
        x1 = x2 = y1 = y2 = 0.0
        for n, x0 in enumerate(filtered.tolist()):
            y0 = b0 * x0 + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
            x2, x1, y2, y1 = x1, x0, y1, y0
            filtered[n] = y0
    powers = [np.mean(filtered[start : start + 19_200] ** 2) for start in range(0, 48_000 - 19_200 + 1, 4800)]
    assert loudness_db(samples, 48_000) == pytest.approx(-0.691 + 10 * np.log10(np.mean(powers)), abs=1e-3)


def test_pauses_are_gated():
    speech = tone(-20, 2000)
    pauses = np.concatenate([speech, np.zeros(5 * 48_000, np.float32), speech, tone(-55, 3000)])
    assert loudness_db(pauses, 48_000) == pytest.approx(-23.01, abs=0.6)  # blocks that straddle an edge count in part


@pytest.mark.parametrize("duration_ms", [50, 100, 250, 399, 400, 401, 950])
def test_audio_shorter_than_a_gating_block(duration_ms):
    assert loudness_db(tone(-20, duration_ms), 48_000) == pytest.approx(-23.01, abs=0.3)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(48_000), tone(0, 49), tone(-75)], ids=len)
def test_silent_or_too_short_audio_has_no_loudness(samples):
    assert loudness_db(samples.astype(np.float32), 48_000) is None


@pytest.mark.parametrize("wanted_db", [-10.0, -23.0, -40.0])
def test_match_loudness(wanted_db):
    made = match_loudness(tone(-20), 48_000, wanted_db)
    assert loudness_db(made, 48_000) == pytest.approx(wanted_db, abs=0.01) and made.dtype == np.float32


def test_the_gain_is_limited():
    soft, loud = tone(-50), tone(-6)
    assert loudness_db(match_loudness(soft, 48_000, -20.0), 48_000) == pytest.approx(-53.01 + 24, abs=0.05)
    assert np.abs(match_loudness(loud, 48_000, 0.0)).max() == pytest.approx(1.0, abs=1e-6)
    silent = np.zeros(4800, np.float32)
    assert match_loudness(silent, 48_000, -20.0) is silent
    full = tone()
    full[100] = 1.0
    assert match_loudness(full, 48_000, 0.0) is full, "audio at full scale is not amplified"


def voice(**levels_db):
    return Voice("ada", levels={name: Level("1", level) for name, level in levels_db.items()})


@pytest.mark.parametrize(
    ("levels_db", "fingerprints", "expected_db"),
    [
        ({"a": -26.0, "b": -20.0}, ("1", "1"), 6.0),
        ({"a": -20.0, "b": -26.0}, ("1", "1"), -6.0),
        ({"a": -50.0, "b": -20.0}, ("1", "1"), 12.0),
        ({"a": -10.0, "b": -30.0}, ("1", "1"), -12.0),
        ({"a": -26.0}, ("1", "1"), 0.0),
        ({"b": -20.0}, ("1", "1"), 0.0),
        ({"a": -26.0, "b": -20.0}, ("2", "1"), 0.0),
        ({"a": -26.0, "b": -20.0}, ("1", "2"), 0.0),
    ],
)
def test_matching_gain(levels_db, fingerprints, expected_db):
    gain = matching_gain(voice(**levels_db), "a", fingerprints[0], "b", fingerprints[1])
    assert 20 * np.log10(gain) == pytest.approx(expected_db, abs=1e-9)


def test_the_reference_engine_has_unit_gain():
    assert matching_gain(voice(a=-26.0), "a", "1", "a", "1") == 1.0
