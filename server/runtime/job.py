"""One unit on its way through an engine, as the event loop sees it. Knows neither engines nor streams."""

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from intone.server.domain import SpeakRequest, Step
from intone.server.errors import IntoneError

if TYPE_CHECKING:
    from intone.server.runtime.engine_thread import EngineThread


class Job:
    """One unit on its way through an engine: iterate it for its steps, on the event loop that submitted it.

    Iteration ends after the step that is `done`.

    Raises:
        CallerError: the engine cannot speak this text.
        EngineError: it failed.
    """

    def __init__(self, request: SpeakRequest, thread: "EngineThread") -> None:
        self.request = request
        self.submitted_s = time.monotonic()
        self.queue_ms: float | None = None
        self.synthesis_ms = 0.0
        self._thread = thread
        self.loop = asyncio.get_running_loop()
        self._steps: deque[Step | IntoneError] = deque()
        self._arrived = asyncio.Event()
        self._over = False
        # The fields below belong to the thread, but for `cancelled` and `backlog`, guarded by the thread's condition.
        self.state: Any = None
        self.cancelled = False
        self.backlog = 0

    def cancel(self) -> None:
        """Drop the unit; the step that is running finishes, none follows."""
        self._thread.drop(self)

    def __aiter__(self) -> "Job":
        return self

    async def __anext__(self) -> Step:
        if self._over:
            raise StopAsyncIteration
        while not self._steps:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._steps.popleft()
        self._thread.taken(self)
        if isinstance(item, IntoneError):
            self._over = True
            raise item
        self._over = item.done
        return item

    def accept(self, item: Step | IntoneError) -> None:
        """Take what the engine gave; on the event loop."""
        self._steps.append(item)
        self._arrived.set()
