"""Normalizes text in processes of their own, within a time budget.

Normalization holds the GIL for milliseconds a sentence; in the serving process every stream would stall for as long. A
text that takes too long, or crashes its process, is spoken as it is written.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from intone.server.engines.base import resolve
from intone.server.errors import IntoneError
from intone.server.runtime.channel import Channel
from intone.server.runtime.child_process import ChildProcess
from intone.server.runtime.distribution import SECONDS, Distribution
from intone.server.text.normalization import NormalizedText
from intone.server.text.normalizer import Normalizer, WrittenText, as_written

logger = logging.getLogger(__name__)

T = TypeVar("T")

PROCESSES = 2
"""So that one text that uses up its budget does not delay all others."""

RETRY_S = 1.0
"""Wait before a process is started again that ended before it normalized a text."""

WARM_UP = ("On May 3rd, 2024 it cost $3.50, or 20%.", "2024年5月3日，它花了3.5元，也就是20%。")


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A text as it is to be spoken.

    Attributes:
        text: with the spans of the written text.
        fault: why it is only as it was written, for the client; empty if it was read as it was to be.
    """

    text: NormalizedText
    fault: str = ""


class TextPool:
    """Processes that normalize texts, one text at a time each. Everything is called from one event loop."""

    def __init__(self, budget_s: float, processes: int, normalizer: str) -> None:
        """Use `launch`."""
        self._budget_s, self._processes, self._normalizer = budget_s, processes, normalizer
        self._free: asyncio.LifoQueue[_TextProcess] = asyncio.LifoQueue()  # the one used last has warm caches
        self._keepers: list[asyncio.Task[None]] = []
        self._on_threads = None if processes else resolve(normalizer)()
        self._running: set[_TextProcess] = set()
        self.waiting, self.unread = 0, 0
        """Texts that are read or wait for that now; texts that could not be read so far."""
        self.seconds = Distribution(SECONDS)
        """How long texts took, with the wait for a free process."""

    @classmethod
    async def launch(
        cls, budget_s: float, processes: int = PROCESSES, normalizer: str = f"{Normalizer.__module__}:Normalizer"
    ) -> "TextPool":
        """Start the processes and have each normalize a text, so that the first client does not wait for that.

        Args:
            budget_s: longest time for one text, and longest wait for a free process.
            processes: how many; with 0, texts are normalized on threads, which a text that takes too long keeps busy.
            normalizer: "module:name" of a class with the methods of `Normalizer`, for tests.

        Raises:
            IntoneError: they cannot be started.
        """
        pool = cls(budget_s, processes, normalizer)
        started: list[asyncio.Future[None]] = []
        try:
            for _ in range(processes):
                started.append(asyncio.get_running_loop().create_future())
                pool._keepers.append(asyncio.create_task(pool._keep(started[-1]), name="text process"))
            await asyncio.gather(*started)
        except BaseException:
            pool.close()
            raise
        return pool

    async def normalize(self, written: WrittenText) -> SpokenText:
        """A text as it is to be spoken; as it is written, with a fault, where that takes longer than the budget."""
        if not (written.normalize or written.has_readings):
            return SpokenText(as_written(written))
        began_s = time.monotonic()
        self.waiting += 1
        try:
            spoken = await self._read(written)
        finally:
            self.waiting -= 1
        self.seconds.observe(time.monotonic() - began_s)
        self.unread += bool(spoken.fault)
        return spoken

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return sorted(process.pid for process in self._running if process.pid is not None)

    async def _read(self, written: WrittenText) -> SpokenText:
        if self._on_threads is not None:
            return await self._on_a_thread(self._on_threads, written)
        try:
            process = await _within(self._next_free(), self._budget_s, self._free.put_nowait)
        except asyncio.TimeoutError:  # noqa: UP041 - another class in Python 3.10
            return _unread(written, f"no process was free within {1000 * self._budget_s:.0f} ms")
        spoken = await process.normalize(written, self._budget_s)
        if spoken is not None:
            return SpokenText(spoken)
        logger.warning("a text of %d characters could not be normalized: %s", len(written.text), process.fault)
        return _unread(written, process.fault)

    def close(self) -> None:
        """End the processes; may be called more than once."""
        for keeper in self._keepers:
            keeper.cancel()

    async def _next_free(self) -> "_TextProcess":
        while not (process := await self._free.get()).runs:
            pass
        return process

    async def _on_a_thread(self, normalizer: Normalizer, written: WrittenText) -> SpokenText:
        try:
            work = asyncio.to_thread(normalizer.read, written)
            return SpokenText(await _within(work, self._budget_s))
        except asyncio.TimeoutError:  # noqa: UP041
            return _unread(written, f"it took more than {1000 * self._budget_s:.0f} ms")

    async def _keep(self, started: "asyncio.Future[None]") -> None:
        """Have one process at work, and start another when it ends."""
        while True:
            process = _TextProcess(self._normalizer, self._free.put_nowait)
            self._running.add(process)
            try:
                await process.run(started)
            except OSError as error:
                if not started.done():
                    started.set_exception(IntoneError(f"a text process cannot be started: {error.strerror}"))
                    return
                logger.error("a text process cannot be started: %s", error.strerror)
            finally:
                self._running.discard(process)
                process.close()
            if not started.done():
                started.set_exception(IntoneError(f"a text process is gone: {process.fault}"))
                return
            if not process.has_worked:
                await asyncio.sleep(RETRY_S)


