"""Events in order, for any number of readers, each of which gets all of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, TypeVar

from intone.client.errors import timed_out
from intone.client.events import Event

T = TypeVar("T")


class EventFeed:
    """A list of events that grows and then ends. Made on a running event loop.

    Attributes:
        events: those that came so far; None in place of one that a reader has released.
        failure: why the feed ended early; None if it did not.
    """

    def __init__(self) -> None:
        self.events: list[Event | None] = []
        self.failure: BaseException | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news = asyncio.Event()

    def add(self, event: Event) -> None:
        """Append an event. After the end it is dropped."""
        if not self.ended.done():
            self.events.append(event)
            self._wake()

    def end(self, failure: BaseException | None = None) -> None:
        """End the feed; readers raise `failure` after the last event. Only the first call has an effect."""
        if not self.ended.done():
            self.failure = failure
            self.ended.set_result(None)
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def wait(self, timeout_s: float | None) -> None:
        """Wait for the next event or the end.

        Raises:
            TimedOut: neither came in time.
        """
        if timeout_s is None:
            await self._news.wait()
            return
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except asyncio.TimeoutError:  # noqa: UP041 (Python 3.10)
            raise timed_out("event of the server", timeout_s) from None


class FeedReader(AsyncIterator[T], Generic[T]):
    """Reads a feed from its beginning. Cancelling a task that waits for the next item loses nothing.

    Args:
        pick: the items that an event stands for; raises to end the reading with an error.
        timeout_s: longest wait for the next event; None waits as long as the feed lasts.
        release: forget the events that were read, so that long audio does not stay in memory. For a single reader.
    """

    def __init__(
        self,
        feed: EventFeed,
        pick: Callable[[Event], Iterable[T]],
        *,
        timeout_s: float | None = None,
        release: bool = False,
    ) -> None:
        self._feed = feed
        self._pick = pick
        self._timeout_s = timeout_s
        self._release = release
        self._position = 0
        self._items: deque[T] = deque()

    def __aiter__(self) -> "FeedReader[T]":
        return self

    async def __anext__(self) -> T:
        """The next item.

        Raises:
            TimedOut: nothing came in time.
            Exception: why the feed ended early.
        """
        while not self._items:
            if self._position < len(self._feed.events):
                self._take()
            elif not self._feed.ended.done():
                await self._feed.wait(self._timeout_s)
            elif self._feed.failure is not None:
                raise self._feed.failure
            else:
                raise StopAsyncIteration
        return self._items.popleft()

    def _take(self) -> None:
        event = self._feed.events[self._position]
        if event is not None:
            self._items.extend(self._pick(event))
        if self._release:
            self._feed.events[self._position] = None
        self._position += 1
