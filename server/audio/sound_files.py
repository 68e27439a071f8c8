"""Recognizes sound files by their first bytes, and repairs headers that pipes and recorders leave wrong."""

import re
import struct
from dataclasses import dataclass

from intone.server.audio import aac_files
from intone.server.audio.mpeg_audio import with_length
from intone.server.errors import CallerError, Reason

MAX_MISSING_MS = 100
"""Of sound at the end of a file, compared with the length that its header gives."""

_MAX_DATA_BYTES = 1 << 30
"""No upload is larger (`max_recording_bytes`): a larger size in a header is a placeholder of a writer to a pipe."""

_WAV_ENCODINGS = {1: "PCM", 3: "float", 6: "A-law", 7: "µ-law"}
_OTHER_WAV_ENCODINGS = {
    0x02: "Microsoft ADPCM", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x40: "G.721", 0x45: "G.726", 0x55: "MP3",
    0x64: "G.726", 0x65: "G.722",
}  # fmt: skip
"""Names of some that are not taken (RFC 2361)."""

_WAV_EXTENSIBLE = 0xFFFE
"""Format tag of a header in which another tag follows."""

_MAX_WAV_CHUNKS = 256
"""Before the samples. Recorders write a few."""


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A file that libsndfile can read, or PyAV where it is installed.

    Attributes:
        kind: "WAV", "FLAC", "Ogg" or "MP3"; of PyAV the extension in capitals, "M4A", "AAC" …
        data: the file, with its header repaired.
        missing_ms: sound that the header promised beyond the end of the file; at most `MAX_MISSING_MS`.
    """

    kind: str
    data: bytes
    missing_ms: int = 0


def recognized(data: bytes, field: str) -> SoundFile:
    """The sound file in `data`.

    Raises:
        CallerError: it is of another format, which is named with the command that converts it, or it is cut off
            (RECORDING_INVALID).
    """
    kind = _kind(data)
    if kind is None:
        found = _sound_name(data)
        if found and found[1] in aac_files.CONTAINERS and aac_files.is_available():
            return SoundFile(found[1].upper(), data)
        raise CallerError(field, f"is {_name(data)}", Reason.RECORDING_INVALID)
    if kind == "WAV":
        return _repaired_wav(data, field)
    if kind == "Ogg":
        return SoundFile(kind, _repaired_ogg(data, field))
    return SoundFile(kind, with_length(data, _after_id3(data)) if kind == "MP3" else data)


def conversion(extension: str) -> str:
    """How to convert a file of this extension."""
    return f"convert it with: ffmpeg -i recording.{extension} converted.wav"


# ---- formats


def _kind(data: bytes) -> str | None:
    """The format, if it is one that is taken."""
    if data.startswith((b"RIFF", b"RF64")) and data[8:12] == b"WAVE":
        return "WAV"
    if data.startswith(b"OggS"):
        return "Ogg"
    content = _after_id3(data)
    if data[content : content + 4] == b"fLaC":
        return "FLAC"
    return "MP3" if content and not _is_adts(data, content) or _is_mpeg_audio(data) else None


def _after_id3(data: bytes) -> int:
    """Where the audio begins behind an ID3v2 tag; 0 without a tag."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    size = sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _is_mpeg_audio(data: bytes) -> bool:
    """Whether it begins with the header of an MPEG audio frame of layer 1, 2 or 3."""
    return (
        len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0 and data[2] & 0xF0 < 0xF0
    )


def _is_adts(data: bytes, position: int = 0) -> bool:
    """Whether an AAC frame begins there: an MPEG header with layer 0."""
    return len(data) > position + 1 and data[position] == 0xFF and data[position + 1] & 0xF6 == 0xF0


