"""A bidirectional gRPC call whose reader and writer always learn how it ended."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from intone.client.call_status import STATUS_TIMEOUT_S, CallStatus
from intone.client.errors import error_for, timed_out

_CALL_ENDED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What gRPC raises from reads and writes once the call has ended. These do not say reliably why: see `CallStatus`."""


class Call:
    """A call that one task reads from beginning to end while others write.

    gRPC delivers the status of a call only after every message before it has been read, so a writer learns why its
    write failed once the reader has come to the end. Cancelling a task that waits in `write` does not end the call.

    Args:
        call: a bidirectional call that has just been started.
        first: messages to write before all others. Writing has begun when the constructor returns; see `written`.
    """

    def __init__(self, call: Any, first: Sequence[Message] = ()) -> None:
        self._call = call
        self._status = CallStatus(call)
        self._cancelled = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writing = asyncio.create_task(self._write(first))

    async def responses(self) -> AsyncGenerator[Any, None]:
        """The responses, to the end of the call. Used once, by one task.

        Raises:
            IntoneError: the call has failed.
        """
        try:
            with contextlib.suppress(*_CALL_ENDED), self._suppress_own_cancellation():
                # Not `self._call.read()`: it returns nothing more once a write has failed.
                async for response in self._call:
                    yield response
            await self._status.settle()
        finally:
            self._call.cancel()  # has no effect on a call that has ended
            # gRPC never completes a write that waits for the connection when the call is cancelled.
            self._writing.cancel()
            if not self._ended.done():
                self._ended.set_result(None)
        if (failure := self._status.failure()) is not None:
            raise failure

    async def write(self, message: Message, timeout_s: float | None = None) -> None:
        """Write a message. Only one task may write at a time, and only after `written`.

        Raises:
            IntoneError: the call has ended; TimedOut if the server has not taken the message in time.
        """
        self._writing = asyncio.create_task(self._write((message,)))
        await self.written(timeout_s)

    def write_later(self, messages: Sequence[Message]) -> None:
        """Begin to write messages; see `written`. As `write`, only while no other write is in progress."""
        self._writing = asyncio.create_task(self._write(messages))

    async def ended(self) -> None:
        """Wait until the reader has come to the end."""
        await asyncio.wait({self._ended})

    async def written(self, timeout_s: float | None = None) -> None:
        """Wait until no write is in progress.

        Raises:
            IntoneError: the call has ended, or TimedOut.
        """
        waits: set[asyncio.Future[Any]] = {self._writing, self._ended}
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and timeout_s is not None:
            raise timed_out("room for another message", timeout_s)
        if self._writing.done() and not self._writing.cancelled() and self._writing.result():
            return
        await asyncio.wait({self._ended}, timeout=STATUS_TIMEOUT_S)
        closed = error_for(grpc.StatusCode.FAILED_PRECONDITION, "the server has closed this call")
        raise self._status.failure() or closed

    def cancel(self) -> None:
        """End the call at once. The reader and the writers get `Cancelled`."""
        self._cancelled = True
        self._call.cancel()

    @contextlib.contextmanager
    def _suppress_own_cancellation(self) -> Iterator[None]:
        """gRPC raises CancelledError from reads of a call that `cancel` has ended, though no task was cancelled."""
        try:
            yield
        except asyncio.CancelledError:
            if not self._cancelled:
                raise

    async def _write(self, messages: Sequence[Message]) -> bool:
        """Write; return whether it succeeded. Runs as a task because gRPC ends the call when a write is cancelled."""
        try:
            for message in messages:
                await self._call.write(message)
        except _CALL_ENDED:
            return False  # the reader finds out why
        return True
