"""The thread of one engine: batches, back-pressure, failure. The event loop's side of it is `worker.py`."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from intone.server.domain import EngineInfo, Step
from intone.server.engines.base import Engine
from intone.server.errors import CallerError, CheckpointError, EngineError, IntoneError, ShutdownError
from intone.server.runtime.job import Job

log = logging.getLogger(__name__)

BACKLOG_STEPS = 4
"""Steps a unit may be ahead of whoever takes its audio; then it waits, and others use the engine."""

RETRY_AFTER_S = 5.0
"""How long an engine counts as failing after a step raised."""


class EngineThread:
    """Owns an engine: steps the units it is given, together, and runs calls between two steps.

    All jobs come from one event loop. What it calls takes the lock `_changed`; the engine is the thread's alone.
    """

    def __init__(self, name: str) -> None:
        self.engine: Engine
        self.info: EngineInfo
        self.fingerprint = ""
        self.jobs: list[Job] = []
        self.failing_until_s = 0.0
        self.max_batch = 1
        self._name = name
        self._calls: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    # ---- called from the event loop

    def add(self, job: Job) -> None:
        """Queue a unit."""
        with self._changed:
            if self._closing:
                raise ShutdownError(f"engine {self._name} is shut down")
            self.jobs.append(job)
            self._changed.notify()

    def drop(self, job: Job) -> None:
        """Forget a unit; what is computed of it now is thrown away."""
        with self._changed:
            job.cancelled = True
            if job in self.jobs:
                self.jobs.remove(job)

    def taken(self, job: Job) -> None:
        """A step of a unit was taken: it may go on."""
        with self._changed:
            job.backlog -= 1
            self._changed.notify()

    def call(self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Run a function between two steps and settle the future with what comes of it."""
        with self._changed:
            if self._closing:
                raise ShutdownError(f"engine {self._name} is shut down")
            self._calls.append((future, function, arguments))
            self._changed.notify()

    def close(self) -> None:
        """Fail what is queued and end the thread."""
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
        batch = (fresh + begun)[: self.max_batch]
        for job in batch:  # to the back of the line, so that a full house takes turns
            self.jobs.remove(job)
            self.jobs.append(job)
        return batch

    def _answer(self, future: "asyncio.Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except Exception as caught:  # noqa: BLE001 - raised in the caller, whatever it is
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
            self._hand([(job, _engine_error(self._name, caught)) for job in batch])
            return
        self.failing_until_s = 0.0
        took_ms = 1000 * (time.monotonic() - began_s)
        given: list[tuple[Job, Step | IntoneError]] = []
        for job, step in zip(batch, steps, strict=True):
            if job.queue_ms is None:
                job.queue_ms = 1000 * (began_s - job.submitted_s)
            job.synthesis_ms += took_ms
            given.append((job, step))
        self._hand(given)

    def _begin(self, job: Job) -> bool:
        try:
            job.state = self.engine.start(job.request)
        except CallerError as error:
            self._hand([(job, error)])
            return False
        except Exception as caught:  # the worker's boundary
            log.exception("engine %s could not start a unit of %d characters", self._name, len(job.request.text))
            self.failing_until_s = time.monotonic() + RETRY_AFTER_S
            self._hand([(job, _engine_error(self._name, caught))])
            return False
        return True

    def _hand(self, given: list[tuple[Job, Step | IntoneError]]) -> None:
        """Give each job its item; what is done or has failed leaves the engine."""
        with self._changed:
            wanted = [(job, item) for job, item in given if not job.cancelled]
            for job, item in wanted:
                job.backlog += 1
                if isinstance(item, IntoneError) or item.done:
                    job.state = None
                    if job in self.jobs:
                        self.jobs.remove(job)
        if wanted:  # waking the loop once for all of them: it costs a system call each time
            wanted[0][0].loop.call_soon_threadsafe(_accept_all, wanted)

    def _abandon(self, calls: deque[tuple["asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]]) -> None:
        gone = ShutdownError(f"engine {self._name} is shut down")
        for future, _, _ in calls:
            future.get_loop().call_soon_threadsafe(_settle, future, None, gone)
        self._hand([(job, gone) for job in self.jobs])


def _accept_all(given: list[tuple[Job, Step | IntoneError]]) -> None:
    for job, item in given:
        job.accept(item)


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