_BRANDS = ((b"M4A", "an M4A (AAC) file", "m4a"), (b"3g", "a 3GP file", "3gp"), (b"qt", "a QuickTime file", "mov"))
_MAGIC = (
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska file", "webm"),
    (b"caff", "a CAF file", "caf"),
    (b".snd", "an AU file", "au"),
    (b"riff\x2e\x91\xcf\x11", "a Wave64 file", "w64"),
    (b"RIFX", "a big-endian WAV file", "wav"),
    (b"#!AMR", "an AMR file", "amr"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA file", "wma"),
    (b"FORM", "an AIFF file", "aiff"),
    (b"wvpk", "a WavPack file", "wv"),
    (b"MAC ", "a Monkey's Audio file", "ape"),
    (b"FLV", "an FLV file", "flv"),
    (b"RIFF", "a RIFF file of another kind than WAV", "avi"),
)
_NO_SOUND = (
    (b"#!SILK_V3", "a SILK file, as of voice messages in WeChat"),
    (b"\x02#!SILK_V3", "a SILK file, as of voice messages in WeChat"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
)
_BASE64 = re.compile(rb"\s*(data:audio/|UklGR|UkY2N|SUQz|T2dnUw|ZkxhQw)")
_HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|!--)", re.IGNORECASE)
_NEEDED = "a WAV, FLAC, Ogg or MP3 file is needed"


def _name(data: bytes) -> str:
    """What it is instead of a file that is taken, and what to do."""
    found = _sound_name(data)
    if found:
        name, extension = found
        return f"{name}; {_NEEDED}; {conversion(extension)}"
    for magic, name in _NO_SOUND:
        if data.startswith(magic):
            return f"{name}; {_NEEDED}"
    if _BASE64.match(data):
        return "Base64 text; send the bytes of the file themselves"
    if _HTML.match(data):
        return f"an HTML page, perhaps one that a server sent in place of the file; {_NEEDED}"
    if _is_text(data[:1024]):
        return f"text; {_NEEDED}"
    raw = "ffmpeg -f s16le -ar RATE -ac 1 -i recording.raw converted.wav"
    return f"of a format that is not known; {_NEEDED}; samples without a header get one with: {raw}"


def _sound_name(data: bytes) -> tuple[str, str] | None:
    """Name and extension of a sound format that is not taken."""
    if data[4:8] == b"ftyp":
        brands = ((name, extension) for brand, name, extension in _BRANDS if data[8:].startswith(brand))
        return next(brands, ("an MP4 file", "mp4"))
    if _is_adts(data) or _is_adts(data, _after_id3(data)):
        return "an AAC file", "aac"
    return next(((name, extension) for magic, name, extension in _MAGIC if data.startswith(magic)), None)


def _is_text(data: bytes) -> bool:
    """Whether these first bytes are UTF-8 without control characters."""
    try:
        text = data.decode("utf8")
    except UnicodeDecodeError as error:
        if error.end < len(data):  # not a character that the cut has split
            return False
        text = data[: error.start].decode("utf8")
    return not any(character < " " and character not in "\t\r\n\f" for character in text)


# ---- WAV


def _repaired_wav(data: bytes, field: str) -> SoundFile:
    """A WAV file whose header gives the length of the samples that are there.

    Writers to a pipe leave a placeholder, or 0, for a length that they do not know; others count their header in, or
    end before they have corrected it.
    """
    position, declared, byte_rate, encoding = _samples_chunk(data, field)
    if encoding is not None and encoding not in _WAV_ENCODINGS:
        taken = ", ".join(_WAV_ENCODINGS.values())
        name = _OTHER_WAV_ENCODINGS.get(encoding, f"{encoding:#06x}")
        message = f"is a WAV file in the encoding {name}; {taken} are taken; {conversion('wav')}"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    if position is None:
        return SoundFile("WAV", data)  # libsndfile says what is wrong
    start = position + 8
    there = len(data) - start
    tolerated = byte_rate * MAX_MISSING_MS // 1000
    missing_ms = 0
    if declared > _MAX_DATA_BYTES or (declared == 0 and _riff_bytes(data) != len(data)):
        size = there
    elif declared <= there:
        rest = start + declared + declared % 2
        size = declared if len(data) - rest <= tolerated or _is_chunk(data, rest) else there
    elif declared - there <= tolerated:
        size, missing_ms = there, 1000 * (declared - there) // byte_rate
    else:
        message = f"cut off: the last {declared - there} bytes that its header promises are missing"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    if size == declared and data.startswith(b"RIFF"):
        return SoundFile("WAV", data)
    repaired = bytearray(data)
    repaired[:4] = b"RIFF"  # in place of RF64, whose 64-bit sizes are then a chunk that is skipped
    struct.pack_into("<I", repaired, position + 4, size)
    struct.pack_into("<I", repaired, 4, len(data) - 8)
    return SoundFile("WAV", bytes(repaired), missing_ms)


def _samples_chunk(data: bytes, field: str) -> tuple[int | None, int, int, int | None]:
    """Position of the chunk with the samples, None if there is none; its size by the header; bytes per second; the tag
    of its encoding, None if there is none."""
    position, byte_rate, long_size, encoding = 12, 0, None, None
    for _ in range(_MAX_WAV_CHUNKS):
        if position + 8 > len(data):
            break
        name, size = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            return position, size if long_size is None else long_size, byte_rate, encoding
        if name == b"fmt " and position + 20 <= len(data):
            (byte_rate,) = struct.unpack_from("<I", data, position + 16)
            encoding = _encoding(data, position + 8)
        if name == b"ds64" and position + 24 <= len(data) and data.startswith(b"RF64"):  # EBU Tech 3306
            (long_size,) = struct.unpack_from("<Q", data, position + 16)
        position += 8 + size + size % 2
    else:
        message = f"damaged: there are no samples among its first {_MAX_WAV_CHUNKS} chunks"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    if position > len(data):
        raise CallerError(field, "cut off in its header", Reason.RECORDING_INVALID)
    return None, 0, byte_rate, encoding


def _encoding(data: bytes, fmt: int) -> int:
    """The tag of the encoding in the chunk "fmt " whose content begins there."""
    tag = int(struct.unpack_from("<H", data, fmt)[0])
    if tag == _WAV_EXTENSIBLE and fmt + 26 <= len(data):
        tag = int(struct.unpack_from("<H", data, fmt + 24)[0])
    return tag


def _riff_bytes(data: bytes) -> int:
    """The size of the whole file by its header."""
    return int(struct.unpack_from("<I", data, 4)[0]) + 8


def _is_chunk(data: bytes, position: int) -> bool:
    """Whether a chunk that ends within the file, with some tolerance, seems to begin there."""
    if position + 8 > len(data):
        return False
    name, size = struct.unpack_from("<4sI", data, position)
    return all(32 <= byte < 127 for byte in name) and position + 8 + size <= len(data) + 8


# ---- Ogg

_END_OF_STREAM = 4
_CRC_POLYNOMIAL = 0x04C11DB7


def _repaired_ogg(data: bytes, field: str) -> bytes:
    """An Ogg file whose last page is marked as the end of its stream (RFC 3533, section 6), as some recorders forget.

    Without the mark libsndfile refuses a last packet of Opus that is used in part.
    """
    page = data.rfind(b"OggS")
    if len(data) < page + 27 or len(data) < (end := _ogg_page_end(data, page)):
        raise CallerError(field, "cut off: the last Ogg page is not complete", Reason.RECORDING_INVALID)
    if data[page + 5] & _END_OF_STREAM:
        return data
    last = bytearray(data[page:end])
    last[5] |= _END_OF_STREAM
    last[22:26] = bytes(4)
    struct.pack_into("<I", last, 22, _ogg_checksum(last))
    return data[:page] + last


def _ogg_page_end(data: bytes, page: int) -> int:
    segments = data[page + 26]
    return page + 27 + segments + sum(data[page + 27 : page + 27 + segments])


def _ogg_checksum(page: bytearray) -> int:
    """CRC-32 of a page whose checksum is 0, by the polynomial of Ogg, most significant bit first."""
    checksum = 0
    for byte in page:  # at most 65,307
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[checksum >> 24 ^ byte]
    return checksum


def _crc_entry(value: int) -> int:
    value <<= 24
    for _ in range(8):
        value = (value << 1 ^ (_CRC_POLYNOMIAL if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


_CRC_TABLE = tuple(map(_crc_entry, range(256)))
