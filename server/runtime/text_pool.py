"""Normalizes texts, and analyzes their emotion, in processes of their own, within a time budget.

Both hold the GIL, for milliseconds and for up to one; in the serving process every stream would stall for as long. A
text that takes too long, or crashes its process, is spoken as it is written, without emotion.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.lexicon import Lexicon
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

FAILED = "it failed: see the server's log"

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


class TextStages(Normalizer):
    """What a process of the pool does with texts."""

    def __init__(self) -> None:
        self._lexicon = Lexicon()

    def analyze(self, text: str) -> EmotionEstimate:
        """The emotion that a text shows."""
        return self._lexicon.analyze(text)


class TextPool:
    """Processes that work on texts, one text at a time each. Everything is called from one event loop."""

    def __init__(self, budget_s: float, processes: int, stages: str) -> None:
        """Use `launch`."""
        self._budget_s, self._processes, self._stages = budget_s, processes, stages
        self._free: asyncio.LifoQueue[_TextProcess] = asyncio.LifoQueue()  # the one used last has warm caches
        self._keepers: list[asyncio.Task[None]] = []
        self._on_threads = None if processes else resolve(stages)()
        self._running: set[_TextProcess] = set()
        self.waiting, self.unread = 0, 0
        """Texts that are worked on or wait for that now; texts that could not be normalized so far."""
        self.seconds = Distribution(SECONDS)
        """How long texts took to be normalized, with the wait for a free process."""

    @classmethod
    async def launch(
        cls, budget_s: float, processes: int = PROCESSES, stages: str = f"{__name__}:TextStages"
    ) -> "TextPool":
        """Start the processes and have each work on a text, so that the first client does not wait for that.

        Args:
            budget_s: longest time for one text, and longest wait for a free process.
            processes: how many; with 0, threads do the work, which a text that takes too long keeps busy.
            stages: "module:name" of a class with the methods of `TextStages`, for tests.

        Raises:
            IntoneError: they cannot be started.
        """
        pool = cls(budget_s, processes, stages)
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
        spoken, fault = await self._timed(_Work("normalized", written, len(written.text)))
        return SpokenText(spoken) if spoken is not None else _unread(written, fault)

    async def analyze(self, text: str) -> EmotionEstimate:
        """The emotion that a text shows; neutral, with the fault as its explanation, if that takes too long."""
        estimate, fault = await self._timed(_Work("analyzed", text, len(text)))
        return estimate if estimate is not None else EmotionEstimate.neutral(f"the text was not analyzed: {fault}")

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return sorted(process.pid for process in self._running if process.pid is not None)

    async def _timed(self, work: "_Work") -> tuple[Any, str]:
        """The result of some work, or None and the fault."""
        began_s = time.monotonic()
        self.waiting += 1
        try:
            result, fault = await self._done(work)
        finally:
            self.waiting -= 1
        if work.name == "normalized":
            self.seconds.observe(time.monotonic() - began_s)
            self.unread += bool(fault)
        return result, fault

    async def _done(self, work: "_Work") -> tuple[Any, str]:
        if self._on_threads is not None:
            return await self._on_a_thread(self._on_threads, work)
        try:
            process = await _within(self._next_free(), self._budget_s, self._free.put_nowait)
        except asyncio.TimeoutError:  # noqa: UP041 - another class in Python 3.10
            return None, f"no process was free within {1000 * self._budget_s:.0f} ms"
        result = await process.do(work, self._budget_s)
        if result is not None:
            return result, ""
        logger.warning("a text of %d characters could not be %s: %s", work.characters, work.name, process.fault)
        return None, process.fault

    def close(self) -> None:
        """End the processes; may be called more than once."""
        for keeper in self._keepers:
            keeper.cancel()

    async def _next_free(self) -> "_TextProcess":
        while not (process := await self._free.get()).runs:
            pass
        return process

    async def _on_a_thread(self, stages: TextStages, work: "_Work") -> tuple[Any, str]:
        try:
            return await _within(asyncio.to_thread(work.by, stages), self._budget_s), ""
        except asyncio.TimeoutError:  # noqa: UP041
            return None, f"it took more than {1000 * self._budget_s:.0f} ms"
        except Exception as error:  # noqa: BLE001
            work.log_failure(error)
            return None, FAILED

    async def _keep(self, started: "asyncio.Future[None]") -> None:
        """Have one process at work, and start another when it ends."""
        while True:
            process = _TextProcess(self._stages, self._free.put_nowait)
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


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done with a text: it is to be "normalized" or "analyzed", and has so many characters."""

    name: str
    text: Any
    characters: int

    def by(self, stages: TextStages) -> NormalizedText | EmotionEstimate:
        """The result."""
        return stages.read(self.text) if self.name == "normalized" else stages.analyze(self.text)

    def log_failure(self, error: Exception) -> None:
        """Log an error without its message, which might contain what the caller says."""
        logger.error("a text of %d characters cannot be %s: %s", self.characters, self.name, type(error).__name__)


class _TextProcess:
    """One process of the pool. `free` is called with it when it can take a text."""

    def __init__(self, stages: str, free: "Callable[[_TextProcess], None]") -> None:
        self._stages, self._free = stages, free
        self._child: ChildProcess | None = None
        self._answer: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started: asyncio.Future[None] | None = None
        self.has_worked = False
        self.fault = ""
        """Why the work on the latest text failed, or why the process has ended."""

    @property
    def pid(self) -> int | None:
        """Of the process; None before it has started."""
        return None if self._child is None else self._child.pid

    @property
    def runs(self) -> bool:
        """Whether the process is there, as far as is known."""
        return self._child is not None and self._child.is_connected

    async def run(self, started: "asyncio.Future[None]") -> None:
        """Start the process, and wait until it ends. `started` is set when it has worked on a text."""
        self._started = started
        function = "intone.server.runtime.text_pool:run"
        self._child = await ChildProcess.start(function, (self._stages,), self._received)
        ended = await self._child.ended
        self.fault = self.fault or ended
        self._settle(None)

    async def do(self, work: _Work, budget_s: float) -> Any:
        """The result; None if that took too long or failed. See `fault` then."""
        assert self._child is not None, "it is free, so it runs"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._answer = answer
        self._timer = loop.call_later(budget_s, self._overrun, budget_s)
        self._child.send(work)
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

    def _received(self, result: Any) -> None:
        self.fault = "" if result is not None else FAILED
        self.has_worked = self.has_worked or self._answer is not None
        self._settle(result)
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        self._free(self)

    def _settle(self, result: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(result)
        self._answer = None


def _unread(written: WrittenText, fault: str) -> SpokenText:
    return SpokenText(as_written(WrittenText(written.text)), fault)


def run(channel: Channel, reference: str) -> None:
    """Work on the texts that come, until the server is gone. Runs in a process of the pool."""
    stages = resolve(reference)()
    for text in WARM_UP:
        stages.read(WrittenText(text))
        estimate = stages.analyze(text)
    channel.send(estimate)
    while True:
        work = channel.receive()
        try:
            result = work.by(stages)
        except Exception as error:  # noqa: BLE001
            work.log_failure(error)
            channel.send(None)
            continue
        channel.send(result)
