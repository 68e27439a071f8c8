"""Threads for blocking work, in pools by purpose, so that one kind of work never waits for another.

Texts are normalized elsewhere (`text_pool.py`), and asyncio's own pool is left to what is short.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DISK_THREADS = 2
DECODING_THREADS = 2


class ThreadPool:
    """Some threads. Work that is cancelled before it begins is left out."""

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function, which is called on a thread of the pool, in the context of the caller."""
        call = partial(contextvars.copy_context().run, function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class ThreadPools:
    """The pools of a server.

    Attributes:
        disk: for files of voices, which a slow disk may hold up.
        decoding: for uploaded sound files, and what is computed from their samples.
    """

    def __init__(self) -> None:
        self.disk, self.decoding = ThreadPool("disk", DISK_THREADS), ThreadPool("decoding", DECODING_THREADS)

    def close(self) -> None:
        """Close all."""
        self.disk.close()
        self.decoding.close()
