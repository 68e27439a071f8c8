"""Uploaded recordings: formats, headers of pipes and phones, channels, levels and ends; and files that are refused."""

import struct
import time

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.audio import aac_files, recordings
from intone.server.audio.recordings import read_recording
from intone.server.audio.sound_files import recognized
from intone.server.domain import VoiceNoticeCode
from intone.server.errors import CallerError, Reason
from tests.support.sound_files import encoded, ogg_without_end, speechlike, with_id3, with_sizes

RATE_HZ = 24_000


def read(data, min_ms=500, max_ms=5000):
    return read_recording(data, "transcript", min_ms=min_ms, max_ms=max_ms, field="upload")


def codes(recording):
    return [notice.code for notice in recording.notices]


def refusal(data):
    with pytest.raises(CallerError) as caught:
        read(data)
    assert (caught.value.field, caught.value.reason) == ("upload", Reason.RECORDING_INVALID)
    return caught.value.message


# ---- formats


@pytest.mark.parametrize(
    ("form", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1 / 128),
        ("WAV", "PCM_16", 1 / 32768),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.03),
        ("WAV", "ALAW", 0.03),
        ("WAVEX", "PCM_16", 1 / 32768),
        ("RF64", "PCM_16", 1 / 32768),
        ("FLAC", "PCM_16", 1 / 32768),
        ("FLAC", "PCM_24", 1e-6),
        ("OGG", "VORBIS", 0.05),
        ("OGG", "OPUS", 0.1),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(form, subtype, error, channels):
    samples = speechlike(RATE_HZ)
    sides = samples if channels == 1 else np.stack([samples * 1.5, samples * 0.5], axis=1)
    recording = read(encoded(sides, form=form, subtype=subtype))
    assert (recording.sample_rate_hz, recording.transcript, recording.samples.dtype) == (
        RATE_HZ,
        "transcript",
        np.float32,
    )
    assert recording.samples.shape == samples.shape and not recording.notices
    assert np.abs(recording.samples - samples)[240:-240].max() <= error


@pytest.mark.parametrize("form", ["FLAC", "MP3"])
def test_tags_in_front(form):
    data = encoded(speechlike(RATE_HZ), form=form, subtype=None)
    assert np.array_equal(read(with_id3(data)).samples, read(data).samples)


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_variable_bit_rate_without_its_length(rate_hz, channels):
    """The first frame, which has only the length, is left out."""
    whole = encoded(np.stack([speechlike(rate_hz, 3)] * channels, axis=1), rate_hz, form="MP3", subtype=None)
    assert whole[0] == 0xFF and b"Xing" in whole[:64]
    frames = [n for n in range(2, 2000) if whole[n] == 0xFF and whole[n + 1] == whole[1] and whole[n + 2] & 0xF != 0xF]
    recording = read(whole[frames[0] :])
    assert recording.duration_ms == pytest.approx(3000, abs=110) and not recording.notices, "delay of the encoder"
    assert read(with_id3(whole[frames[0] :])).duration_ms == recording.duration_ms


