"""Decodes the files of phones' recorders, AAC or ALAC in an MP4 container or AAC alone, with PyAV (the extra `m4a`).

Only these containers and encodings of the many that FFmpeg reads are opened.
"""

import importlib.util
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from intone.server.domain import Samples

CONTAINERS = {"m4a": "mov", "mp4": "mov", "3gp": "mov", "mov": "mov", "aac": "aac"}
"""Extension → FFmpeg's name of the demuxer."""

_CODECS = ("aac", "alac")


def is_available() -> bool:
    """Whether PyAV is installed."""
    found = importlib.util.find_spec("av")
    return found is not None and found.origin is not None  # without one it is only a folder of that name


def to_wav(data: bytes, extension: str, max_ms: int) -> bytes:
    """The sound of a file as a WAV file of float32 with its rate and channels; no more than a block beyond `max_ms`.

    Args:
        data: the whole file.
        extension: of `CONTAINERS`.
        max_ms: what is longer is not decoded.

    Raises:
        ValueError: the file is damaged, or has no sound, or another encoding.
    """
    import av  # optional, and loads FFmpeg

    options = {"codec_whitelist": ",".join(_CODECS)}
    try:
        with av.open(io.BytesIO(data), format=CONTAINERS[extension], options=options) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise ValueError("it has no sound")
            if stream.codec_context.name not in _CODECS:
                raise ValueError(f"its encoding is {stream.codec_context.name}")
            rate_hz = int(stream.codec_context.sample_rate)
            blocks = list(_blocks(container, stream, max_ms * rate_hz // 1000))
    except (av.FFmpegError, OSError) as error:
        raise ValueError(error.strerror or type(error).__name__) from error
    if not blocks:
        raise ValueError("it has no sound")
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(blocks), rate_hz, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _blocks(container: Any, stream: Any, max_samples: int) -> Iterator[Samples]:
    """Decoded samples `[T, channels]`, float32, until there are more than `max_samples`."""
    import av

    stream.thread_count = 1
    resampler = av.AudioResampler(format="flt")  # converts the format alone
    total = 0
    for frame in container.decode(stream):
        for converted in resampler.resample(frame):
            samples = np.asarray(converted.to_ndarray(), np.float32)
            yield samples.reshape(-1, len(converted.layout.channels))
            total += converted.samples
        if total > max_samples:
            return
