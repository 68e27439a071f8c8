"""Sample encodings of a stream: names, sizes, and decoding to float32."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio: float32, shape `[samples]`, nominally in [-1, 1]."""


def _mulaw(data: bytes) -> Samples:
    """ITU-T G.711 mu-law: inverted bits of sign, 3-bit exponent and 4-bit mantissa; the bias is 33 steps of 4."""
    code = ~np.frombuffer(data, np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    return _signed(magnitude, negative=code & 128 != 0)


def _alaw(data: bytes) -> Samples:
    """ITU-T G.711 A-law: every other bit inverted; the two lowest segments are linear."""
    code = np.frombuffer(data, np.uint8) ^ 0x55
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 256) << np.maximum(exponent - 1, 0))
    return _signed(magnitude, negative=code & 128 == 0)


def _signed(magnitude: NDArray[np.int32], *, negative: NDArray[np.bool_]) -> Samples:
    samples = np.where(negative, -magnitude, magnitude).astype(np.float32)
    samples /= 32768
    return samples


def _pcm_s16le(data: bytes) -> Samples:
    samples = np.frombuffer(data, "<i2").astype(np.float32)
    samples /= 32768
    return samples


def _pcm_f32le(data: bytes) -> Samples:
    return np.frombuffer(data, "<f4").astype(np.float32)


_DECODERS: dict[str, tuple[int, Callable[[bytes], Samples]]] = {
    "pcm_s16le": (2, _pcm_s16le),
    "pcm_f32le": (4, _pcm_f32le),
    "mulaw": (1, _mulaw),
    "alaw": (1, _alaw),
}

ENCODINGS = tuple(_DECODERS)
"""Names of the sample encodings, as on the wire and in lower case."""


@dataclass(frozen=True, slots=True)
class Format:
    """Audio format of a stream: one channel, samples without a header.

    Attributes:
        encoding: one of `ENCODINGS`.
        sample_rate_hz: samples per second.
    """

    encoding: str
    sample_rate_hz: int

    @property
    def bytes_per_sample(self) -> int:
        """Size of one sample in bytes."""
        return _DECODERS[self.encoding][0]

    def seconds(self, size_bytes: int) -> float:
        """Duration of `size_bytes` of audio."""
        return size_bytes / self.bytes_per_sample / self.sample_rate_hz

    def decode(self, data: bytes) -> Samples:
        """Decode bytes that hold whole samples. 16-bit values are divided by 32768."""

        return _DECODERS[self.encoding][1](data)
