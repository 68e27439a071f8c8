"""Receives the recordings of new voices, within limits of number, size and time, into temporary files."""

import asyncio
import contextlib
import errno
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import IO, Any

from intone.server.config import Config
from intone.server.errors import CallerError, OverloadError, Reason, ShutdownError
from intone.server.rpc import voice_requests
from intone.server.rpc.quotas import Quota
from intone.server.rpc.voice_requests import NewVoice, decoded
from intone.server.runtime.thread_pools import ThreadPool

DISK_RETRY_S = 60.0

MAX_BYTES_IN_MEMORY = 1 << 20
"""Of one upload; what is longer is in a temporary file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is said about a new voice, and the file of its recording, which is deleted when it is closed."""

    new: NewVoice
    file: IO[bytes]

    def read(self) -> bytes:
        """The bytes of the recording's file. Not for the event loop."""
        self.file.seek(0)
        return self.file.read()


class Uploads:
    """The uploads of a server."""

    def __init__(self, config: Config, disk: ThreadPool, check: Callable[[NewVoice], None]) -> None:
        """`check`: raises CallerError for what no recording could make possible, before the recording is received."""
        self._config, self._disk, self._check = config, disk, check
        limits = config.max_uploads, config.max_uploads_per_caller
        self._quota = Quota("uploads", "max_uploads", Reason.UPLOADS_EXHAUSTED, *limits)
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Refuse new uploads, and end those that are still being received."""
        self._draining.set()

    @property
    def count(self) -> int:
        """Uploads that are being received or prepared."""
        return self._quota.count

    @contextlib.asynccontextmanager
    async def received(self, messages: AsyncIterator[Any], caller: str) -> AsyncIterator[Upload]:
        """Receive an upload of `caller`, see `quotas.caller_of`; its place is free again at the end of the context.

        Raises:
            OverloadError: there are as many uploads as may be (UPLOADS_EXHAUSTED), or no room for it (STORAGE_FULL).
            CallerError: it is invalid, too large (UPLOAD_TOO_LARGE) or too slow (UPLOAD_TIMEOUT).
            ShutdownError: the server is shutting down.
        """
        self._check_draining()
        with self._quota.place(caller), tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY) as file:
            yield await self._receive(messages, file)

    async def _receive(self, messages: AsyncIterator[Any], file: IO[bytes]) -> Upload:
        new, size, limit = None, 0, self._config.max_recording_bytes
        end_s = asyncio.get_running_loop().time() + self._config.upload_timeout_s
        while (message := await self._next(messages, end_s)) is not None:
            if new is None:
                new = voice_requests.first_upload_message(decoded(message))
                self._check(new)
                continue
            piece = voice_requests.later_upload_message(decoded(message))
            size += len(piece)
            if size > limit:
                text = f"has more than {limit} bytes, the maximum of this server"
                raise CallerError("audio", text, Reason.UPLOAD_TOO_LARGE, limit=limit)
            await self._write(file, piece)
        if new is None:
            raise CallerError("config", "must come first, but the upload was empty", Reason.CONFIG_MISSING)
        return Upload(new, file)

    async def _write(self, file: IO[bytes], piece: bytes) -> None:
        try:
            await self._disk.run(file.write, piece)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                message = "the server's disk for temporary files is full"
                raise OverloadError(message, DISK_RETRY_S, Reason.STORAGE_FULL) from error
            raise

    async def _next(self, messages: AsyncIterator[Any], end_s: float) -> Any | None:
        """The next message; None at the end."""
        left_s = end_s - asyncio.get_running_loop().time()
        limit_s = min(left_s, self._config.upload_pause_s)
        message = asyncio.ensure_future(anext(messages, None))
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({message, draining}, timeout=max(0.0, limit_s), return_when=asyncio.FIRST_COMPLETED)
            if message.done():
                return message.result()
        finally:
            message.cancel()
            draining.cancel()
        self._check_draining()
        if limit_s < self._config.upload_pause_s:
            text = f"did not end within {self._config.upload_timeout_s:g} s, the maximum of this server"
        else:
            text = f"paused for more than {limit_s:g} s"
        raise CallerError("audio", text, Reason.UPLOAD_TIMEOUT)

    def _check_draining(self) -> None:
        if self._draining.is_set():
            raise ShutdownError("the server is shutting down: connect again")
