"""Processing of output audio: encoding, resampling, slicing, fades, audibility."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intone.server.domain import Samples

SUPPORTED_RATES_HZ = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates that a client may request."""

BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
"""By encoding."""

MIN_AUDIBLE_PEAK = 1e-3
"""Audio with a lower peak counts as silence: -60 dBFS."""


class Encoder:
    """Encodes samples as headerless bytes.

    16-bit PCM and G.711 are rounded to the nearest 16-bit value and clipped at full scale; float32 is unchanged.
    """

    def __init__(self, encoding: str) -> None:
        assert encoding in BYTES_PER_SAMPLE, encoding
        self.encoding = encoding
        self.bytes_per_sample = BYTES_PER_SAMPLE[encoding]
        tables = {"mulaw": _mulaw_table, "alaw": _alaw_table}
        self._table = tables[encoding]() if encoding in tables else None

    def encode(self, samples: Samples) -> bytes:
        """`[T]` float32 → `T * bytes_per_sample` bytes."""
        if self.encoding == "pcm_f32le":
            return samples.astype("<f4", copy=False).tobytes()
        pcm = to_int16(samples)
        if self._table is None:
            return pcm.astype("<i2", copy=False).tobytes()
        codes: NDArray[np.uint8] = self._table[pcm.view(np.uint16)]
        return codes.tobytes()


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Float32 in [-1, 1) → int16: scaled by 32768, rounded, clipped. Lossless for audio converted from int16."""
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
    return pcm


def _every_int16() -> NDArray[np.int32]:
    """All int16 values, in the order of their bit patterns. `[65536]`"""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _segment(magnitude: NDArray[np.int32], first_end: int) -> NDArray[np.int32]:
    """G.711 segment, 0 to 7, of each magnitude. The first segment ends at `first_end`, each next one at twice that."""
    ends = first_end * 2 ** np.arange(8)
    return np.searchsorted(ends, magnitude, side="right").astype(np.int32)


def _mulaw_table() -> NDArray[np.uint8]:
    """ITU-T G.711 mu-law code of every int16 bit pattern, from its upper 14 bits. `[65536]`"""
    linear = _every_int16() >> 2
    magnitude = np.minimum(np.abs(linear), 8158) + 33  # the bias makes every segment begin at a power of two
    segment = _segment(magnitude, 64)
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 15)
    table: NDArray[np.uint8] = (code ^ np.where(linear < 0, 0x7F, 0xFF)).astype(np.uint8)
    return table


def _alaw_table() -> NDArray[np.uint8]:
    """ITU-T G.711 A-law code of every int16 bit pattern, from its upper 13 bits. `[65536]`"""
    linear = _every_int16() >> 3
    magnitude = np.where(linear < 0, -linear - 1, linear)
    segment = _segment(magnitude, 32)
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 15)
    table: NDArray[np.uint8] = (code ^ np.where(linear < 0, 0x55, 0xD5)).astype(np.uint8)
    return table


class Resampler:
    """Streaming sample-rate conversion of one signal.

    Chunk-invariant: any chunking gives the same output. The filter delays a few milliseconds of output until `last`.
    Equal rates pass samples through unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else _resampler(from_hz, to_hz)
        self._ended = False

    def push(self, samples: Samples, last: bool = False) -> Samples:
        """Add samples `[T]`; return the output that is ready. Nothing may follow a call with `last`."""
        assert not self._ended, "push after last"
        self._ended = last
        if self._stream is None or (len(samples) == 0 and not last):
            return samples
        resampled: Samples = self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)
        return resampled


def slices(samples: Samples, max_samples: int) -> Iterator[Samples]:
    """Consecutive views of at most `max_samples` samples each; none for empty input."""
    for start in range(0, len(samples), max_samples):
        yield samples[start : start + max_samples]


def fade(samples: Samples, in_samples: int = 0, out_samples: int = 0) -> Samples:
    """A copy with a raised-cosine fade-in of `in_samples` and fade-out of `out_samples`."""
    faded: Samples = samples.copy()
    rise, fall = min(in_samples, len(faded)), min(out_samples, len(faded))
    faded[:rise] *= _ramp(rise)
    faded[len(faded) - fall :] *= _ramp(fall)[::-1]
    return faded


def _ramp(length: int) -> Samples:
    """The rising half of a raised cosine, from 0 to below 1. `[length]`"""
    ramp: Samples = (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / max(length, 1))).astype(np.float32)
    return ramp


def silence(duration_ms: float, rate_hz: int) -> Samples:
    """Zeros for `duration_ms` at `rate_hz`."""
    return np.zeros(round(duration_ms * rate_hz / 1000), np.float32)


def is_audible(samples: Samples) -> bool:
    """Whether the peak reaches `MIN_AUDIBLE_PEAK`."""
    return len(samples) > 0 and float(np.max(np.abs(samples))) >= MIN_AUDIBLE_PEAK


def _resampler(from_hz: int, to_hz: int) -> Any:
    import soxr  # engines use this module without it

    return soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
