"""Runs one engine on a thread of its own. The loop is `Worker._run`: wait, pick a batch, advance it, deliver its steps.

The event loop submits units as jobs and iterates each job for its steps. Units are stepped together where the engine
gains by it; a unit whose consumer falls behind pauses, so that others use the engine.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from intone.server.domain import EngineInfo, SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.errors import CallerError, CheckpointError, EngineError, IntoneError, ShutdownError

logger = logging.getLogger(__name__)

T = TypeVar("T")

BACKLOG_STEPS = 4
"""Steps that a unit may be ahead of its consumer; then it pauses, and others use the engine."""

FAILING_S = 5.0
"""How long an engine counts as failing after it raised."""

Outcome = Step | IntoneError
"""What a job is given: its next step, or the error that ends it."""


class Worker:
    """A loaded engine on its thread.

    Everything public is called from one event loop. `_changed` guards what both sides use; the engine belongs to the
    thread, and other code reaches it through `call` only.
    """

    engine: Engine
    """For `call`."""
    info: EngineInfo
    fingerprint: str
    """Identifies the engine's weights."""

    def __init__(self, name: str) -> None:
        """Start the thread; `launch` loads the engine on it."""
        self._name = name
        self._jobs: list[Job] = []
        self._calls: deque[_Call] = deque()
        self._max_batch = 1
        self._failing_until_s = 0.0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    # ---- the loop, on the engine's thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._calls or self._ready())
                if self._closing:
                    break
                calls, self._calls = self._calls, deque()
                batch = self._pick()
            for call in calls:
                call.run()
            batch = [job for job in batch if job.state is not None or self._start(job)]
            if batch:
                self._deliver(self._advance(batch))
        self._abandon()

    def _ready(self) -> "list[Job]":
        """Units whose consumers keep up."""
        return [job for job in self._jobs if job.backlog < BACKLOG_STEPS]

    def _pick(self) -> "list[Job]":
        """The units to step now: at most one new one, first, since its prefill delays the others; then started ones."""
        ready = self._ready()
        new = [job for job in ready if job.state is None][:1]
        started = [job for job in ready if job.state is not None]
        batch = (new + started)[: self._max_batch]
        for job in batch:  # moved to the end, so that units take turns when there are more than fit into a batch
            self._jobs.remove(job)
            self._jobs.append(job)
        return batch

    def _start(self, job: "Job") -> bool:
        """Start a new unit. Where that fails, deliver the error and return False."""
        try:
            job.state = self.engine.start(job.request)
        except CallerError as error:
            self._deliver([(job, error)])
            return False
        except Exception as caught:  # an engine may raise anything; the thread must go on
            logger.exception("engine %s could not start a unit of %d characters", self._name, len(job.request.text))
            self._deliver([(job, self._failed(caught))])
            return False
        return True

    def _advance(self, batch: "Sequence[Job]") -> "list[tuple[Job, Outcome]]":
        """One step of every unit in the batch. If the engine raises, all of them fail: their states are undefined."""
        began_s = time.monotonic()
        try:
            steps = self.engine.step([job.state for job in batch])
        except Exception as caught:  # an engine may raise anything; the thread must go on
            logger.exception("engine %s failed on a batch of %d", self._name, len(batch))
            return [(job, self._failed(caught)) for job in batch]
        self._failing_until_s = 0.0
        took_ms = 1000 * (time.monotonic() - began_s)
        for job in batch:
            if job.queue_ms is None:
                job.queue_ms = 1000 * (began_s - job.submitted_s)
            job.synthesis_ms += took_ms
        return list(zip(batch, steps, strict=True))

    def _deliver(self, outcomes: "list[tuple[Job, Outcome]]") -> None:
        """Hand each job its outcome on the event loop. Jobs that are done or failed leave the worker."""
        with self._changed:
            wanted = [(job, outcome) for job, outcome in outcomes if not job.cancelled]
            for job, outcome in wanted:
                job.backlog += 1
                if isinstance(outcome, IntoneError) or outcome.done:
                    job.state = None
                    if job in self._jobs:
                        self._jobs.remove(job)
        if wanted:  # one wake-up of the loop for all jobs, since each costs a system call
            wanted[0][0].loop.call_soon_threadsafe(_accept_all, wanted)

    def _failed(self, caught: Exception) -> IntoneError:
        """Count the engine as failing; the error for the unit's consumer."""
        self._failing_until_s = time.monotonic() + FAILING_S
        if isinstance(caught, IntoneError) and not isinstance(caught, CheckpointError):
            return caught
        error = EngineError(self._name, f"{type(caught).__name__} while it spoke")
        error.__cause__ = caught
        return error

    def _abandon(self) -> None:
        """Fail everything that is queued."""
        with self._changed:
            calls, jobs = list(self._calls), list(self._jobs)
        for call in calls:
            call.settle(None, self._shut_down())
        self._deliver([(job, self._shut_down()) for job in jobs])

    # ---- called from the event loop

    @classmethod
    async def launch(cls, name: str, load: Callable[[], Engine], max_batch: int) -> "Worker":
        """Start a worker and load its engine on its thread.

        Raises:
            CheckpointError: the engine cannot be loaded.
        """
        worker = cls(name)
        try:
            worker.engine = await worker.call(load)
        except BaseException:
            worker.close()
            raise
        worker.info, worker.fingerprint = worker.engine.info, worker.engine.fingerprint
        worker._max_batch = max_batch if worker.engine.batches else 1
        return worker

    @property
    def failing(self) -> bool:
        """Whether the engine raised in the last `FAILING_S` seconds and no step has succeeded since."""
        return time.monotonic() < self._failing_until_s

    @property
    def load(self) -> int:
        """Units that are being spoken or queued."""
        return len(self._jobs)

    def submit(self, request: SpeakRequest) -> "Job":
        """Queue a unit.

        Raises:
            ShutdownError: the worker is closed.
        """
        job = Job(request, self)
        with self._changed:
            if self._closing:
                raise self._shut_down()
            self._jobs.append(job)
            self._changed.notify()
        return job

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the engine's thread, between two steps; return its result or raise its exception.

        Raises:
            ShutdownError: the worker is closed.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closing:
                raise self._shut_down()
            self._calls.append(_Call(future, function, arguments))
            self._changed.notify()
        return await future

    def close(self) -> None:
        """Fail everything that is queued with ShutdownError; wait for the running step and the thread to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def drop(self, job: "Job") -> None:
        """Remove a unit; the result of the step that is running is discarded. Called by the job."""
        with self._changed:
            job.cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)

    def taken(self, job: "Job") -> None:
        """A consumer has taken a step of a unit, which may go on then. Called by the job."""
        with self._changed:
            job.backlog -= 1
            self._changed.notify()

    def _shut_down(self) -> ShutdownError:
        return ShutdownError(f"engine {self._name} is shut down")


class Job:
    """A unit on its way through an engine: iterate it for its steps, on the event loop that submitted it.

    Iteration ends after the step that is `done`.

    Attributes:
        queue_ms: from submission to the first step; None before that.
        synthesis_ms: time spent in steps so far, those of the whole batch.

    Raises:
        CallerError: the engine cannot speak this unit.
        EngineError: the engine failed.
        ShutdownError: the worker was closed.
    """

    def __init__(self, request: SpeakRequest, worker: Worker) -> None:
        self.request = request
        self.submitted_s = time.monotonic()
        self.queue_ms: float | None = None
        self.synthesis_ms = 0.0
        self.loop = asyncio.get_running_loop()
        self._worker = worker
        self._outcomes: deque[Outcome] = deque()
        self._arrived = asyncio.Event()
        self._over = False
        # Of the worker: `state` belongs to its thread, the others are guarded by its condition.
        self.state: Any = None
        self.cancelled = False
        self.backlog = 0

    def cancel(self) -> None:
        """Drop the unit: the step that is running finishes, no other follows."""
        self._worker.drop(self)

    def __aiter__(self) -> "Job":
        return self

    async def __anext__(self) -> Step:
        if self._over:
            raise StopAsyncIteration
        while not self._outcomes:
            self._arrived.clear()
            await self._arrived.wait()
        outcome = self._outcomes.popleft()
        self._worker.taken(self)
        if isinstance(outcome, IntoneError):
            self._over = True
            raise outcome
        self._over = outcome.done
        return outcome

    def accept(self, outcome: Outcome) -> None:
        """Take an outcome from the worker; on the event loop."""
        self._outcomes.append(outcome)
        self._arrived.set()


def _accept_all(outcomes: list[tuple[Job, Outcome]]) -> None:
    for job, outcome in outcomes:
        job.accept(outcome)


class _Call:
    """A function to run on the engine's thread, and the future of its result."""

    def __init__(self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._future, self._function, self._arguments = future, function, arguments

    def run(self) -> None:
        """Call the function; on the engine's thread."""
        result, error = None, None
        try:
            result = self._function(*self._arguments)
        except Exception as caught:  # noqa: BLE001  (raised again where the result is awaited)
            error = caught
        self.settle(result, error)

    def settle(self, result: Any, error: Exception | None) -> None:
        """Set the future, on its event loop."""
        self._future.get_loop().call_soon_threadsafe(self._set, result, error)

    def _set(self, result: Any, error: Exception | None) -> None:
        if self._future.done():  # the caller was cancelled
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)
