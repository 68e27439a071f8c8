"""A bidirectional gRPC call that reads and writes concurrently and always reports how the call ended."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from intone.client.call_status import STATUS_TIMEOUT_S, CallStatus
from intone.client.errors import IntoneCallError

_SLOW_WRITE_S = 0.1
"""A write that takes longer is blocked by flow control; the server may be waiting for us to read."""

_CALL_ENDED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What gRPC raises from reads and writes once the call has ended. These do not say reliably why: see `CallStatus`."""


class Call:
    """A call whose reads and writes run in separate tasks, so that neither direction blocks the other.

    gRPC delivers the status of a call only after every message before it has been read. A writer that waits for the
    status would therefore deadlock if nobody reads. So one message is read ahead, and all of them once a write is
    blocked or has failed. Cancelling a task that waits in `read` or `write` does not end the call.

    Args:
        call: a bidirectional call that has just been started.
        first: messages to write before all others. Writing has begun when the constructor returns; see `written`.
        end: half-close after `first`.
    """

    def __init__(self, call: Any, first: Sequence[Message] = (), *, end: bool = False) -> None:
        self._call = call
        self._status = CallStatus(call)
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._read_more = asyncio.Event()
        self._read_all = False
        self._writing = asyncio.create_task(self._write(first, end))
        self._reading = asyncio.create_task(self._read())

    async def read(self) -> Any:
        """Return the next response, or `grpc.aio.EOF` after the last one.

        Raises:
            IntoneCallError: the call has failed.
        """
        response = await self._inbox.get()
        self._read_more.set()
        if response is grpc.aio.EOF:
            self._inbox.put_nowait(response)  # later reads get EOF too
            if (failure := self._status.failure()) is not None:
                raise failure
        return response

    async def write(self, *messages: Message, end: bool = False) -> None:
        """Write messages, and half-close afterwards if `end` is set. Only one task may write at a time.

        Raises:
            IntoneCallError: the call has ended.
        """
        await self.written()  # a cancelled caller may have left a write in progress
        self._writing = asyncio.create_task(self._write(messages, end))
        await self.written()

    async def written(self) -> None:
        """Wait until no write is in progress.

        Raises:
            IntoneCallError: the call has ended.
        """
        await asyncio.wait({self._writing, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        if self._writing.done() and not self._writing.cancelled() and self._writing.result():
            return
        self._set_read_all(True)
        await _wait_or_cancel(self._reading)
        closed = IntoneCallError(grpc.StatusCode.FAILED_PRECONDITION, "the server has closed this call")
        raise self._status.failure() or closed

    async def close(self) -> None:
        """End the call at once. Tasks that still read or write get an `IntoneCallError` with code CANCELLED."""
        self._call.cancel()
        self._writing.cancel()
        self._set_read_all(True)
        await _wait_or_cancel(self._reading, self._writing)

    async def _write(self, messages: Sequence[Message], end: bool) -> bool:
        """Write; return whether it succeeded. Runs as a task because gRPC ends the call when a write is cancelled."""
        slow = asyncio.get_running_loop().call_later(_SLOW_WRITE_S, self._set_read_all, True)
        succeeded = False
        try:
            for message in messages:
                await self._call.write(message)
            if end:
                await self._call.done_writing()
            succeeded = True
        except _CALL_ENDED:
            pass  # the reading task finds out why
        finally:
            slow.cancel()
            self._set_read_all(not succeeded)
        return succeeded

    async def _read(self) -> None:
        """Read until the call ends, one message ahead of `read`."""
        try:
            with contextlib.suppress(*_CALL_ENDED):
                # Not `self._call.read()`: it returns nothing more once a write has failed.
                async for response in self._call:
                    self._inbox.put_nowait(response)
                    while not self._inbox.empty() and not self._read_all:
                        self._read_more.clear()
                        await self._read_more.wait()
            await self._status.settle()
        except asyncio.CancelledError:
            self._call.cancel()  # in case this task was cancelled for another reason than the end of the call
        finally:
            self._inbox.put_nowait(grpc.aio.EOF)
            # gRPC never completes a write that waits for the connection when the call is cancelled.
            self._writing.cancel()

    def _set_read_all(self, read_all: bool) -> None:
        """Read everything that arrives, or only one message ahead."""
        self._read_all = read_all
        self._read_more.set()


async def _wait_or_cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Wait for tasks that should finish soon; cancel those that do not."""
    _, late = await asyncio.wait(tasks, timeout=STATUS_TIMEOUT_S)
    for task in late:
        task.cancel()
