"""Playing audio while it comes, and knowing how much of it has been heard. Knows a sound device, nothing of gRPC."""

import asyncio
import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from intone.client.audio import Samples
from intone.client.extras import MissingExtraError

_DEVICE_BUFFER_MS = 60
_POLL_S = 0.02


class PlaybackBuffer:
    """Audio between the network and the device. Every method may be called from any thread.

    Args:
        start_samples: playback begins once this much has come, or once nothing more will: a cushion against jitter.
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
        """Say that nothing more will come."""
        with self._lock:
            self._complete = True

    def drop(self) -> None:
        """Throw away what has not been taken: the user has interrupted."""
        with self._lock:
            self._waiting = self._waiting[:0]
            self._complete = True

    def take(self, count: int) -> Samples:
        """The next `count` samples, filled up with silence where there are fewer."""
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
        """Audio taken so far; silence that filled up does not count."""
        with self._lock:
            return self._played_samples

    @property
    def underrun_samples(self) -> int:
        """Silence that had to be put in after playback began."""
        with self._lock:
            return self._underrun_samples

    @property
    def finished(self) -> bool:
        """Whether all audio has been taken and nothing more will come."""
        with self._lock:
            return self._complete and not len(self._waiting)


class Player:
    """The sound device of this machine.

    What it counts as played has been handed to the device, whose own buffer is 60 ms long: the listener is at most that
    much behind.

    Args:
        cushion_ms: audio to wait for before playback begins.
        backends: of miniaudio; None takes the first that works.

    Raises:
        MissingExtraError: miniaudio is not installed.
        OSError: there is no sound device.
    """

    def __init__(self, sample_rate_hz: int, *, cushion_ms: int = 0, backends: Sequence[Any] | None = None) -> None:
        try:
            import miniaudio  # optional: most callers have their own way to play
        except ImportError as error:
            raise MissingExtraError("playing", "play") from error
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
        """How much has been played."""
        return 1000 * self.buffer.played_samples // self._rate_hz

    async def drain(self) -> None:
        """Wait until everything has been heard. Call `buffer.complete` first."""
        while not self.buffer.finished:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)  # the device's thread knows no event loop
        await asyncio.sleep(_DEVICE_BUFFER_MS / 1000)

    def close(self) -> None:
        """Stop at once and release the device."""
        self._device.close()


def _device_source(buffer: PlaybackBuffer) -> Generator[Any, int, None]:
    """What miniaudio asks for samples: it sends how many it wants and is given them, `[count, 1]`."""
    count = yield b""
    while True:
        count = yield buffer.take(count)[:, None]
