"""What the event loop sees of an engine: units are submitted as jobs, and each job is iterated for its steps.

`ThreadWorker` runs the engine on a thread of this process, `ProcessWorker` in a process of its own.
"""

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from intone.server.domain import EngineInfo, PreparedVoice, Recording, SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.errors import EngineError, IntoneError, ShutdownError
from intone.server.runtime.distribution import COUNTS, SECONDS, Distribution
from intone.server.runtime.engine_loop import BACKLOG_STEPS, Outcome, UnitResult
from intone.server.runtime.step_costs import StepCosts

FAILING_S = 5.0
"""How long an engine counts as failing after its latest failure."""

FAILING_UNITS = 2
"""Units that must fail in a row for the engine to count as failing: one may fail by what its text or voice is."""

SLOW_STEP = 0.25
"""Part of the longest step that a step may take before the engine counts as failing."""

Progress = Callable[[float], None]
"""Called with the fraction of an engine that is loaded, 0 to 1, while it loads."""

Load = Callable[[Progress | None], Engine]
"""Loads an engine, on the thread that will use it. For a process of the engine's own it must be picklable."""


@dataclass(slots=True)
class WorkerCounts:
    """Events of one worker since its start.

    Attributes:
        failed_units: units that ended with an error of the engine.
        not_finite_units: those of them whose audio had a NaN or an infinity.
        restarts: how often the engine's process ended and was started again.
        hangs: how often it was ended because it hung.
        step_s: how long steps took, in seconds.
        batch: units of a step that were given something.
        queue_s: how long units waited for their first step, in seconds.
    """

    failed_units: int = 0
    not_finite_units: int = 0
    restarts: int = 0
    hangs: int = 0
    step_s: Distribution = field(default_factory=lambda: Distribution(SECONDS))
    batch: Distribution = field(default_factory=lambda: Distribution(COUNTS))
    queue_s: Distribution = field(default_factory=lambda: Distribution(SECONDS))


class Worker(ABC):
    """A loaded engine. Everything public is called from one event loop.

    `max_step_s`: time after which a step of the engine counts as hung.
    """

    info: EngineInfo
    fingerprint: str
    """Identifies the engine's weights."""
    max_batch: int = 1
    """Units that a step advances, at most."""

    def __init__(self, name: str, max_step_s: float) -> None:
        self._name, self._max_step_s = name, max_step_s
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._failed_in_row, self._last_failed = 0, -1
        self._failing_until_s = 0.0
        self._closed = False
        self.counts = WorkerCounts()
        self._costs = StepCosts()

    @property
    def failing(self) -> bool:
        """Whether other engines should speak; `fault` says why."""
        return bool(self.fault)

    @property
    def fault(self) -> str:
        """What is wrong with the engine, for people; empty if nothing is known to be.

        Several units have failed one after the other, the last less than `FAILING_S` seconds ago, or a step takes far
        longer than any should.
        """
        if time.monotonic() < self._failing_until_s:
            return "units fail one after the other"
        activity, seconds = self.activity
        if activity == "step" and seconds > self._max_step_s * SLOW_STEP:
            return f"a step has taken {seconds:.0f} s so far"
        return ""

    @property
    @abstractmethod
    def activity(self) -> tuple[str, float]:
        """What the engine is doing, "step", "voice" or "" for nothing, and for how many seconds."""

    @property
    def load(self) -> int:
        """Units that are being spoken or queued."""
        return len(self._jobs)

    @property
    def active(self) -> int:
        """Units of `load` that the engine speaks or has queued; the others wait for their listeners."""
        return sum(1 for job in self._jobs.values() if not job.waits_for_listener)

    @property
    def capacity(self) -> float | None:
        """See `StepCosts.capacity`."""
        return self._costs.capacity(self.max_batch, self.info.new_units)

    def max_streams(self, part: float) -> int | None:
        """See `StepCosts.max_streams`."""
        return self._costs.max_streams(self.max_batch, part, self.info.new_units)

    def processors(self, streams: float) -> float | None:
        """See `StepCosts.processors`."""
        return self._costs.processors(self.max_batch, streams)

    @property
    def queued(self) -> int:
        """Units of `load` that wait for their first step."""
        return sum(1 for job in self._jobs.values() if job.queue_ms is None)

    @property
    def pid(self) -> int | None:
        """Of the engine's own process; None without one."""
        return None

    def submit(self, request: SpeakRequest, slack_s: float = 0.0) -> "Job":
        """Queue a unit whose listener has something to hear for `slack_s`: more urgent ones go before it.

        Raises:
            ShutdownError: the worker is closed.
            EngineError: the engine has ended for good.
        """
        if self._closed:
            raise self._shut_down()
        number = next(self._numbers)
        job = Job(number, request, self)
        self._submit(number, request, slack_s)
        self._jobs[number] = job
        return job

    @abstractmethod
    async def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """Prepare a recording, in pieces between the steps of the engine; no longer than its caller waits for it.

        Raises:
            CallerError: this engine cannot use this recording.
            EngineError: the engine failed.
            ShutdownError: the worker is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Fail everything that is queued with ShutdownError and end the engine's thread or process."""

    def drop(self, number: int) -> None:
        """Remove a unit. Called by its job."""
        if self._jobs.pop(number, None) is not None:
            self._drop(number)

    def taken(self, number: int) -> None:
        """A consumer has taken a step of a unit, which may go on then. Called by its job."""
        if number in self._jobs:
            self._taken(number)

    # ---- where the engine runs

    @abstractmethod
    def _submit(self, number: int, request: SpeakRequest, slack_s: float) -> None: ...

    @abstractmethod
    def _drop(self, number: int) -> None: ...

    @abstractmethod
    def _taken(self, number: int) -> None: ...

    # ---- for subclasses

    def _accept(self, results: Sequence[UnitResult]) -> None:
        """Hand results to their jobs, on the event loop. Jobs that are done or failed leave the worker.

        `results`: of one step.
        """
        self._observe_step([result for result in results if isinstance(result.outcome, Step)])
        for result in results:
            self._count(result)
            job = self._jobs.get(result.unit)
            if job is None:  # dropped meanwhile
                continue
            if result.is_last:
                del self._jobs[result.unit]
            waited = job.queue_ms is None
            job.accept(result)
            if waited and job.queue_ms is not None:
                self.counts.queue_s.observe(job.queue_ms / 1000)

    def _observe_step(self, stepped: Sequence[UnitResult]) -> None:
        """`stepped`: the results of one step that are no errors."""
        if not stepped:
            return
        seconds = stepped[0].took_ms / 1000
        self.counts.step_s.observe(seconds)
        self.counts.batch.observe(len(stepped))
        jobs = (self._jobs.get(result.unit) for result in stepped)
        started = sum(1 for job in jobs if job is not None and job.queue_ms is None)
        pieces = (result.outcome.pcm for result in stepped if isinstance(result.outcome, Step))
        samples = sum(len(pcm) for pcm in pieces if pcm is not None)
        audio_s = samples / self.info.sample_rate_hz
        self._costs.observe(len(stepped), started, seconds, audio_s, stepped[0].processor_s)

    def _count(self, result: UnitResult) -> None:
        if result.engine_failed:
            self.counts.failed_units += 1
            self.counts.not_finite_units += result.not_finite
            self._failed_in_row += 1
            self._last_failed = result.unit
            if self._failed_in_row >= FAILING_UNITS:
                self._failing_until_s = time.monotonic() + FAILING_S
        elif isinstance(result.outcome, Step) and (result.outcome.done or result.unit < self._last_failed):
            # It works: a unit is complete, or one goes on that was there before the failed one.
            self._failed_in_row, self._failing_until_s = 0, 0.0

    def _fail_all(self, error: IntoneError, spared: Container[int] = ()) -> None:
        """End every job with an error, except those whose numbers are in `spared`."""
        jobs = [job for number, job in self._jobs.items() if number not in spared]
        self.counts.failed_units += len(jobs) if isinstance(error, EngineError) else 0
        for job in jobs:
            del self._jobs[job.number]
            job.accept(UnitResult(job.number, error))

    def _shut_down(self) -> ShutdownError:
        return ShutdownError(f"engine {self._name} is shut down")


