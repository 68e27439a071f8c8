"""Plays audio on the sound device while it arrives, and counts how much has been played."""

import asyncio
import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from intone.client.audio import Samples
from intone.client.extras import MissingExtraError

_DEVICE_BUFFER_MS = 60
_DEVICE_POLL_S = 0.02


class PlaybackBuffer:
    """Queue between the network and the sound device. Thread-safe.

    Args:
        start_samples: playback begins once this much audio is queued, or once `complete` was called: a jitter buffer.
    """

    def __init__(self, start_samples: int = 0) -> None:
        self._lock = threading.Lock()
        self._waiting = np.zeros(0, np.float32)
        self._start_samples = start_samples
        self._running = False
        self._complete = False
        self._played_samples = 0
        self._underrun_samples = 0

    def write(self, samples: Samples) -> None:
        """Append audio."""
        with self._lock:
            self._waiting = np.concatenate([self._waiting, samples])

    def complete(self) -> None:
        """Mark the end of the audio."""
        with self._lock:
            self._complete = True

    def drop(self) -> None:
        """Discard what has not been taken, and mark the end of the audio. For interruptions."""
        with self._lock:
            self._waiting = self._waiting[:0]
            self._complete = True

    def take(self, count: int) -> Samples:
        """Take the next `count` samples; missing ones are replaced by silence."""
        with self._lock:
            self._running = self._running or self._complete or len(self._waiting) >= max(self._start_samples, 1)
            audio = self._waiting[: count if self._running else 0]
            self._waiting = self._waiting[len(audio) :]
            self._played_samples += len(audio)
            if self._running and not self._complete:
                self._underrun_samples += count - len(audio)
        return np.pad(audio, (0, count - len(audio)))

    @property
    def played_samples(self) -> int:
        """Samples taken so far, without the silence that was inserted."""

        with self._lock:
            return self._played_samples

    @property
    def underrun_samples(self) -> int:
        """Samples of silence inserted after playback began."""
        with self._lock:
            return self._underrun_samples

    @property
    def finished(self) -> bool:
        """Whether all audio has been taken and its end was marked."""
        with self._lock:
            return self._complete and not len(self._waiting)


class Player:
    """The default sound device of this machine. Write audio to `buffer`.

    Audio counts as played once it was handed to the device. The device buffers 60 ms, so the listener is at most that
    much behind.

    Args:
        cushion_ms: jitter buffer: audio to queue before playback begins.
        backends: backends of miniaudio to try, in order; None tries all.

    Raises:
        MissingExtraError: miniaudio is not installed.
        OSError: no sound device can be opened.
    """

    def __init__(self, sample_rate_hz: int, *, cushion_ms: int = 0, backends: Sequence[Any] | None = None) -> None:
        try:
            import miniaudio  # an optional dependency
        except ImportError as error:
            raise MissingExtraError("playing audio", "play") from error
        self._rate_hz = sample_rate_hz
        self.buffer = PlaybackBuffer(cushion_ms * sample_rate_hz // 1000)
        try:
            self._device = miniaudio.PlaybackDevice(
                output_format=miniaudio.SampleFormat.FLOAT32,
                nchannels=1,
                sample_rate=sample_rate_hz,
                buffersize_msec=_DEVICE_BUFFER_MS,
                backends=backends,
            )
        except miniaudio.MiniaudioError as error:
            raise OSError(f"no sound device can be opened: {error}") from error
        source = _device_source(self.buffer)
        next(source)
        self._device.start(source)

    @property
    def played_ms(self) -> int:
        """Audio played so far, in milliseconds."""
        return 1000 * self.buffer.played_samples // self._rate_hz

    async def drain(self) -> None:
        """Wait until everything has been played. Call `buffer.complete` first."""
        while not self.buffer.finished:  # noqa: ASYNC110
            await asyncio.sleep(_DEVICE_POLL_S)  # the device's thread cannot wake the event loop
        await asyncio.sleep(_DEVICE_BUFFER_MS / 1000)

    def close(self) -> None:
        """Stop playback immediately and release the device."""
        self._device.close()


def _device_source(buffer: PlaybackBuffer) -> Generator[Any, int, None]:
    """Generator that miniaudio pulls audio from: it sends a number of samples and receives an array `[count, 1]`."""

    count = yield b""
    while True:
        count = yield buffer.take(count)[:, None]
