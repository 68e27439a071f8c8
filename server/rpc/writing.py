"""Writes the responses of a call, and ends the call if its client does not read them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from intone.server.call_context import Call
from intone.server.errors import CallerError, Reason
from intone.server.rpc.rpc_errors import errors_as_status


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
            async for response in responses:
                limit_s = timeout_s + (call.unplayed_s() if call.unplayed_s is not None else 0.0)
                async with _deadline(limit_s):
                    await context.write(response)
                call.response_count += 1
    except _LateError:
        await _end_unread(context, timeout_s)


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

    As `asyncio.timeout`, which Python 3.10 lacks; `asyncio.wait_for` costs a task for each message before Python 3.12.

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