class Job:
    """A unit on its way through an engine: iterate it for its steps, on the event loop that submitted it.

    Iteration ends after the step that is `done`. Steps without audio are left out; the next one has their times.

    Attributes:
        number: of the unit in its worker.
        queue_ms: from submission to the first step; None before that.
        synthesis_ms: time spent in steps so far, those of the whole batch.

    Raises:
        CallerError: the engine cannot speak this unit.
        EngineError: the engine failed.
        ShutdownError: the worker was closed.
    """

    def __init__(self, number: int, request: SpeakRequest, worker: Worker) -> None:
        self.number, self.request = number, request
        self.submitted_s = time.monotonic()
        self.queue_ms: float | None = None
        self.synthesis_ms = 0.0
        self._worker = worker
        self._outcomes: deque[Outcome] = deque()
        self._empty_ms: dict[str, float] = {}  # by stage, of steps without audio
        self._arrived = asyncio.Event()
        self._over = False

    @property
    def waits_for_listener(self) -> bool:
        """Whether so many steps were not taken yet that the engine makes no other."""
        return len(self._outcomes) >= BACKLOG_STEPS

    @property
    def unread_samples(self) -> int:
        """Samples of steps that have arrived and were not taken."""
        steps = (outcome for outcome in self._outcomes if isinstance(outcome, Step))
        return sum(len(step.pcm) for step in steps if step.pcm is not None)

    def cancel(self) -> None:
        """Drop the unit: the step that is running finishes, no other follows."""
        self._worker.drop(self.number)

    def __aiter__(self) -> "Job":
        return self

    async def __anext__(self) -> Step:
        if self._over:
            raise StopAsyncIteration
        while not self._outcomes:
            self._arrived.clear()
            await self._arrived.wait()
        outcome = self._outcomes.popleft()
        self._worker.taken(self.number)
        if isinstance(outcome, IntoneError):
            self._over = True
            raise outcome
        self._over = outcome.done
        return outcome

    def accept(self, result: UnitResult) -> None:
        """Take a result from the worker; on the event loop."""
        outcome = result.outcome
        if isinstance(outcome, Step):
            if self.queue_ms is None:
                self.queue_ms = max(0.0, 1000 * (result.began_s - self.submitted_s))
            self.synthesis_ms += result.took_ms
            if result.is_empty:
                self._add_empty(outcome.stage_ms)
                return
            if self._empty_ms:
                self._add_empty(outcome.stage_ms)
                outcome, self._empty_ms = replace(outcome, stage_ms=self._empty_ms), {}
        self._outcomes.append(outcome)
        self._arrived.set()

    def _add_empty(self, stage_ms: Mapping[str, float]) -> None:
        for stage, ms in stage_ms.items():
            self._empty_ms[stage] = self._empty_ms.get(stage, 0.0) + ms
