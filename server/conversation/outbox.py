"""What a session has to say to its client, in order, and not too far ahead of the listener."""

import asyncio
from collections import deque
from collections.abc import Callable

from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.conversation.waiting import wait
from intone.server.events import AudioChunk, ServerEvent

Late = Callable[[], ServerEvent]
"""An event that is made when its turn comes: a report is only then complete."""

QUEUE_MS = 400.0
"""AudioChunk that may wait here; past it, whoever speaks has to wait."""


class Outbox:
    """A queue with one reader. AudioChunk waits for the lead limit; urgent events overtake it."""

    def __init__(self, playback: Playback, limiter: LeadLimiter, sent: Callable[[ServerEvent], None]) -> None:
        """`sent` is told of every event as it leaves."""
        self._playback, self._limiter, self._sent = playback, limiter, sent
        self._urgent: deque[ServerEvent] = deque()
        self._ordered: deque[tuple[str, ServerEvent | Late]] = deque()
        self._queued_ms = 0.0
        self._closed = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()

    @property
    def queued_ms(self) -> float:
        """AudioChunk that waits here."""
        return self._queued_ms

    def put(self, utterance_id: str, event: ServerEvent | Late) -> None:
        """Add an event behind the others. `utterance_id` is what `discard` finds it by; empty for none."""
        self._ordered.append((utterance_id, event))
        if isinstance(event, AudioChunk):
            self._queued_ms += event.duration_ms
        self._changed.set()

    def put_urgent(self, event: ServerEvent) -> None:
        """Add an event that does not wait for audio."""
        self._urgent.append(event)
        self._changed.set()

    def discard(self, utterance_id: str) -> None:
        """Take back everything of an utterance that has not left."""
        kept = [(owner, event) for owner, event in self._ordered if owner != utterance_id]
        self._ordered = deque(kept)
        self._queued_ms = sum(event.duration_ms for _, event in kept if isinstance(event, AudioChunk))
        self.wake()
        self._drained.set()

    async def room(self) -> None:
        """Wait until more audio may be added."""
        while self._queued_ms > QUEUE_MS:
            self._drained.clear()
            await self._drained.wait()

    def wake(self) -> None:
        """Playback has moved: look again."""
        self._changed.set()

    def close(self, failure: Exception | None = None) -> None:
        """End the iteration once everything has left, or at once with `failure`."""
        self._closed, self._failure = True, failure
        self._changed.set()

    def __aiter__(self) -> "Outbox":
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event that may leave.

        Raises:
            Exception: what `close` was given.
        """
        while True:
            self._changed.clear()
            event, wait_ms = self._next()
            if event is not None:
                self._sent(event)
                return event
            if self._failure is not None:
                raise self._failure
            if self._closed and not self._ordered:
                raise StopAsyncIteration
            await wait(self._changed, None if wait_ms is None else wait_ms / 1000)

    def _next(self) -> tuple[ServerEvent | None, float | None]:
        """An event that may leave now, or None and how long until time alone releases one."""
        if self._urgent:
            return self._urgent.popleft(), None
        if self._failure is not None or not self._ordered:
            return None, None
        utterance_id, event = self._ordered[0]
        if isinstance(event, AudioChunk):
            wait_ms = self._limiter.wait_ms(event.duration_ms)
            if wait_ms != 0.0:
                return None, wait_ms
            self._queued_ms -= event.duration_ms
            self._playback.sent(utterance_id, event.duration_ms)
            self._drained.set()
        self._ordered.popleft()
        return (event() if callable(event) else event), None
