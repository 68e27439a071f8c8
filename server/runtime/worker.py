"""An engine and its thread, seen from the event loop. Knows nothing of streams or text."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from intone.server.domain import EngineInfo, SpeakRequest
from intone.server.engines.base import Engine
from intone.server.runtime.engine_thread import EngineThread
from intone.server.runtime.job import Job

T = TypeVar("T")


class Worker:
    """A loaded engine, to submit units to."""

    def __init__(self, thread: EngineThread) -> None:
        self._thread = thread

    @classmethod
    async def launch(cls, name: str, load: Callable[[], Engine], max_batch: int) -> "Worker":
        """Start the thread and load the engine on it.

        Raises:
            CheckpointError: the model folder cannot be used.
        """
        thread = EngineThread(name)
        worker = cls(thread)
        try:
            thread.engine = await worker.call(load)
        except BaseException:
            worker.close()
            raise
        thread.info, thread.fingerprint = thread.engine.info, thread.engine.fingerprint
        thread.max_batch = max_batch if thread.engine.batches else 1
        return worker

    @property
    def engine(self) -> Engine:
        """The engine, for `call`: nothing else may touch it outside its thread."""
        return self._thread.engine

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self._thread.info

    @property
    def fingerprint(self) -> str:
        """Identity of the engine's weights."""
        return self._thread.fingerprint

    @property
    def failing(self) -> bool:
        """Whether a step raised in the last `RETRY_AFTER_S` seconds and none succeeded since."""
        return time.monotonic() < self._thread.failing_until_s

    @property
    def load(self) -> int:
        """Units that are being spoken or wait to be."""
        return len(self._thread.jobs)

    def submit(self, request: SpeakRequest) -> Job:
        """Queue a unit."""
        job = Job(request, self._thread)
        self._thread.add(job)
        return job

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the engine's thread, between two steps, and give its result or raise its exception."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._thread.call(future, function, arguments)
        return await future

    def close(self) -> None:
        """Fail what is queued with ShutdownError and end the thread after the step that is running."""
        self._thread.close()
