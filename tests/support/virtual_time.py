"""Runs coroutines in tests, optionally on virtual time; fails when tasks or exceptions are left behind.

Tests use it through the fixtures `run` and `run_virtual` of `conftest.py`.
"""

import asyncio
import inspect
import io
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Main = Coroutine[Any, Any, T]
_MAX_IDLE_ITERATIONS = 100_000


class StuckError(RuntimeError):
    """A coroutine on virtual time will never end; the message lists the waiting tasks."""


class LeakError(AssertionError):
    """A task outlived the coroutine under test, or an exception was not handled."""


def stacks(tasks: set[asyncio.Task[Any]]) -> str:
    """Name and stack of each task, innermost call last."""
    out = io.StringIO()
    for task in sorted(tasks, key=lambda task: task.get_name()):
        if inspect.iscoroutine(task.get_coro()):
            task.print_stack(file=out)
        else:  # of an extension module, such as gRPC's: Python 3.11 may crash at its frames
            print(task, file=out)
    return out.getvalue()


async def left_behind(settle_s: float) -> set[asyncio.Task[Any]]:
    """Tasks of the running loop that have not ended after a few iterations and `settle_s` seconds."""
    for _ in range(10):
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
    if others and settle_s:
        await asyncio.wait(others, timeout=settle_s)
    return {task for task in others if not task.done()}


def drive(loop: asyncio.AbstractEventLoop, main: Main[T], settle_s: float) -> T:
    """Run `main` on `loop`, close the loop and return the result.

    Raises:
        LeakError: a task was still running when `main` had returned, or an exception reached the loop's handler.
    """
    unhandled: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    try:
        result = loop.run_until_complete(main)
        leaked = stacks(loop.run_until_complete(left_behind(settle_s)))
    finally:
        _close(loop)
    if leaked:
        raise LeakError(f"these tasks were still running when the test's coroutine returned:\n{leaked}")
    if unhandled:
        raise LeakError("\n".join(f"{context['message']}: {context.get('exception')!r}" for context in unhandled))
    return result


def _close(loop: asyncio.AbstractEventLoop) -> None:
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def run_virtual(main: Main[T], limit_s: float = 3600.0) -> T:
    """Run `main` on virtual time: waiting takes no real time, timers fire in order, `loop.time()` starts at 0.

    Raises:
        StuckError: `main` has not ended and nothing is scheduled, the clock has passed `limit_s`, or tasks run without
            the clock advancing.
        LeakError: as `drive`.
    """
    return drive(VirtualLoop(limit_s), main, settle_s=0.0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when no callback is ready. No sockets, no threads."""

    def __init__(self, limit_s: float) -> None:
        self._jumping = _JumpingSelector(limit_s, self._stuck)
        self._owner = threading.get_ident()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was created."""
        return self._jumping.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Raises `RuntimeError`: virtual time would pass while the thread works."""
        raise RuntimeError("virtual time cannot wait for a thread; use the fixture `run`")

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        """As usual from the loop's own thread; raises `RuntimeError` from any other."""
        if threading.get_ident() != self._owner:
            raise RuntimeError("virtual time cannot be woken by another thread; use the fixture `run`")
        return super().call_soon_threadsafe(*args, **kwargs)

    def _stuck(self, why: str) -> NoReturn:
        tasks = asyncio.all_tasks(self)
        raise StuckError(f"at {self.time():.3f} s {why}; {len(tasks)} tasks wait:\n{stacks(tasks)}")


class _JumpingSelector(selectors.SelectSelector):
    """Advances the clock by `timeout` instead of waiting."""

    def __init__(self, limit_s: float, stuck: Callable[[str], NoReturn]) -> None:
        super().__init__()
        self.now_s = 0.0
        self._limit_s = limit_s
        self._stuck = stuck
        self._iterations = 0  # since the clock last advanced

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self.get_map():  # the loop's own wake-up pipe is the first and only one
            raise RuntimeError("virtual time has no sockets and pipes; use the fixture `run`")
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            self._stuck("nothing is scheduled")
        self._iterations = 0 if timeout > 0 else self._iterations + 1
        if self._iterations > _MAX_IDLE_ITERATIONS:
            self._iterations = 0  # so that the clean-up can run
            self._stuck("tasks spin without letting time pass")
        self.now_s += max(timeout, 0.0)
        if self.now_s > self._limit_s:
            self._limit_s = float("inf")  # so that the clean-up can run
            self._stuck("the limit of virtual time is passed")
        return []
