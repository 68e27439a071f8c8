"""Writes WAV files while the audio arrives, in every encoding of a stream."""

import struct
from pathlib import Path
from types import TracebackType

from intone.client.audio import Format

_FORMAT_TAGS = {"pcm_s16le": 1, "pcm_f32le": 3, "alaw": 6, "mulaw": 7}
_MAX_DATA_BYTES = 2**32 - 1025  # the sizes in the header have 32 bits and include the header
_OPEN_DATA_BYTES = 0x7FFFF000  # as SoX writes it


def wav_header(audio_format: Format, data_bytes: int) -> bytes:
    """The header of a WAV file with `data_bytes` of samples."""
    tag, width = _FORMAT_TAGS[audio_format.encoding], audio_format.bytes_per_sample
    rate_hz = audio_format.sample_rate_hz
    layout = struct.pack("<HHIIHH", tag, 1, rate_hz, rate_hz * width, width, 8 * width)
    if tag == 1:
        chunks = struct.pack("<4sI", b"fmt ", len(layout)) + layout
    else:  # formats other than integer PCM need an (empty) extension and the number of samples
        layout += struct.pack("<H", 0)
        chunks = struct.pack("<4sI", b"fmt ", len(layout)) + layout
        chunks += struct.pack("<4sII", b"fact", 4, data_bytes // width)
    # RIFF chunks are aligned to even positions: data of odd length is followed by one padding byte.
    riff_bytes = 4 + len(chunks) + 8 + data_bytes + data_bytes % 2
    return struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + chunks + struct.pack("<4sI", b"data", data_bytes)


class WavWriter:
    """Writes a WAV file; a context manager. The file is valid once it is closed.

    A pipe takes no sizes afterwards: there the header promises as much as a WAV file can hold, which readers take for
    an open length.
    """

    def __init__(self, path: Path | str, audio_format: Format) -> None:
        self._format = audio_format
        self._data_bytes = 0
        self._file = Path(path).open("wb")  # noqa: SIM115 (`close` closes it)
        self._has_sizes = self._file.seekable()
        self._file.write(wav_header(audio_format, 0 if self._has_sizes else _OPEN_DATA_BYTES))

    def write(self, data: bytes) -> None:
        """Append samples in the format of the file.

        Raises:
            OSError: the file cannot be written or would exceed 4 GiB.
        """
        if self._has_sizes and self._data_bytes + len(data) > _MAX_DATA_BYTES:
            raise OSError("a WAV file cannot hold more than 4 GiB: write several files, or raw samples")
        self._file.write(data)
        self._data_bytes += len(data)

    def close(self) -> None:
        """Write the sizes into the header and close the file. May be called more than once."""
        if self._file.closed:
            return
        if self._has_sizes:
            self._file.write(b"\0" * (self._data_bytes % 2))
            self._file.seek(0)
            self._file.write(wav_header(self._format, self._data_bytes))
        self._file.close()

    def __enter__(self) -> "WavWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_wav(path: Path | str, audio_format: Format, data: bytes) -> None:
    """Write a WAV file at once."""
    with WavWriter(path, audio_format) as file:
        file.write(data)
