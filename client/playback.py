"""Plays audio on the sound device while it arrives, and knows which sample of which utterance was played last."""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from intone.client.audio import Format, Samples
from intone.client.events import AudioPosition
from intone.client.extras import MissingExtraError

_STDERR = 2
_DEVICE_BUFFER_MS = 60
_DEVICE_POLL_S = 0.02


class HasId(Protocol):
    """An utterance."""

    id: str


class PlaybackBuffer:
    """Queue between the network and the sound device. Thread-safe.

    Args:
        start_samples: playback begins once this much audio is queued, or once `complete` was called: a jitter buffer.
    """

    def __init__(self, start_samples: int = 0) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, Samples]] = deque()
        self._start_samples = start_samples
        self._running = False
        self._complete = False
        self._taken: dict[str, int] = {}
        self._position: AudioPosition | None = None
        self._played_samples = 0
        self._underrun_samples = 0

    def write(self, utterance_id: str, samples: Samples) -> None:
        """Append audio of an utterance: all of it, in order, from its first sample on."""
        with self._lock:
            self._waiting.append((utterance_id, samples))

    def complete(self) -> None:
        """Mark the end of the audio."""
        with self._lock:
            self._complete = True

    def drop(self, utterance_id: str | None = None) -> None:
        """Discard what has not been taken, of one utterance or of all. For interruptions."""
        with self._lock:
            kept = [part for part in self._waiting if utterance_id not in (None, part[0])]
            self._waiting = deque(kept)
            self._running = self._running and bool(kept)  # the silence that follows is not an underrun

    def take(self, count: int) -> Samples:
        """Take the next `count` samples; missing ones are replaced by silence."""
        with self._lock:
            self._running = self._running or self._complete or self._queued >= max(self._start_samples, 1)
            audio = self._take(count) if self._running else np.zeros(0, np.float32)
            if self._running and not self._complete:
                self._underrun_samples += count - len(audio)
        return np.pad(audio, (0, count - len(audio)))

    @property
    def _queued(self) -> int:
        return sum(len(samples) for _, samples in self._waiting)

    def _take(self, count: int) -> Samples:
        parts: list[Samples] = [np.zeros(0, np.float32)]
        while count and self._waiting:
            utterance_id, samples = self._waiting.popleft()
            part, rest = samples[:count], samples[count:]
            if len(rest):
                self._waiting.appendleft((utterance_id, rest))
            parts.append(part)
            count -= len(part)
            sample = self._taken.get(utterance_id, 0) + len(part)
            self._taken[utterance_id] = sample
            self._position = AudioPosition(utterance_id, sample)
            self._played_samples += len(part)
        return np.concatenate(parts)

    @property
    def position(self) -> AudioPosition | None:
        """What was taken last; None before the first audio."""
        with self._lock:
            return self._position

    @property
    def empty(self) -> bool:
        """Whether everything that was written has been taken."""
        with self._lock:
            return not self._waiting

    @property
    def played_samples(self) -> int:
        """Samples taken so far, without the silence that was inserted."""
        with self._lock:
            return self._played_samples

    @property
    def underrun_samples(self) -> int:
        """Samples of silence inserted after playback began, and before `complete`."""
        with self._lock:
            return self._underrun_samples

    @property
    def finished(self) -> bool:
        """Whether all audio has been taken and its end was marked."""
        with self._lock:
            return self._complete and not self._waiting


def require_miniaudio() -> None:
    """Check, before there is anything to play, that the library that plays it is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("miniaudio") is None:
        raise MissingExtraError("playing audio", "play")


class Player:
    """The default sound device of this machine; a context manager.

    Audio counts as played once it was handed to the device. The device buffers 60 ms, so the listener is at most that
    much behind.

    Args:
        audio_format: of the audio to play, such as `conversation.configured.format`.
        cushion_ms: jitter buffer: audio to queue before playback begins.
        backends: backends of miniaudio to try, in order; None tries all.

    Raises:
        MissingExtraError: miniaudio is not installed.
        OSError: no sound device can be opened.
    """

    def __init__(self, audio_format: Format, *, cushion_ms: int = 0, backends: Sequence[Any] | None = None) -> None:
        require_miniaudio()
        import miniaudio  # an optional dependency

        self._format = audio_format
        self.buffer = PlaybackBuffer(cushion_ms * audio_format.sample_rate_hz // 1000)
        try:
            with _silent_libraries():
                self._device = miniaudio.PlaybackDevice(
                    output_format=miniaudio.SampleFormat.FLOAT32,
                    nchannels=1,
                    sample_rate=audio_format.sample_rate_hz,
                    buffersize_msec=_DEVICE_BUFFER_MS,
                    backends=backends,
                )
        except miniaudio.MiniaudioError as error:
            reason = ", ".join(map(str, error.args))
            raise OSError(f"no sound device can be opened ({reason})") from error
        source = _device_source(self.buffer)
        next(source)
        self._device.start(source)

    def write(self, utterance: HasId | str, pcm: bytes) -> None:
        """Queue samples of an utterance, given as an object or by its id: all of them, in order."""
        self.buffer.write(_id(utterance), self._format.decode(pcm))

    @property
    def position(self) -> AudioPosition | None:
        """What was played last, for `interrupt` and `report_playback`; None before the first audio."""
        return self.buffer.position

    def drop(self, utterance: HasId | str | None = None) -> None:
        """Discard what has not been played, of one utterance or of all. For interruptions."""
        self.buffer.drop(None if utterance is None else _id(utterance))

    def complete(self) -> None:
        """Mark the end of the audio, for `drain`."""
        self.buffer.complete()

    async def drain(self) -> None:
        """Wait until everything has been played. Call `complete` first."""
        while not self.buffer.finished:  # noqa: ASYNC110
            await asyncio.sleep(_DEVICE_POLL_S)  # the device's thread cannot wake the event loop
        await asyncio.sleep(_DEVICE_BUFFER_MS / 1000)

    def close(self) -> None:
        """Stop playback immediately and release the device."""
        self._device.close()

    def __enter__(self) -> "Player":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """While a device is opened, nothing is printed on standard error: ALSA writes dozens of lines where no card is."""
    sys.stderr.flush()
    try:
        kept, nothing = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no standard error
        yield
        return
    os.dup2(nothing, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nothing)


def _id(utterance: HasId | str) -> str:
    return utterance if isinstance(utterance, str) else utterance.id


def _device_source(buffer: PlaybackBuffer) -> Generator[Any, int, None]:
    """Generator that miniaudio pulls audio from: it sends a number of samples and receives an array `[count, 1]`."""
    count = yield b""
    while True:
        count = yield buffer.take(count)[:, None]
