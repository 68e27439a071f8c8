"""Encodings that are taken and refused, rates that are reduced, and recordings written as FLAC."""

import importlib.util
import re
import struct
import sys

import numpy as np
import pytest

from intone.server.audio import aac_files, recordings
from intone.server.audio.recordings import read_recording
from intone.server.domain import Recording
from intone.server.errors import CallerError, Reason
from tests.support.sound_files import aac_encoded, encoded, speechlike

RATE_HZ = 24_000


def read(data: bytes) -> Recording:
    return read_recording(data, "", min_ms=100, max_ms=5000, field="upload")


def refusal(data: bytes) -> str:
    with pytest.raises(CallerError) as caught:
        read(data)
    assert (caught.value.field, caught.value.reason) == ("upload", Reason.RECORDING_INVALID)
    return caught.value.message


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (0x02, "Microsoft ADPCM"),
        (0x11, "IMA ADPCM"),
        (0x31, "GSM 6.10"),
        (0x45, "G.726"),
        (0x55, "MP3"),
        (0x7777, "0x7777"),
    ],
)
@pytest.mark.parametrize(("form", "position"), [("WAV", 20), ("WAVEX", 44)])
def test_other_encodings_in_wav_files_are_refused_before_they_are_opened(monkeypatch, form, position, tag, name):
    data = bytearray(encoded(speechlike(8000), 8000, form=form))
    assert data[position : position + 2] == b"\x01\0"
    struct.pack_into("<H", data, position, tag)
    monkeypatch.setattr(recordings, "_Reader", None)
    message = refusal(bytes(data))
    assert message.startswith(f"is a WAV file in the encoding {name}; PCM, float, A-law, µ-law are taken")


def test_an_encoding_that_only_libsndfile_finds_is_refused(monkeypatch):
    """For instance, where it reads the second of two headers."""
    monkeypatch.setattr(recordings._Reader, "subtype", "GSM610")
    assert "its encoding is GSM610" in refusal(encoded(speechlike(RATE_HZ)))


@pytest.mark.parametrize("rate_hz", [48_000, 96_000, 192_000])
def test_high_rates_are_reduced(rate_hz):
    time_s = np.arange(rate_hz) / rate_hz
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s) * np.sin(np.pi * time_s)).astype(np.float32)
    recording = read(encoded(tone, rate_hz, subtype="FLOAT"))
    assert (recording.sample_rate_hz, recording.duration_ms) == (48_000, 1000)
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000) * np.sin(np.pi * np.arange(48_000) / 48_000)
    assert np.abs(recording.samples - expected)[480:-480].max() < 1e-3


def test_a_recording_as_flac():
    recording = read(encoded(speechlike(RATE_HZ), subtype="FLOAT"))
    again = read(recordings.to_flac(recording))
    assert again.sample_rate_hz == RATE_HZ and np.abs(again.samples - recording.samples).max() <= 2**-23


# ---- files of phones


@pytest.fixture
def pyav(require):
    require("m4a", importlib.util.find_spec("av"), "PyAV is not installed: pip install 'intone[m4a]'")


@pytest.mark.parametrize(
    ("form", "codec"),
    [("mp4", "aac"), ("ipod", "aac"), ("3gp", "aac"), ("mov", "aac"), ("adts", "aac"), ("mp4", "alac")],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_aac(pyav, form, codec, channels):
    samples = speechlike(RATE_HZ)
    sides = samples if channels == 1 else np.stack([samples, samples], axis=1)
    recording = read(aac_encoded(sides, form=form, codec=codec))
    assert recording.sample_rate_hz == RATE_HZ and not recording.notices
    assert RATE_HZ <= len(recording.samples) <= RATE_HZ + 4096, "an encoder begins and ends with a part of a frame"
    found = np.correlate(recording.samples, samples, "valid").max()
    assert found / np.sum(samples**2) == pytest.approx(1, abs=0.05)


def test_a_folder_of_that_name_is_not_pyav(monkeypatch, tmp_path):
    (tmp_path / "av").mkdir()
    monkeypatch.delitem(sys.modules, "av", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not aac_files.is_available()


def test_aac_that_cannot_be_used(pyav):
    whole = aac_encoded(speechlike(RATE_HZ, 3))
    for damaged in (whole[: len(whole) // 2], whole[:200], b"\0\0\0\x20ftypM4A " + bytes(500)):
        assert re.match(
            r"is a damaged (MP4|M4A) file, .*; convert it with: ffmpeg -i recording\.m(p4|4a)", refusal(damaged)
        )
    assert "too long: over 5000 ms" in refusal(aac_encoded(speechlike(RATE_HZ, 8)))
    assert "its encoding is mp3" in refusal(aac_encoded(speechlike(RATE_HZ), codec="libmp3lame"))
    message = "channels cancel each other out"
    sides = np.stack([speechlike(RATE_HZ), -speechlike(RATE_HZ)], axis=1)
    assert message in read(aac_encoded(sides, codec="alac")).notices[0].message