async def _within(work: Coroutine[Any, Any, T], timeout_s: float, unused: Callable[[T], None] | None = None) -> T:
    """The result of `work`, which is cancelled after this time. `unused` takes a result that a cancelled caller leaves.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that coincides with the result.

    Raises:
        asyncio.TimeoutError: it took longer.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        if task.done() and unused is not None:
            unused(task.result())
        task.cancel()
        raise
    if not done:
        task.cancel()
        raise asyncio.TimeoutError
    return task.result()


class _TextProcess:
    """One process of the pool. `free` is called with it when it can take a text."""

    def __init__(self, normalizer: str, free: "Callable[[_TextProcess], None]") -> None:
        self._normalizer, self._free = normalizer, free
        self._child: ChildProcess | None = None
        self._answer: asyncio.Future[NormalizedText | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started: asyncio.Future[None] | None = None
        self.has_worked = False
        self.fault = ""
        """Why the latest text was not normalized, or why the process has ended."""

    @property
    def pid(self) -> int | None:
        """Of the process; None before it has started."""
        return None if self._child is None else self._child.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there, as far as is known."""
        return self._child is not None and self._child.is_connected

    async def run(self, started: "asyncio.Future[None]") -> None:
        """Start the process, and wait until it ends. `started` is set when it has normalized a text."""
        self._started = started
        function = "intone.server.runtime.text_pool:run"
        self._child = await ChildProcess.start(function, (self._normalizer,), self._received)
        ended = await self._child.ended
        self.fault = self.fault or ended
        self._settle(None)

    async def normalize(self, written: WrittenText, budget_s: float) -> NormalizedText | None:
        """The normalized text; None if that took too long or failed. See `fault` then."""
        assert self._child is not None, "it is free, so it runs"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[NormalizedText | None] = loop.create_future()
        self._answer = answer
        self._timer = loop.call_later(budget_s, self._overrun, budget_s)
        self._child.send(written)
        await asyncio.wait({answer})  # a caller that is cancelled leaves the answer alone
        return answer.result()

    def close(self) -> None:
        """End the process."""
        self._settle(None)
        if self._child is not None:
            self._child.close()

    def _overrun(self, budget_s: float) -> None:
        self.fault = f"it took more than {1000 * budget_s:.0f} ms"
        self.close()

    def _received(self, spoken: NormalizedText | None) -> None:
        self.fault = "" if spoken is not None else "it failed: see the server's log"
        self.has_worked = self.has_worked or self._answer is not None
        self._settle(spoken)
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        self._free(self)

    def _settle(self, spoken: NormalizedText | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(spoken)
        self._answer = None


def _unread(written: WrittenText, fault: str) -> SpokenText:
    return SpokenText(as_written(WrittenText(written.text)), fault)


def run(channel: Channel, reference: str) -> None:
    """Normalize the texts that come, until the server is gone. Runs in a process of the pool."""
    normalizer = resolve(reference)()
    for text in WARM_UP:
        spoken = normalizer.read(WrittenText(text))
    channel.send(spoken)
    while True:
        written = channel.receive()
        try:
            spoken = normalizer.read(written)
        except Exception as error:  # noqa: BLE001  (a message or a traceback might contain what the caller says)
            logger.error("a text of %d characters cannot be normalized: %s", len(written.text), type(error).__name__)
            channel.send(None)
            continue
        channel.send(spoken)
