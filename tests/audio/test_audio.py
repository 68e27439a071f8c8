"""Encoding, resampling, slices and fades of output audio."""

import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.audio.encoding import (
    BYTES_PER_SAMPLE,
    SUPPORTED_RATES_HZ,
    Encoder,
    Resampler,
    fade,
    is_audible,
    silence,
    slices,
    to_int16,
)

EVERY_INT16 = np.arange(-32768, 32768, dtype=np.int32).astype(np.float32) / 32768


def tone(rate_hz, seconds=1.0, hz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)).astype(np.float32)


# ---- encodings


def test_pcm_is_exact_for_every_int16_value():
    encoded = np.frombuffer(Encoder("pcm_s16le").encode(EVERY_INT16), "<i2")
    assert np.array_equal(encoded, np.arange(-32768, 32768))


def test_pcm_rounds_and_clips():
    samples = np.array([0.6 / 32768, -0.6 / 32768, 1.0, -1.0, 7.0, -7.0], np.float32)
    assert np.frombuffer(Encoder("pcm_s16le").encode(samples), "<i2").tolist() == [1, -1, 32767, -32768, 32767, -32768]


def test_float_is_not_changed_or_clipped():
    samples = np.array([0.1, -3.5, 1e-30], np.float32)
    assert Encoder("pcm_f32le").encode(samples) == struct.pack("<3f", *samples)


@pytest.mark.parametrize(
    ("encoding", "pairs"),
    [
        # ITU-T G.711, tables 1 and 2: codes at zero, at both ends, and around a segment boundary.
        ("mulaw", {0: 0xFF, -4: 0x7E, 32767: 0x80, -32768: 0x00, 120: 0xF0, 1000: 0xCE, -1000: 0x4E, 8031 * 4: 0x80}),
        ("alaw", {0: 0xD5, -1: 0x55, 32767: 0xAA, -32768: 0x2A, 1000: 0xFA, -1000: 0x7A, 256: 0xC5, 255: 0xDA}),
    ],
)
def test_g711_known_codes(encoding, pairs):
    samples = np.array(list(pairs), np.float32) / 32768
    assert list(Encoder(encoding).encode(samples)) == list(pairs.values())


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_g711_equals_the_standard_library(encoding):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="left the standard library in Python 3.13")
    convert = {"mulaw": audioop.lin2ulaw, "alaw": audioop.lin2alaw}[encoding]
    assert Encoder(encoding).encode(EVERY_INT16) == convert(to_int16(EVERY_INT16).tobytes(), 2)


@pytest.mark.parametrize("encoding", BYTES_PER_SAMPLE)
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_encoding_is_chunk_invariant(encoding, data):
    samples = np.array(data.draw(st.lists(st.floats(-2, 2, width=32), max_size=50)), np.float32)
    cut = data.draw(st.integers(0, len(samples)))
    encoder = Encoder(encoding)
    whole = encoder.encode(samples)
    assert encoder.encode(samples[:cut]) + encoder.encode(samples[cut:]) == whole
    assert len(whole) == len(samples) * encoder.bytes_per_sample


# ---- rates


@pytest.mark.parametrize("to_hz", SUPPORTED_RATES_HZ)
@pytest.mark.parametrize("from_hz", [16000, 22050, 24000, 44100, 48000])
def test_resampling_is_chunk_invariant_and_keeps_a_tone(from_hz, to_hz):
    samples = tone(from_hz, seconds=0.5)
    whole = Resampler(from_hz, to_hz).push(samples, last=True)
    stream, pieces = Resampler(from_hz, to_hz), []
    bounds = [0, 1, 8, 8, 700, 4000, 4001, len(samples)]
    for start, end in zip(bounds, bounds[1:], strict=False):
        pieces.append(stream.push(samples[start:end], last=end == len(samples)))
    joined = np.concatenate(pieces)
    assert len(joined) == len(whole) and abs(len(whole) - to_hz / 2) <= 1
    assert np.abs(joined - whole).max() <= 1e-6
    inside = slice(to_hz // 20, -to_hz // 20)  # without the transients at both ends
    assert np.abs(whole - tone(to_hz, seconds=0.5)[: len(whole)])[inside].max() < 2e-3


def test_equal_rates_pass_samples_unchanged():
    samples = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    stream = Resampler(24000, 24000)
    joined = np.concatenate(
        [stream.push(samples[:333]), stream.push(samples[333:]), stream.push(samples[:0], last=True)]
    )
    assert np.array_equal(joined, samples)


def test_the_last_push_may_be_empty():
    stream = Resampler(24000, 48000)
    pushed = [
        stream.push(tone(24000)),
        stream.push(np.zeros(0, np.float32)),
        stream.push(np.zeros(0, np.float32), last=True),
    ]
    assert np.abs(np.concatenate(pushed) - Resampler(24000, 48000).push(tone(24000), last=True)).max() <= 1e-6
    with pytest.raises(AssertionError):
        stream.push(tone(24000))


def test_downsampling_does_not_alias():
    assert np.abs(Resampler(48000, 8000).push(tone(48000, hz=6000), last=True)[400:-400]).max() < 1e-3


# ---- slices, fades, silence


@given(st.integers(0, 50), st.integers(1, 60))
def test_slices(length, size):
    samples = np.arange(length, dtype=np.float32)
    pieces = list(slices(samples, size))
    assert np.array_equal(np.concatenate([samples[:0], *pieces]), samples)
    assert all(0 < len(piece) <= size for piece in pieces)


def test_fade_changes_only_the_ends_of_a_copy():
    samples = np.ones(100, np.float32)
    faded = fade(samples, 10, 20)
    assert samples.min() == 1 and faded[0] == 0 and faded[-1] == 0 and faded[10:80].min() == 1
    assert (np.diff(faded[:10]) > 0).all() and (np.diff(faded[80:]) < 0).all()
    assert np.array_equal(fade(samples), samples) and len(fade(samples[:3], 10, 10)) == 3


def test_silence_and_audibility():
    assert len(silence(12.5, 24000)) == 300 and not is_audible(silence(10, 8000)) and not is_audible(silence(0, 8000))
    assert is_audible(np.array([0, -0.001], np.float32)) and not is_audible(np.array([0.0009], np.float32))
