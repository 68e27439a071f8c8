"""One thread for one engine: collects the units being spoken, steps them together, hands the audio to the event loop.

Knows nothing of streams or text; the event loop's side is `Worker` and `Job`, the thread's side is `_Crew`.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from intone.server.domain import EngineInfo, SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.errors import CallerError, CheckpointError, EngineError, IntoneError, ShutdownError

log = logging.getLogger(__name__)
T = TypeVar("T")

BACKLOG_STEPS = 4
"""Steps a unit may be ahead of whoever takes its audio; then it waits, and others use the engine."""

RETRY_AFTER_S = 5.0
"""How long an engine counts as failing after a step raised."""


class Job:
    """One unit on its way through an engine: iterate it for its steps, on the event loop that submitted it.

    Iteration ends after the step that is `done`.

    Raises:
        CallerError: the engine cannot speak this text.
        EngineError: it failed.
    """

    def __init__(self, request: SpeakRequest, crew: "_Crew") -> None:
        self.request = request
        self.submitted_s = time.monotonic()
        self.queue_ms: float | None = None
        self.synthesis_ms = 0.0
        self._crew = crew
        self._loop = asyncio.get_running_loop()
        self._steps: deque[Step | IntoneError] = deque()
        self._arrived = asyncio.Event()
        self._over = False
        # The fields below belong to the thread, but for `cancelled` and `backlog`, guarded by the crew's condition.
        self.state: Any = None
        self.cancelled = False
        self.backlog = 0

    def cancel(self) -> None:
        """Drop the unit; the step that is running finishes, none follows."""
        self._crew.drop(self)

    def __aiter__(self) -> "Job":
        return self

    async def __anext__(self) -> Step:
        if self._over:
            raise StopAsyncIteration
        while not self._steps:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._steps.popleft()
        self._crew.taken(self)
        if isinstance(item, IntoneError):
            self._over = True
            raise item
        self._over = item.done
        return item

    def deliver(self, item: Step | IntoneError) -> None:
        """Called by the thread."""
        self._loop.call_soon_threadsafe(self._accept, item)

    def _accept(self, item: Step | IntoneError) -> None:
        self._steps.append(item)
        self._arrived.set()


class Worker:
    """An engine and its thread, seen from the event loop."""

    def __init__(self, crew: "_Crew") -> None:
        self._crew = crew

    @classmethod
    async def launch(cls, name: str, load: Callable[[], Engine], max_batch: int) -> "Worker":
        """Start the thread and load the engine on it.

        Raises:
            CheckpointError: the model folder cannot be used.
        """
        crew = _Crew(name, max_batch)
        worker = cls(crew)
        try:
            crew.engine = await worker.call(load)
        except BaseException:
            worker.close()
            raise
        crew.info, crew.fingerprint = crew.engine.info, crew.engine.fingerprint
        return worker

    @property
    def engine(self) -> Engine:
        """The engine, for `call`: nothing else may touch it outside its thread."""
        return self._crew.engine

    @property
    def info(self) -> EngineInfo:
        """What the engine is."""
        return self._crew.info

    @property
    def fingerprint(self) -> str:
        """Identity of the engine's weights."""
        return self._crew.fingerprint

    @property
    def failing(self) -> bool:
        """Whether a step raised in the last `RETRY_AFTER_S` seconds and none succeeded since."""
        return time.monotonic() < self._crew.failing_until_s

    @property
    def load(self) -> int:
        """Units that are being spoken or wait to be."""
        return len(self._crew.jobs)

    def submit(self, request: SpeakRequest) -> Job:
        """Queue a unit."""
        job = Job(request, self._crew)
        self._crew.add(job)
        return job

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the engine's thread, between two steps, and give its result or raise its exception."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._crew.call(future, function, arguments)
        return await future

    def close(self) -> None:
        """Fail what is queued with ShutdownError and end the thread after the step that is running."""
        self._crew.close()


