"""WAV files written while the audio comes. Knows the container, nothing of streams or the network."""

import struct
from pathlib import Path
from types import TracebackType

from intone.client.audio import Format

_FORMAT_TAGS = {"pcm_s16le": 1, "pcm_f32le": 3, "alaw": 6, "mulaw": 7}
_SIZE_MAX = 2**32 - 1


def wav_header(audio_format: Format, data_bytes: int) -> bytes:
    """Everything before the samples of a file with so many bytes of them."""
    tag, width = _FORMAT_TAGS[audio_format.encoding], audio_format.bytes_per_sample
    rate_hz = audio_format.sample_rate_hz
    layout = struct.pack("<HHIIHH", tag, 1, rate_hz, rate_hz * width, width, 8 * width)
    if tag == 1:
        chunks = struct.pack("<4sI", b"fmt ", len(layout)) + layout
    else:  # the standard asks for an (empty) extension and the count of samples in all that is not integer PCM
        layout += struct.pack("<H", 0)
        chunks = struct.pack("<4sI", b"fmt ", len(layout)) + layout
        chunks += struct.pack("<4sII", b"fact", 4, data_bytes // width)
    # Chunks start at even positions: an odd length of samples is followed by one byte that does not count.
    riff_bytes = 4 + len(chunks) + 8 + data_bytes + data_bytes % 2
    return struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + chunks + struct.pack("<4sI", b"data", data_bytes)


class WavWriter:
    """A file that can be played as soon as it is closed, as a context manager. Created with the first bytes."""

    def __init__(self, path: Path, audio_format: Format) -> None:
        self._format = audio_format
        self._data_bytes = 0
        self._file = path.open("wb")
        self._file.write(wav_header(audio_format, 0))

    def write(self, data: bytes) -> None:
        """Append samples, as bytes in the format of the file.

        Raises:
            OSError: it cannot be written, or would grow over the 4 GiB that the format can hold.
        """
        if self._data_bytes + len(data) > _SIZE_MAX - 1024:
            raise OSError("a WAV file cannot hold more than 4 GiB")
        self._file.write(data)
        self._data_bytes += len(data)

    def close(self) -> None:
        """Write the sizes into the header and close. May be called twice."""
        if self._file.closed:
            return
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


def write_wav(path: Path, audio_format: Format, data: bytes) -> None:
    """Write a whole file."""
    with WavWriter(path, audio_format) as file:
        file.write(data)
