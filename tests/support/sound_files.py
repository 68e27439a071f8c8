"""Sound files as recorders, phones and pipes write them."""

import io
import struct

import numpy as np
import soundfile

from intone.server.domain import Samples


def speechlike(rate_hz: int, seconds: float = 1.0) -> Samples:
    """A tone that swells four times a second like syllables, with a peak of 0.5, silent at both ends. `[T]`"""
    time_s = np.arange(round(rate_hz * seconds)) / rate_hz
    swell = np.sin(4 * np.pi * time_s) ** 2 * np.clip(20 * np.minimum(time_s, seconds - time_s), 0, 1)
    return (0.5 * np.sin(2 * np.pi * 440 * time_s) * swell).astype(np.float32)


def encoded(samples: np.ndarray, rate_hz: int = 24_000, form: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    """A sound file of `[T]` or `[T, channels]`."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=form, subtype=subtype)
    return file.getvalue()


def with_sizes(wav: bytes, data_size: int, riff_size: int) -> bytes:
    """A WAV file with other lengths in its header."""
    changed = bytearray(wav)
    struct.pack_into("<I", changed, 4, riff_size)
    struct.pack_into("<I", changed, wav.index(b"data") + 4, data_size)
    return bytes(changed)


def with_id3(data: bytes, size: int = 1000) -> bytes:
    """A file behind an ID3v2 tag of `size` bytes."""
    return b"ID3\x04\0\0" + bytes([0, 0, size >> 7, size & 127]) + bytes(size) + data


def ogg_without_end(data: bytes) -> bytes:
    """An Ogg file whose last page is not marked as the end of its stream, as some phones write it."""
    start = data.rindex(b"OggS")
    page = bytearray(data[start:])
    assert page[5] & 4
    page[5] &= ~4
    page[22:26] = bytes(4)
    struct.pack_into("<I", page, 22, _ogg_checksum(page))
    return data[:start] + bytes(page)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of a page, bit by bit (RFC 3533, section 6)."""
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 0x80000000 else 0)) & 0xFFFFFFFF
    return checksum


def aac_encoded(samples: np.ndarray, rate_hz: int = 24_000, form: str = "mp4", codec: str = "aac") -> bytes:
    """A file of `[T]` or `[T, channels]` as phones record them, made with PyAV. `form`: FFmpeg's name of the muxer."""
    import av

    channels = np.atleast_2d(samples.T).astype(np.float32)
    layout = "mono" if len(channels) == 1 else "stereo"
    if codec == "alac":
        channels = (channels * 32767).astype(np.int16)
    form_of_samples = "s16p" if codec == "alac" else "fltp"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format=form_of_samples, layout=layout)
    frame.sample_rate = rate_hz
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()