class _Crew:
    """The thread's side: every attribute but `engine` is guarded by `_changed`."""

    def __init__(self, name: str, max_batch: int) -> None:
        self.engine: Engine
        self.info: EngineInfo
        self.fingerprint = ""
        self.jobs: list[Job] = []
        self.failing_until_s = 0.0
        self._name, self._max_batch = name, max_batch
        self._calls: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    # ---- called from the event loop

    def add(self, job: Job) -> None:
        with self._changed:
            if self._closing:
                raise ShutdownError(f"engine {self._name} is shut down")
            self.jobs.append(job)
            self._changed.notify()

    def drop(self, job: Job) -> None:
        with self._changed:
            job.cancelled = True
            if job in self.jobs:
                self.jobs.remove(job)

    def taken(self, job: Job) -> None:
        with self._changed:
            job.backlog -= 1
            self._changed.notify()

    def call(self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        with self._changed:
            if self._closing:
                raise ShutdownError(f"engine {self._name} is shut down")
            self._calls.append((future, function, arguments))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # ---- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._calls or self._ready())
                calls, self._calls = self._calls, deque()
                batch = self._pick()
                closing = self._closing
            if closing:
                return self._abandon(calls)
            for future, function, arguments in calls:
                self._answer(future, function, arguments)
            if batch:
                self._advance(batch)

    def _ready(self) -> list[Job]:
        return [job for job in self.jobs if job.backlog < BACKLOG_STEPS]

    def _pick(self) -> list[Job]:
        """Those to step now: who has begun comes first, and one newcomer at most, since its prefill delays the rest."""
        ready = self._ready()
        begun = [job for job in ready if job.state is not None]
        fresh = [job for job in ready if job.state is None][:1]
        batch = (fresh + begun)[: self._max_batch]
        for job in batch:  # to the back of the line, so that a full house takes turns
            self.jobs.remove(job)
            self.jobs.append(job)
        return batch

    def _answer(self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except Exception as caught:  # the worker's boundary: whatever it is belongs to the caller
            error = caught
        future.get_loop().call_soon_threadsafe(_settle, future, result, error)

    def _advance(self, batch: list[Job]) -> None:
        batch = [job for job in batch if job.state is not None or self._begin(job)]
        if not batch:
            return
        began_s = time.monotonic()
        try:
            steps = self.engine.step([job.state for job in batch])
        except Exception as caught:  # the worker's boundary: the states cannot be trusted any more
            log.exception("engine %s failed on a batch of %d", self._name, len(batch))
            self.failing_until_s = time.monotonic() + RETRY_AFTER_S
            for job in batch:
                self._finish(job, _engine_error(self._name, caught))
            return
        self.failing_until_s = 0.0
        took_ms = 1000 * (time.monotonic() - began_s)
        for job, step in zip(batch, steps, strict=True):
            if job.queue_ms is None:
                job.queue_ms = 1000 * (began_s - job.submitted_s)
            job.synthesis_ms += took_ms
            self._hand(job, step)

    def _begin(self, job: Job) -> bool:
        try:
            job.state = self.engine.start(job.request)
        except CallerError as error:
            self._finish(job, error)
            return False
        except Exception as caught:  # the worker's boundary
            log.exception("engine %s could not start a unit of %d characters", self._name, len(job.request.text))
            self.failing_until_s = time.monotonic() + RETRY_AFTER_S
            self._finish(job, _engine_error(self._name, caught))
            return False
        return True

    def _hand(self, job: Job, step: Step) -> None:
        if step.done:
            return self._finish(job, step)
        with self._changed:
            if job.cancelled:
                return None
            job.backlog += 1
        return job.deliver(step)

    def _finish(self, job: Job, item: Step | IntoneError) -> None:
        with self._changed:
            if job.cancelled:
                return
            job.backlog += 1
            if job in self.jobs:
                self.jobs.remove(job)
        job.state = None
        job.deliver(item)

    def _abandon(self, calls: deque[tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]]) -> None:
        gone = ShutdownError(f"engine {self._name} is shut down")
        for future, _, _ in calls:
            future.get_loop().call_soon_threadsafe(_settle, future, None, gone)
        for job in list(self.jobs):
            self._finish(job, gone)


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():  # whoever asked has gone
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _engine_error(name: str, caught: Exception) -> IntoneError:
    if isinstance(caught, IntoneError) and not isinstance(caught, CheckpointError):
        return caught
    error = EngineError(name, f"{type(caught).__name__} while it spoke")
    error.__cause__ = caught
    return error
