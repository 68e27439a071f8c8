"""Loudness of audio by ITU-R BS.1770-4, and the gains that equalize it."""

import numpy as np
from numpy.typing import NDArray

from intone.server.domain import Samples, Voice

MAX_GAIN_DB = 12.0
"""Limit for an engine's gain. If two engines differ by more, something else is wrong with one of them."""

MAX_CLIP_GAIN_DB = 24.0
"""Limit for a recorded clip, which may be far softer than a voice. More would amplify mainly its noise."""

_BLOCK_MS, _HOP_MS = 400, 100
_MIN_DURATION_MS = 50
_SILENCE_DB, _RELATIVE_GATE_DB = -70.0, -10.0
_OFFSET_DB = -0.691  # so that a full-scale tone of 997 Hz has -3.01
_TABLE_RATE_HZ = 48_000
_SECTIONS = (  # tables 1 and 2 of the standard: numerator and denominator of each biquad, at 48 kHz
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_SETTLE_MS = 100  # zero padding, longer than the impulse response


def loudness_db(samples: Samples, rate_hz: int) -> float | None:
    """Gated loudness of mono audio `[T]` in LUFS; a full-scale tone of 997 Hz has -3.01.

    Audio shorter than a gating block of 400 ms, which the standard does not define, counts as one block of its own
    length. None for less than 50 ms of audio, or if every block is below -70 LUFS.
    """
    if len(samples) * 1000 < _MIN_DURATION_MS * rate_hz:
        return None
    powers = _block_powers(_weighted(samples, rate_hz), rate_hz)
    powers = powers[powers > _power(_SILENCE_DB)]
    if len(powers) == 0:
        return None
    gate = _power(_decibels(float(powers.mean())) + _RELATIVE_GATE_DB)
    return _decibels(float(powers[powers > gate].mean()))


def matching_gain(voice: Voice, engine: str, fingerprint: str, reference: str, reference_fingerprint: str) -> float:
    """The factor that makes an engine's audio as loud as that of the engine `reference` in this voice.

    Limited to ±`MAX_GAIN_DB`. 1.0 where the loudness of one of them was not measured with these weights.
    """
    level, wanted = voice.levels.get(engine), voice.levels.get(reference)
    if level is None or wanted is None:
        return 1.0
    if (level.fingerprint, wanted.fingerprint) != (fingerprint, reference_fingerprint):
        return 1.0
    gain_db = max(-MAX_GAIN_DB, min(MAX_GAIN_DB, wanted.loudness_db - level.loudness_db))
    return float(10 ** (gain_db / 20))


def match_loudness(samples: Samples, rate_hz: int, wanted_db: float) -> Samples:
    """A copy of `samples` with the loudness `wanted_db`.

    The gain is limited to ±`MAX_CLIP_GAIN_DB`, and so that it does not clip. Returns `samples` itself where no gain is
    needed or their loudness is undefined.
    """
    measured_db = loudness_db(samples, rate_hz)
    if measured_db is None:
        return samples
    gain = 10 ** (max(-MAX_CLIP_GAIN_DB, min(MAX_CLIP_GAIN_DB, wanted_db - measured_db)) / 20)
    gain = min(gain, max(1.0, 1.0 / float(np.max(np.abs(samples)))))
    return samples if gain == 1 else samples * np.float32(gain)


def _weighted(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """`samples` with K-weighting. `[T]`

    Filtered in the frequency domain with the response of the standard's filter at 48 kHz, so that one table serves all
    rates. Frequencies above 24 kHz are weighted as 24 kHz.
    """
    length = len(samples) + _SETTLE_MS * rate_hz // 1000
    frequencies_hz = np.minimum(np.fft.rfftfreq(length, 1 / rate_hz), _TABLE_RATE_HZ / 2)
    delay = np.exp(-2j * np.pi * frequencies_hz / _TABLE_RATE_HZ)
    response = np.ones(len(delay), np.complex128)
    for numerator, denominator in _SECTIONS:
        response *= np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    spectrum = np.fft.rfft(samples.astype(np.float64), length)
    weighted: NDArray[np.float64] = np.fft.irfft(spectrum * response, length)[: len(samples)]
    return weighted


def _block_powers(weighted: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Mean square of each gating block. `[blocks]`"""
    block = min(len(weighted), _BLOCK_MS * rate_hz // 1000)
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])  # before each sample
    starts = np.arange(0, len(weighted) - block + 1, max(1, _HOP_MS * rate_hz // 1000))
    powers: NDArray[np.float64] = (energy[starts + block] - energy[starts]) / block
    return powers


def _decibels(power: float) -> float:
    return float(_OFFSET_DB + 10 * np.log10(power))


def _power(loudness: float) -> float:
    return float(10 ** ((loudness - _OFFSET_DB) / 10))
