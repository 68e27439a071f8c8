"""Headers of MPEG audio, layer 3 (ISO/IEC 11172-3 and 13818-3), and the length of files that do not give it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_KBITS = {  # by MPEG version 1 or not, then by index
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version bits
_LAYER_3 = 1
_KBITS_INDEX_OF_TAG = 9  # 128 or 80 kbit/s: of a frame that has room for the tag in every version
_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")
_FRAME_COUNT = 1  # flag of the tag "Xing"


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a frame: its fields as written, and the length of the frame in bytes."""

    bits: int
    is_version_1: bool
    kbits: int
    is_mono: bool
    length: int


def with_length(data: bytes, start: int) -> bytes:
    """A file whose frames begin at `start`, with its number of frames in front if they differ in bit rate.

    Without the number libsndfile computes the length from the bit rate of the first frame, and reads no further.
    Encoders that write to a pipe leave it out.
    """
    first = _header(data, start)
    if first is None or any(tag in data[start : start + first.length] for tag in _LENGTH_TAGS):
        return data
    bit_rates = [header.kbits for header in _headers(data, start)]
    if len(set(bit_rates)) < 2:
        return data
    return data[:start] + _tag(first, len(bit_rates)) + data[start:]


def _headers(data: bytes, position: int) -> Iterator[_Header]:
    """The headers of the frames that follow one another from `position`."""
    while header := _header(data, position):
        yield header
        position += header.length


def _header(data: bytes, position: int) -> _Header | None:
    """The header there; None if there is none of layer 3 with a bit rate."""
    if position + 4 > len(data):
        return None
    (bits,) = struct.unpack_from(">I", data, position)
    version, layer, kbits_index, rate_index = bits >> 19 & 3, bits >> 17 & 3, bits >> 12 & 15, bits >> 10 & 3
    if bits >> 21 != 0x7FF or version == 1 or layer != _LAYER_3 or kbits_index in (0, 15) or rate_index == 3:
        return None
    is_version_1 = version == 3
    kbits, rate_hz = _KBITS[is_version_1][kbits_index], _RATES_HZ[version][rate_index]
    length = (144 if is_version_1 else 72) * 1000 * kbits // rate_hz + (bits >> 9 & 1)
    return _Header(bits, is_version_1, kbits, bits >> 6 & 3 == 3, length)


def _tag(first: _Header, count: int) -> bytes:
    """A frame of silence like `first` whose data is the tag "Xing" with the number of frames after it."""
    bits = first.bits & ~(0xF << 12) & ~(1 << 9) | _KBITS_INDEX_OF_TAG << 12 | 1 << 16  # no padding, no checksum
    header = struct.pack(">I", bits)
    like = _header(header, 0)
    assert like is not None, "only the bit rate is another"
    side_information = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
    empty = bytes(side_information[first.is_version_1, first.is_mono])
    frame = header + empty + b"Xing" + struct.pack(">II", _FRAME_COUNT, count)
    return frame + bytes(like.length - len(frame))
