"""Reports the playback position to the server at regular intervals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError

PROGRESS_INTERVAL_S = 0.2


@asynccontextmanager
async def report_playback_progress(
    conversation: Conversation, played_ms: Callable[[], int | None]
) -> AsyncIterator[None]:
    """Report the playback position every `PROGRESS_INTERVAL_S` while the context lasts.

    Args:
        played_ms: returns how much of the stream's audio has been played by now, in milliseconds; None or 0 reports
            nothing.
    """

    async def report() -> None:
        reported_ms = 0
        with suppress(IntoneCallError):  # the reader of the conversation gets the same error
            while True:
                await asyncio.sleep(PROGRESS_INTERVAL_S)
                now_ms = played_ms() or 0
                if now_ms > reported_ms:
                    await conversation.progress(now_ms)
                    reported_ms = now_ms

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
