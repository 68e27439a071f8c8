"""Waiting for an asyncio event with a time limit."""

import asyncio


async def wait_for_event(event: asyncio.Event, timeout_s: float | None) -> None:
    """Wait until `event` is set or `timeout_s` seconds have passed; None is no limit.

    On a timeout the event is set too, so callers check the condition behind the event, not the event. The reason:
    before Python 3.12, `asyncio.wait_for` loses a cancellation that coincides with the result.
    """
    timer = None if timeout_s is None else asyncio.get_running_loop().call_later(timeout_s, event.set)
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()
