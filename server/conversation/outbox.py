"""The queue of events on their way to one client: in order, with audio held back by the lead limit."""

import asyncio
from collections import deque
from dataclasses import dataclass

from intone.server.conversation.audio_counts import AudioCounts
from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.conversation.waiting import wait_for_event
from intone.server.errors import IntoneError
from intone.server.events import AudioChunk, DoneReason, Notice, NoticeCode, ServerEvent

MAX_QUEUED_MS = 400.0
"""Audio that may be queued; with more, `wait_for_room` blocks the producer."""

STALL_MESSAGE = (
    "audio waits because the reported position of playback does not move: send `playback` every 100 to 500 ms, or never"
)


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """Follows the last audio of an utterance. The session sends `Done` in its place, with figures that are complete
    only once everything before it has left."""

    utterance_id: str
    reason: DoneReason
    error: IntoneError | None = None


QueuedEvent = ServerEvent | UtteranceEnd


class Outbox:
    """A queue with one reader, which iterates it. Urgent events overtake the others.

    When it gives out a chunk, the chunk counts as sent: `Playback` then expects the client to play it.
    """

    def __init__(self, playback: Playback, limiter: LeadLimiter, counts: AudioCounts | None = None) -> None:
        """`counts`: audio that is discarded is added to them."""
        self._playback, self._limiter, self._counts = playback, limiter, counts or AudioCounts()
        self._urgent: deque[ServerEvent] = deque()
        self._ordered: deque[tuple[str, QueuedEvent]] = deque()
        self._queued_ms = 0.0
        self._stall_noted = False
        self._closed = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()

    @property
    def urgent_count(self) -> int:
        """Number of urgent events that wait."""
        return len(self._urgent)

    @property
    def queued_count(self) -> int:
        """Number of events that wait, urgent ones too."""
        return len(self._urgent) + len(self._ordered)

    @property
    def queued_ms(self) -> float:
        """Duration of the queued audio."""
        return self._queued_ms

    @property
    def unwanted_s(self) -> float:
        """How long audio has waited for a client that could have played all that it was sent; 0 if none waits.

        Such a client reads nothing, or its playback has paused.
        """
        return self._playback.overdue_s if self._queued_ms else 0.0

    def put(self, utterance_id: str, event: QueuedEvent) -> None:
        """Append an event. `discard` removes it by `utterance_id`; empty for an event that is never discarded."""
        self._ordered.append((utterance_id, event))
        if isinstance(event, AudioChunk):
            self._queued_ms += event.duration_ms
        self._changed.set()

    def put_urgent(self, event: ServerEvent) -> None:
        """Append an event that leaves before all events that are not urgent."""
        self._urgent.append(event)
        self._changed.set()

    def discard(self, utterance_id: str) -> None:
        """Remove all events of an utterance, except urgent ones."""
        kept = [(owner, event) for owner, event in self._ordered if owner != utterance_id]
        self._ordered = deque(kept)
        kept_ms = sum(event.duration_ms for _, event in kept if isinstance(event, AudioChunk))
        self._counts.unsent_s += (self._queued_ms - kept_ms) / 1000
        self._queued_ms = kept_ms
        self.wake()
        self._drained.set()

    def clear(self) -> None:
        """Remove all events, urgent ones too."""
        self._urgent.clear()
        self._ordered.clear()
        self._counts.unsent_s += self._queued_ms / 1000
        self._queued_ms = 0.0
        self._drained.set()

    async def wait_for_room(self) -> None:
        """Wait until more audio may be queued."""
        while self._queued_ms > MAX_QUEUED_MS:
            self._drained.clear()
            await self._drained.wait()

    def wake(self) -> None:
        """Check the lead limit again, because playback has moved."""
        self._changed.set()

    def close(self, failure: Exception | None = None) -> None:
        """End the iteration: without `failure` once the queue is empty, else by raising it after the urgent events."""
        self._closed, self._failure = True, failure
        self._changed.set()

    def __aiter__(self) -> "Outbox":
        return self

    async def __anext__(self) -> QueuedEvent:
        """Wait for the next event that may leave.

        Raises:
            Exception: the `failure` given to `close`.
        """
        while True:
            self._changed.clear()
            event, wait_ms = self._next()
            if event is not None:
                return event
            if self._failure is not None:
                raise self._failure
            if self._closed and not self._ordered:
                raise StopAsyncIteration
            await wait_for_event(self._changed, None if wait_ms is None else wait_ms / 1000)

    def _next(self) -> tuple[QueuedEvent | None, float | None]:
        """An event that may leave now; or None and the time until one may, None if time alone does not release it."""
        if self._urgent:
            return self._urgent.popleft(), None
        if self._failure is not None or not self._ordered:
            return None, None
        utterance_id, event = self._ordered[0]
        if isinstance(event, AudioChunk):
            wait_ms = self._limiter.wait_ms(event.duration_ms)
            if wait_ms is None:
                return self._held_for_a_report()
            if wait_ms > 0:
                return None, wait_ms
            self._stall_noted = False
            self._queued_ms -= event.duration_ms
            self._playback.audio_sent(utterance_id, event.sample_count)
            self._drained.set()
        self._ordered.popleft()
        return event, None

    def _held_for_a_report(self) -> tuple[QueuedEvent | None, float | None]:
        """Audio waits for a report: one notice once playback has stalled."""
        if self._stall_noted:
            return None, None
        wait_s = self._playback.stalls_in_s
        if wait_s > 0:
            return None, 1000 * wait_s
        self._stall_noted = True
        return Notice(NoticeCode.PLAYBACK_STALLED, STALL_MESSAGE), None
