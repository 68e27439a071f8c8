"""Reads uploaded sound files, each upload in a process of its own, whose time and memory are limited."""

from collections.abc import Callable, Sequence
from functools import partial

from intone.server.audio.recordings import MAX_RATE_HZ, SoundData, read_recordings
from intone.server.config import Config
from intone.server.domain import Recording
from intone.server.errors import CallerError, Reason
from intone.server.runtime.separate_call import SeparateCallError, SeparateCalls
from intone.server.runtime.thread_pools import ThreadPool

COPIES = 16
"""Of the longest recording, at the highest rate, that reading it may take memory for."""

FILE_COPIES = 4

SPARE_BYTES = 1 << 28
"""Memory for the libraries that read."""


class RecordingReader:
    """Reads uploads for a server. In its own process, if the settings say that it starts no others."""

    def __init__(self, config: Config, threads: ThreadPool) -> None:
        """`threads` wait for the processes."""
        self._threads = threads
        longest = config.max_recording_ms * MAX_RATE_HZ // 1000 * 4
        max_bytes = COPIES * longest + FILE_COPIES * config.max_recording_bytes + SPARE_BYTES
        self._calls = SeparateCalls(config.decoding_timeout_s, max_bytes) if config.processes else None

    async def read(self, files: Sequence[SoundData], *, min_ms: int, max_ms: int) -> list[Recording]:
        """The recordings in some files, see `read_recordings`.

        Raises:
            CallerError: a file cannot be used (RECORDING_INVALID), or it takes too long, or too much memory, to read.
        """
        return await self._threads.run(self._read, partial(read_recordings, files, min_ms=min_ms, max_ms=max_ms), files)

    def close(self) -> None:
        """End what is under way."""
        if self._calls is not None:
            self._calls.close()

    def _read(self, work: Callable[[], list[Recording]], files: Sequence[SoundData]) -> list[Recording]:
        if self._calls is None:
            return work()
        try:
            return self._calls(work)
        except SeparateCallError as error:
            field = files[0].field if len(files) == 1 else ""
            raise CallerError(field, f"cannot be decoded: {error}", Reason.RECORDING_INVALID) from error
