"""Tells the server how far playback has come, while something is played. Knows no device."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError

PROGRESS_S = 0.2


@asynccontextmanager
async def playback_reports(conversation: Conversation, played_ms: Callable[[], int | None]) -> AsyncIterator[None]:
    """Report the position five times a second as long as the context lasts.

    Args:
        played_ms: of the stream's audio, what was played by now; None where nothing is played, which is not told.
    """

    async def report() -> None:
        told_ms = 0
        with suppress(IntoneCallError):  # the reader hears of it
            while True:
                await asyncio.sleep(PROGRESS_S)
                now_ms = played_ms() or 0
                if now_ms > told_ms:
                    await conversation.progress(now_ms)
                    told_ms = now_ms

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
