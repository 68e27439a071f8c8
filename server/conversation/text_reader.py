"""Makes units of the texts of one stream slice by slice, so that a long text does not hold up other streams."""

import asyncio
from collections import deque
from collections.abc import Callable

from intone.server.conversation.utterance import Utterance
from intone.server.errors import CallerError


class TextReader:
    """The first slice of a text is read at once, each further one in a turn of its own of the event loop."""

    def __init__(self, failed: Callable[[Utterance, CallerError], None]) -> None:
        """`failed` is called for an utterance whose text is invalid."""
        self._failed = failed
        self._unread: deque[Utterance] = deque()

    def push(self, utterance: Utterance, delta: str, end: bool) -> None:
        """Append text to an utterance; `end` marks the last."""
        utterance.push(delta, end)
        self._read(utterance)

    def read_all(self) -> None:
        """Read the rest of all texts at once."""
        while self._unread:
            self._read(self._unread.popleft())

    async def settled(self) -> None:
        """Wait until all texts are read."""
        while self._unread:  # noqa: ASYNC110  (some turns of the event loop)
            await asyncio.sleep(0)

    def _read(self, utterance: Utterance) -> None:
        if not utterance.progress.state.is_open:
            return
        try:
            more = utterance.read_on()
        except CallerError as error:
            self._failed(utterance, error)
            return
        if more and utterance not in self._unread:
            self._unread.append(utterance)
            asyncio.get_running_loop().call_soon(self._read_next)

    def _read_next(self) -> None:
        if self._unread:
            self._read(self._unread.popleft())
