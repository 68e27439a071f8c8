"""Waiting for an event with a time limit."""

import asyncio


async def wait(event: asyncio.Event, timeout_s: float | None) -> None:
    """Until `event` is set, or `timeout_s` seconds have passed; None waits without limit.

    A timer that sets the event, since `asyncio.wait_for` before Python 3.12 swallows a cancellation that arrives
    together with the result. Whoever waits must therefore look at what the event stands for, not at the event.
    """
    timer = None if timeout_s is None else asyncio.get_running_loop().call_later(timeout_s, event.set)
    try:
        await event.wait()
    finally:
        if timer is not None:
            timer.cancel()