OTHERS = {
    "M4A": (b"\0\0\0\x20ftypM4A \0\0\0\0", "is an M4A (AAC) file", "recording.m4a"),
    "MP4 of Android": (b"\0\0\0\x18ftypmp42", "is an MP4 file", "recording.mp4"),
    "3GP": (b"\0\0\0\x18ftyp3gp4", "is a 3GP file", "recording.3gp"),
    "QuickTime": (b"\0\0\0\x14ftypqt  ", "is a QuickTime file", "recording.mov"),
    "WebM": (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01", "is a WebM or Matroska file", "recording.webm"),
    "AAC": (b"\xff\xf1\x50\x80\x02\x1f\xfc", "is an AAC file", "recording.aac"),
    "AAC with tags": (with_id3(b"\xff\xf9\x50\x80\x02\x1f\xfc"), "is an AAC file", "recording.aac"),
    "AIFF": (encoded(speechlike(8000), form="AIFF"), "is an AIFF file", "recording.aiff"),
    "CAF": (encoded(speechlike(8000), form="CAF"), "is a CAF file", "recording.caf"),
    "AU": (encoded(speechlike(8000), form="AU"), "is an AU file", "recording.au"),
    "W64": (encoded(speechlike(8000), form="W64"), "is a Wave64 file", "recording.w64"),
    "AMR": (b"#!AMR\n\x3c", "is an AMR file", "recording.amr"),
    "WMA": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "is a WMA file", "recording.wma"),
    "AVI": (b"RIFF\x04\0\0\0AVI ", "is a RIFF file of another kind than WAV", "recording.avi"),
    "SILK": (b"\x02#!SILK_V3\x0c", "is a SILK file", "WAV, FLAC, Ogg or MP3"),
    "ZIP": (b"PK\x03\x04\x14", "is a ZIP archive", "WAV, FLAC, Ogg or MP3"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><title>404", "is an HTML page", "WAV, FLAC, Ogg or MP3"),
    "text": ("Das ist keine Aufnahme, sondern ein Text. 你好".encode() * 99, "is text", "WAV, FLAC, Ogg or MP3"),
    "JSON": (b'{"error": "not found"}', "is text", "WAV, FLAC, Ogg or MP3"),
    "Base64": (b"UklGRiR3AQBXQVZFZm10IBAAAAAB", "is Base64 text", "send the bytes"),
    "a data URL": (b"data:audio/wav;base64,UklGRiR3", "is Base64 text", "send the bytes"),
    "samples": (b"\0\1\2\3" * 1000, "is of a format that is not known", "ffmpeg -f s16le -ar RATE -ac 1"),
}


@pytest.mark.parametrize(("data", "name", "help_text"), OTHERS.values(), ids=OTHERS)
def test_other_formats_are_named(monkeypatch, data, name, help_text):
    monkeypatch.setattr(aac_files, "is_available", lambda: False)
    message = refusal(data)
    assert message.startswith(name) and help_text in message
    if help_text.startswith("recording."):
        assert message.endswith(f"convert it with: ffmpeg -i {help_text} converted.wav")


# ---- headers

WAV = encoded(speechlike(RATE_HZ))
DATA_BYTES = len(WAV) - 44
MS_BYTES = 2 * RATE_HZ // 1000


@pytest.mark.parametrize(
    ("data_size", "riff_size"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
        (0x7FFFF000, 0x7FFFF024),  # SoX
        (0x80000000, 0x80000024),
        (0x7FFFFFFF, 0x7FFFFFFF),
        (0xFFFFFFFF - 36, 0xFFFFFFFF),
        (0xFFFFFFF7, 0xFFFFFFFF),
        (0x40000001, 0),
        (0, 0),
        (0, 36),  # a recorder that never came back to its header
        (1000, 1036),  # or too early
        (DATA_BYTES // 2, DATA_BYTES // 2 + 36),
    ],
)
def test_wav_with_a_placeholder_for_its_length(data_size, riff_size):
    recording = read(with_sizes(WAV, data_size, riff_size))
    assert np.array_equal(recording.samples, read(WAV).samples) and not recording.notices


@pytest.mark.parametrize("slip", [1, 16, 36, 44, 9 * MS_BYTES])
def test_wav_that_promises_a_few_bytes_more(slip):
    """Some writers count their header in."""
    recording = read(with_sizes(WAV, DATA_BYTES + slip, len(WAV) - 8))
    assert np.array_equal(recording.samples, read(WAV).samples) and not recording.notices
    assert len(read(WAV[:-slip]).samples) == (DATA_BYTES - slip) // 2


@pytest.mark.parametrize("missing_ms", [10, 50, 100])
def test_wav_that_promises_some_milliseconds_more(missing_ms):
    recording = read(with_sizes(WAV, DATA_BYTES + missing_ms * MS_BYTES, len(WAV) - 8))
    assert codes(recording) == [VoiceNoticeCode.RECORDING_INCOMPLETE]
    assert recording.notices[0].message == f"the last {missing_ms} ms that its header promises are missing"
    assert len(recording.samples) == RATE_HZ


def test_wav_that_promises_much_more():
    missing = 101 * MS_BYTES
    message = f"cut off: the last {missing} bytes that its header promises are missing"
    assert refusal(with_sizes(WAV, DATA_BYTES + missing, len(WAV) - 8)) == message


def test_chunks_around_the_samples():
    extra = b"LIST" + struct.pack("<I", 5000) + b"INFO" + bytes(4996)
    before = WAV[:36] + extra + WAV[36:]
    for data in (before, WAV + extra, WAV + extra + extra):
        assert np.array_equal(read(data).samples, read(WAV).samples)
    recording = read(with_sizes(before, 0xFFFFFFFF, 0xFFFFFFFF))
    assert np.array_equal(recording.samples, read(WAV).samples)
    assert "header without samples" in refusal(with_sizes(WAV[:44], 0, 36 + len(extra)) + extra)


def test_junk_after_the_samples_is_not_read():
    assert np.array_equal(read(WAV + b"\xfe" * 1000).samples, read(WAV).samples)


def test_flac_without_a_length():
    data = bytearray(encoded(speechlike(RATE_HZ), form="FLAC"))
    data[21] &= 0xF0  # the 36 bits at 172 of the stream's information
    data[22:26] = bytes(4)
    assert np.array_equal(read(bytes(data)).samples, read(encoded(speechlike(RATE_HZ), form="FLAC")).samples)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_the_mark_of_its_end(subtype):
    data = encoded(speechlike(RATE_HZ), form="OGG", subtype=subtype)
    recording = read(ogg_without_end(data))
    assert np.array_equal(recording.samples, read(data).samples) and not recording.notices


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("keep", [0.9, 0.6, 0.1])
def test_truncated_files_are_refused(form, keep):
    subtype = {"OGG": "VORBIS", "MP3": None}.get(form, "PCM_16")
    data = encoded(speechlike(RATE_HZ, 3), form=form, subtype=subtype)
    with pytest.raises(CallerError, match="upload: (cut off|is a damaged)"):
        read(data[: int(len(data) * keep)])


def test_a_file_of_many_chunks_is_refused_at_once():
    data = b"RIFF\xff\xff\xff\xffWAVE" + bytes(32 << 20)
    began_s = time.perf_counter()
    with pytest.raises(CallerError, match="no samples among its first 256 chunks"):
        recognized(data, "upload")
    assert time.perf_counter() - began_s < 0.1


# ---- channels


@pytest.mark.parametrize("right", [-1.0, -0.98, -0.6])
def test_channels_of_opposite_phase(right):
    samples = speechlike(RATE_HZ)
    recording = read(encoded(np.stack([samples, right * samples], axis=1)))
    assert codes(recording) == [VoiceNoticeCode.CHANNELS_CANCEL] and "channel 1" in recording.notices[0].message
    assert np.abs(recording.samples - samples).max() <= 1 / 32768


def test_the_loudest_channel_is_taken():
    samples = speechlike(RATE_HZ)
    recording = read(encoded(np.stack([-0.5 * samples, samples, -0.5 * samples], axis=1)))
    assert codes(recording) == [VoiceNoticeCode.CHANNELS_CANCEL] and "channel 2" in recording.notices[0].message
    assert np.abs(recording.samples - samples).max() <= 1 / 32768


def test_other_channels_are_averaged():
    left = speechlike(RATE_HZ)
    right = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32) * np.abs(left)
    for others in ([left], [0 * left], [right], [right, 0 * left], [np.roll(left, 40)], [0 * left] * 7):
        channels = np.stack([left, *others], axis=1)
        recording = read(encoded(channels, subtype="FLOAT"))
        assert not recording.notices
        assert np.abs(recording.samples - channels.mean(axis=1)).max() < 1e-6


# ---- levels and ends


@pytest.mark.parametrize("peak", [2e-4, 9e-4, 0.019])
def test_quiet_speech_is_amplified(peak):
    samples = speechlike(RATE_HZ) * np.float32(peak / 0.5)
    recording = read(encoded(samples, subtype="PCM_24"))
    assert codes(recording) == [VoiceNoticeCode.RECORDING_QUIET]
    assert np.abs(recording.samples).max() == pytest.approx(0.25, rel=0.01)
    assert np.corrcoef(recording.samples, samples)[0, 1] > 0.999


def test_a_constant_offset_is_neither_sound_nor_amplified():
    samples = speechlike(RATE_HZ) * np.float32(0.001)
    recording = read(encoded(samples + np.float32(0.1), subtype="FLOAT"))
    assert codes(recording) == [VoiceNoticeCode.RECORDING_QUIET]
    assert np.abs(recording.samples).max() == pytest.approx(0.25, rel=0.01)
    assert np.corrcoef(recording.samples, samples)[0, 1] > 0.999
    assert "silent" in refusal(encoded(np.full(RATE_HZ, 0.1)))


def test_speech_that_is_not_quiet_is_not_changed():
    samples = speechlike(RATE_HZ) * np.float32(0.021 / np.abs(speechlike(RATE_HZ)).max())
    recording = read(encoded(samples, subtype="FLOAT"))
    assert np.array_equal(recording.samples, samples) and not recording.notices


@pytest.mark.parametrize("seconds", [0.59, 0.72, 0.9])
def test_an_end_in_the_middle_of_a_sound_is_faded_out(seconds):
    samples = speechlike(RATE_HZ)[: int(seconds * RATE_HZ)]
    recording = read(encoded(samples, subtype="FLOAT"))
    assert codes(recording) == [VoiceNoticeCode.RECORDING_ENDS_ABRUPTLY]
    last = 30 * RATE_HZ // 1000
    assert np.array_equal(recording.samples[:-last], samples[:-last])
    assert abs(recording.samples[-1]) < 1e-3 < np.abs(samples[-100:]).max()


@pytest.mark.parametrize("silence_ms", [40, 500])
def test_an_end_in_silence_is_not_changed(silence_ms):
    noise = 0.003 * np.random.default_rng(1).standard_normal(RATE_HZ + silence_ms * RATE_HZ // 1000)
    samples = noise.astype(np.float32)
    samples[:RATE_HZ] += speechlike(RATE_HZ)
    recording = read(encoded(samples, subtype="FLOAT"))
    assert np.array_equal(recording.samples, samples) and not recording.notices


def test_everything_at_once():
    samples = speechlike(RATE_HZ)[: int(0.9 * RATE_HZ)] * np.float32(0.01)
    data = encoded(np.stack([samples, -samples], axis=1))
    recording = read(with_sizes(data, len(data) - 44 + 30 * 2 * MS_BYTES, len(data)))
    assert codes(recording) == [
        VoiceNoticeCode.RECORDING_INCOMPLETE,
        VoiceNoticeCode.CHANNELS_CANCEL,
        VoiceNoticeCode.RECORDING_QUIET,
        VoiceNoticeCode.RECORDING_ENDS_ABRUPTLY,
    ]


# ---- what cannot be used


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty: 0 bytes"),
        (b"ID3\x04 not really music", "a damaged MP3 file"),
        (b"\xff\xfb\x90\x00" + bytes(5000), "a damaged MP3 file"),
        (b"RIFF\x04\0\0\0WAVE", "a damaged WAV file"),
        (b"RIFF", "a RIFF file"),
        (b"fLaC" + b"\0" * 100, "a damaged FLAC file"),
        (b"OggS" + b"\0" * 10, "cut off"),
        (WAV[:20], "cut off in its header"),
        (encoded(np.zeros(0)), "header without samples"),
        (encoded(speechlike(RATE_HZ, 0.4)), "too short: 400 ms; at least 500 ms"),
        (encoded(speechlike(RATE_HZ, 5.1)), "too long: over 5000 ms"),
        (encoded(np.zeros(RATE_HZ)), "silent: the largest sample is 0 of"),
        (encoded(speechlike(RATE_HZ) * np.float32(1e-4)), "silent"),
        (encoded(1e-3 * np.sin(np.arange(RATE_HZ))), "silent: steady noise"),
        (encoded(1e-3 * np.random.default_rng(0).standard_normal(RATE_HZ)), "silent: steady noise"),
        (encoded(np.array([0.5, np.nan] * 12000), subtype="FLOAT"), "sample 1 is not a finite"),
        (encoded(np.array([0.5, np.inf] * 12000), subtype="FLOAT"), "sample 1 is not a finite"),
        (encoded(speechlike(7999), rate_hz=7999), "7999 samples a second; 8000 to 192000"),
        (encoded(speechlike(200_000), rate_hz=200_000), "200000 samples a second"),
        (encoded(np.ones((24000, 9)) * 0.1), "9 channels; at most 8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_recordings(data, message):
    assert message in refusal(data)


SHORT = {
    form: encoded(speechlike(8000, 0.6), rate_hz=8000, form=form, subtype=None)
    for form in ("WAV", "RF64", "FLAC", "OGG", "MP3")
}


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(SHORT)))
def test_damaged_files_give_a_recording_or_a_caller_error(data, form):
    broken = bytearray(SHORT[form])
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, min(len(broken) - 1, 300)))] = data.draw(st.integers(0, 255))
    del broken[data.draw(st.integers(len(broken) // 2, len(broken))) :]
    try:
        made = read(bytes(broken))
        assert 500 <= made.duration_ms <= 5000
        assert np.isfinite(made.samples).all() and np.abs(made.samples).max() >= recordings.MIN_PEAK
    except CallerError as error:
        assert error.field == "upload"


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b""]), st.binary()
)
def test_any_bytes_give_a_caller_error(start, rest):
    with pytest.raises(CallerError, match="^upload: "):
        read(start + rest)


def test_no_format_but_those_that_are_documented_is_opened(monkeypatch):
    """libsndfile reads many more: each is one more parser of bytes that anybody may send."""
    opened = []
    monkeypatch.setattr(aac_files, "is_available", lambda: False)
    monkeypatch.setattr(recordings, "_Reader", lambda file: opened.append(file) or soundfile.SoundFile(file))
    for data, *_ in OTHERS.values():
        refusal(data)
    assert not opened
