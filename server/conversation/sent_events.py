"""What was sent of a stream and may have been lost on its way, for a client that resumes it."""

from collections import deque
from itertools import islice

from intone.server.events import AudioChunk, AudioPosition, Done, Interrupted, ServerEvent

EVENT_BYTES = 256
"""What an event counts beside its audio and its text."""


class SentEvents:
    """The last events of a stream, from the oldest that its client may lack.

    Args:
        max_bytes: of events that are kept; the oldest are dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: deque[ServerEvent] = deque()
        self._kept_bytes = 0
        self._count = 0

    @property
    def kept_bytes(self) -> int:
        """Size of the events that are kept."""
        return self._kept_bytes

    def add(self, event: ServerEvent) -> None:
        """An event is sent."""
        self._kept.append(event)
        self._count += 1
        self._kept_bytes += _bytes(event)
        while self._kept_bytes > self._max_bytes:
            self._drop()

    def played(self, position: AudioPosition) -> None:
        """The client has played audio, so it has received that, and everything before it."""
        received = 0
        for number, event in enumerate(self._kept, 1):
            if isinstance(event, AudioChunk) and event.utterance_id == position.utterance_id:
                if event.offset_samples >= position.sample:
                    break
                received = number
        for _ in range(received):
            self._drop()

    def after(self, received: int) -> list[ServerEvent] | None:
        """The events from number `received` on; None if some of them are not kept, or were never sent."""
        oldest = self._count - len(self._kept)
        if not oldest <= received <= self._count:
            return None
        return list(islice(self._kept, received - oldest, None))

    def _drop(self) -> None:
        self._kept_bytes -= _bytes(self._kept.popleft())


def _bytes(event: ServerEvent) -> int:
    if isinstance(event, AudioChunk):
        return EVENT_BYTES + len(event.data)
    if isinstance(event, Interrupted):
        return EVENT_BYTES + sum(len(cut.heard_text) + len(cut.unheard_text) for cut in event.cuts)
    return 4 * EVENT_BYTES if isinstance(event, Done) else EVENT_BYTES
