"""Writes the responses of a call, and ends the call if its client does not read them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Any

from intone.server.call_context import Call
from intone.server.errors import CallerError, Reason
from intone.server.rpc.rpc_errors import errors_as_status

LOOKS = 8
"""Checks for a waiting write within the time that a write may take. A write is noticed at the next check, so it may
take up to two intervals longer."""

MAX_INTERVAL_S = 1.0
"""Longest time between two checks."""


async def write_all(responses: Any, context: Any, call: Call, timeout_s: float) -> None:
    """Write what a handler yields. It is closed before this returns, also when the call is cancelled.

    A write waits while gRPC's windows are full. Clients open them in large steps, so where audio runs ahead of playback
    a client that reads as slowly as it plays makes a write wait until all that it has is played; the time that a client
    may take to read begins then.

    Raises:
        CancelledError: the client read nothing for `timeout_s`, then as long not even the status that says so.
    """
    try:
        async with contextlib.aclosing(responses):
            with _Watch(call, timeout_s) as watch:
                async for response in responses:
                    watch.is_writing = True
                    await context.write(response)
                    watch.is_writing = False
                    watch.writes += 1
                    call.response_count += 1
    except asyncio.CancelledError:
        if not watch.take_back_cancellation():
            raise
        await _end_unread(context, timeout_s)


class _Watch:
    """Cancels the task that writes when one write has waited for too long; a context manager.

    It looks from time to time: a timer of its own for each write costs as much as the write.

    Attributes:
        is_writing: whether a write waits.
        writes: how many have ended.
    """

    def __init__(self, call: Call, timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.is_writing, self.writes = False, 0
        self._call, self._timeout_s, self._task = call, timeout_s, task
        self._loop = asyncio.get_running_loop()
        self._interval_s = min(timeout_s / LOOKS, MAX_INTERVAL_S)
        self._waiting: tuple[int, float] | None = None
        self._is_late = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "_Watch":
        self._look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def take_back_cancellation(self) -> bool:
        """Whether the task was cancelled here, and by nobody else; it then goes on."""
        if not self._is_late:
            return False
        uncancel = getattr(self._task, "uncancel", None)  # from Python 3.11 on
        return uncancel is None or uncancel() == 0

    def _look(self) -> None:
        now_s, unplayed_s = self._loop.time(), self._call.unplayed_s
        if not self.is_writing or (unplayed_s is not None and unplayed_s() > 0):
            self._waiting = None
        elif self._waiting is None or self._waiting[0] != self.writes:
            self._waiting = self.writes, now_s
        elif now_s - self._waiting[1] >= self._timeout_s:
            self._is_late = True
            self._task.cancel()
            return
        self._timer = self._loop.call_later(self._interval_s, self._look)


async def _end_unread(context: Any, timeout_s: float) -> None:
    """End a call whose client does not read.

    The status waits behind what was written. Where it is not read either, the call ends here all the same; gRPC keeps
    the status, and counts the call against those of its connection, until that is closed.
    """
    message = f"nothing was read for {timeout_s:g} s (write_timeout_s): read all responses as they come"
    error = CallerError("", message, Reason.WRITE_TIMEOUT, limit_s=f"{timeout_s:g}")
    try:
        async with _deadline(timeout_s), errors_as_status(context):
            raise error
    except _LateError:
        raise asyncio.CancelledError from None


class _LateError(Exception):
    """What was awaited has not ended in time."""


@contextlib.asynccontextmanager
async def _deadline(timeout_s: float) -> AsyncIterator[None]:
    """Cancel what is awaited inside after `timeout_s`.

    As `asyncio.timeout`, which Python 3.10 lacks.

    Raises:
        _LateError: it was cancelled.
    """
    task = asyncio.current_task()
    assert task is not None
    is_late = False

    def cancel() -> None:
        nonlocal is_late
        is_late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(timeout_s, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if not is_late:
            raise
        if uncancel := getattr(task, "uncancel", None):  # from Python 3.11 on
            uncancel()
        raise _LateError from None
    finally:
        timer.cancel()


async def only(response: Awaitable[Any]) -> AsyncIterator[Any]:
    """The response of a method that has one."""
    yield await response
