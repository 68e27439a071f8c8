"""An event loop in a thread of its own, for callers without one."""

import asyncio
import atexit
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any, TypeVar, cast
from weakref import WeakSet

T = TypeVar("T")

_END = object()

_open: "WeakSet[LoopThread]" = WeakSet()


class LoopThread:
    """Runs coroutines on an event loop in another thread and waits for their results."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="intone-client", daemon=True)
        self._thread.start()
        _open.add(self)

    @property
    def closed(self) -> bool:
        """Whether the thread was closed."""
        return self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result. An interruption of the caller, such as Ctrl-C, cancels it.

        Raises:
            RuntimeError: the thread was closed.
        """
        if self.closed:
            coroutine.close()
            raise RuntimeError("the client was closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that needs a running event loop."""

        async def called() -> T:
            return function()

        return self.run(called())

    def iterate(self, items: AsyncIterator[T]) -> Generator[T, None, None]:
        """The items of an asynchronous iterator, which is closed with this one."""

        async def following() -> Any:
            return await anext(items, _END)

        try:
            while (item := self.run(following())) is not _END:
                yield cast(T, item)
        finally:
            if isinstance(items, AsyncGenerator) and not self.closed:
                self.run(items.aclose())

    def close(self) -> None:
        """Stop the loop and wait for the thread. May be called more than once."""
        if self.closed:
            return
        self.run(_cancel_tasks())
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@atexit.register
def _close_all() -> None:
    """Close what was left open: later, iterators that are finalized would wait for a thread that runs no more."""
    for thread in list(_open):
        thread.close()
