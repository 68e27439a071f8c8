"""The engine loop: waits for units, picks a batch, advances it by one step, and hands the results on.

It runs on the thread that owns the engine, in the server's process or in a process of the engine's own. Units are
stepped together where the engine gains by it; where not all can be, those go first whose listeners are about to run out
of audio. A unit whose consumer falls behind pauses, so that others use the engine.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from intone.server.domain import PreparedVoice, Recording, SpeakRequest, Step
from intone.server.engines.base import Engine
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import CallerError, CheckpointError, EngineError, IntoneError

logger = logging.getLogger(__name__)

BACKLOG_STEPS = 4
"""Steps with audio that a unit may be ahead of its consumer; then it pauses, and others use the engine."""

MIN_LEFT_S = 0.5
"""Audio that a listener should have left to hear: with less, the unit goes before others' first sounds."""

PREPARATION_SHARE = 0.5
"""Part of a step's time that may be spent on preparing a voice before the next step, rounded up to a whole piece."""


class Parking(NamedTuple):
    """When the memory of units is freed whose listeners have paused.

    Attributes:
        max_s: how long a unit may be paused before.
        max_bytes: memory of all units that were begun, from which on those that have paused longest do not wait so
            long, and no other unit is begun.
    """

    max_s: float
    max_bytes: int


PARKING = Parking(60.0, 2 << 30)

MAX_REPLAYS = 2
"""How often a unit is spoken again because a batch failed that it was in; it fails at the next failure."""

Outcome = Step | IntoneError
"""What a unit is given: its next step, or the error that ends it."""


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What one step of the engine, or its failure, means for one unit.

    Attributes:
        unit: the number that the unit was submitted under.
        outcome: the next step, or the error that ends the unit.
        began_s: when the step began, in seconds of `time.monotonic`, which all processes of a machine share.
        took_ms: duration of the step, that of the whole batch; 0 for an error.
        processor_s: processor time of the step, that of the whole batch; 0 where it is not known.
        engine_failed: whether the error counts against the engine, not only against the unit.
        not_finite: whether the unit ended because its audio had a NaN or an infinity.
    """

    unit: int
    outcome: Outcome
    began_s: float = 0.0
    took_ms: float = 0.0
    processor_s: float = 0.0
    engine_failed: bool = False
    not_finite: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the unit ends with it."""
        return isinstance(self.outcome, IntoneError) or self.outcome.done

    @property
    def is_empty(self) -> bool:
        """Whether it gives the consumer nothing to take."""
        return not self.is_last and isinstance(self.outcome, Step) and self.outcome.pcm is None


class VoiceCall:
    """A recording to prepare, in pieces between steps; `settle` is called with the prepared voice or with an error."""

    def __init__(
        self, recording: Recording, settle: Callable[[PreparedVoice | None, IntoneError | None], None]
    ) -> None:
        self.recording, self.settle = recording, settle
        self.pieces: VoicePieces | None = None
        """What is left of the work; None until it begins."""
        self.cancelled = False
        """Set by any thread; no further piece is done then."""


@dataclass(eq=False, slots=True)
class _Unit:
    """A unit in the loop, whose lock guards `cancelled` and `backlog`; the rest belongs to the engine's thread."""

    number: int
    request: SpeakRequest
    due_s: float  # when its listener will have heard everything that was delivered, in seconds of `time.monotonic`
    state: Any = None
    cancelled: bool = False
    backlog: int = 0
    waits: bool = False  # for room in the engine, as of its last step
    held_bytes: int = 0  # of `state`, after its last step
    parked_s: float = 0.0  # when `backlog` last became too large
    delivered: int = 0  # samples
    replayed: int | None = None  # samples since it was started again; None unless it is being spoken again
    replays: int = 0

    def urgency(self, now_s: float) -> tuple[bool, int, float]:
        """The less, the more urgent: first units that keep their listener from a hole, then those whose listener has
        nothing to hear, then those that work ahead. Units that wait for room in the engine come last."""
        left_s = self.due_s - now_s
        kind = 1 if left_s < 0 else 0 if left_s < MIN_LEFT_S else 2
        return self.waits, kind, self.due_s


@dataclass(slots=True)
class Activity:
    """What the engine is doing: "step" or "voice" and since when, in seconds of `time.monotonic`; "" when it waits."""

    kind: str = ""
    since_s: float = field(default_factory=time.monotonic)


def batch_of(engine: Engine, max_batch: int) -> int:
    """Units that an engine advances together; `max_batch` 0 leaves the number to the engine."""
    return (max_batch or engine.info.max_batch) if engine.batches else 1


class EngineLoop:
    """Schedules the units of one engine. All methods but `run` may be called from any thread."""

    def __init__(
        self, name: str, deliver: Callable[[list[UnitResult]], None], processor_clock: Callable[[], float] | None = None
    ) -> None:
        """`deliver` is called on the engine's thread with the results of a step, one for each unit at most.

        `processor_clock`: processor time of the engine with all its threads, where it has a process of its own.
        """
        self._name, self._deliver_all = name, deliver
        self._processor_s = processor_clock or (lambda: 0.0)
        self._units: list[_Unit] = []
        self._parking, self._rate_hz = PARKING, 1
        self._calls: deque[VoiceCall] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self.activity = Activity()
        """Replaced, never changed, by the engine's thread."""

    def run(self, engine: Engine, max_batch: int, parking: Parking = PARKING) -> None:
        """Speak units until `close`. On the thread that loaded the engine. `max_batch` as for `batch_of`.

        A unit whose consumer takes nothing, as `parking` says, gives the memory of its state back. When the consumer
        goes on, it is spoken again from its beginning, without what was delivered.
        """
        self._parking = parking
        max_batch, new_units = batch_of(engine, max_batch), engine.info.new_units
        self._rate_hz = engine.info.sample_rate_hz
        while True:
            with self._changed:
                wait_s = self._release_parked()
                while not (self._closing or self._calls or self._ready()):
                    self._changed.wait(wait_s)
                    wait_s = self._release_parked()
                if self._closing:
                    return
                call = self._calls[0] if self._calls else None
                batch = self._pick(max_batch, new_units)
            began_s = time.monotonic()
            batch = [unit for unit in batch if unit.state is not None or self._start(engine, unit)]
            if batch:
                self._advance(engine, batch)
            if call is not None:
                self._prepare(engine, call, PREPARATION_SHARE * (time.monotonic() - began_s) if batch else 0.0)
            self.activity = Activity()

    # ---- from any thread

    def submit(self, number: int, request: SpeakRequest, slack_s: float = 0.0) -> None:
        """Queue a unit under a number that no other unit has; its listener has something to hear for `slack_s`.

        Negative: it goes before units that were submitted up to so much earlier.
        """
        with self._changed:
            self._units.append(_Unit(number, request, time.monotonic() + slack_s))
            self._changed.notify()

    def drop(self, number: int) -> None:
        """Remove a unit, if it is still there; the result of the step that is running is discarded."""
        with self._changed:
            for unit in self._units:
                if unit.number == number:
                    unit.cancelled = True
                    self._units.remove(unit)
                    return

    def taken(self, number: int) -> None:
        """A consumer has taken a step of a unit, which may go on then."""
        with self._changed:
            for unit in self._units:
                if unit.number == number:
                    unit.backlog -= 1
            self._changed.notify()

    def call(self, call: VoiceCall) -> None:
        """Queue a recording, to be prepared when those before it are."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify()

    def close(self) -> None:
        """Make `run` return after the step that is running. What is queued is dropped without a result."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    # ---- on the engine's thread

    def _ready(self) -> list[_Unit]:
        """Units whose consumers keep up; where there is no memory for others, those only that have been begun."""
        ready = [unit for unit in self._units if unit.backlog < BACKLOG_STEPS]
        if self._held_bytes < self._parking.max_bytes:
            return ready
        return [unit for unit in ready if unit.state is not None]

    @property
    def _held_bytes(self) -> int:
        return sum(unit.held_bytes for unit in self._units if unit.state is not None)

    def _release_parked(self) -> float | None:
        """Drop the states of units that are parked for too long, or hold memory that is needed.

        Returns:
            Time until the next one is parked for too long.
        """
        parked = [unit for unit in self._units if unit.state is not None and unit.backlog >= BACKLOG_STEPS]
        parked.sort(key=lambda unit: unit.parked_s)
        now_s = time.monotonic()
        for unit in parked:
            left_s = unit.parked_s + self._parking.max_s - now_s
            if left_s > 0 and self._held_bytes < self._parking.max_bytes:
                return left_s
            unit.state, unit.held_bytes, unit.replayed = None, 0, 0
            logger.info("engine %s: a unit waits for its listener; its memory is freed", self._name)
        return None

    def _pick(self, max_batch: int, new_units: int) -> list[_Unit]:
        """The units to step now, the most urgent ones; few of them new, since their prefill delays the others.

        A unit that is spoken again is stepped alone.
        """
        now_s = time.monotonic()
        ready = sorted(self._ready(), key=lambda unit: unit.urgency(now_s))  # equals in the order of submission
        if ready and ready[0].replayed is not None:
            return ready[:1]
        batch: list[_Unit] = []
        for unit in ready:
            is_new = unit.state is None
            if unit.replayed is None and (new_units or not is_new):
                new_units -= is_new
                batch.append(unit)
        return batch[:max_batch]

    def _prepare(self, engine: Engine, call: VoiceCall, budget_s: float) -> None:
        """Do a piece of a voice's preparation, and those that begin within `budget_s`; at its end, settle the call."""
        self.activity = Activity("voice")
        end_s = time.monotonic() + budget_s
        try:
            call.pieces = call.pieces or engine.prepare_voice(call.recording)
            while not call.cancelled:
                next(call.pieces)
                if time.monotonic() >= end_s:
                    return
            call.pieces.close()
        except StopIteration as end:
            call.settle(end.value, None)
        except Exception as caught:  # an engine may raise anything; the loop must go on
            if not isinstance(caught, CallerError):
                logger.exception("engine %s could not prepare %d ms", self._name, call.recording.duration_ms)
            call.settle(None, self._as_error(caught, "while it prepared a voice"))
        with self._changed:
            self._calls.popleft()

    def _start(self, engine: Engine, unit: _Unit) -> bool:
        """Start a new unit. Where that fails, deliver the error and return False.

        No model has run yet, so whatever is raised comes from the text or the voice, and does not count against the
        engine.
        """
        self.activity = Activity("step")
        try:
            unit.state = engine.start(unit.request)
        except Exception as caught:  # an engine may raise anything; the loop must go on
            if not isinstance(caught, CallerError):
                logger.exception(
                    "engine %s could not start a unit of %d characters", self._name, len(unit.request.text)
                )
            error = self._as_error(caught, "before it spoke")
            self._deliver([(unit, UnitResult(unit.number, error))])
            return False
        return True

    def _advance(self, engine: Engine, batch: Sequence[_Unit]) -> None:
        """One step of every unit in the batch."""
        self.activity = Activity("step")
        began_s, used_s = time.monotonic(), self._processor_s()
        try:
            steps = engine.step([unit.state for unit in batch])
            if len(steps) != len(batch):
                raise EngineError(self._name, f"it returned {len(steps)} steps for {len(batch)} units")
            for unit in batch:
                unit.held_bytes = engine.held_bytes(unit.state)
        except Exception as caught:  # an engine may raise anything; the loop must go on
            logger.exception("engine %s failed on a batch of %d", self._name, len(batch))
            self._fail(batch, caught)
            return
        took_ms, used_s = 1000 * (time.monotonic() - began_s), self._processor_s() - used_s
        logger.debug("engine %s: a step of %d units took %.1f ms", self._name, len(batch), took_ms)
        results = []
        for unit, step in zip(batch, steps, strict=True):
            result = self._result(unit, step, UnitResult(unit.number, step, began_s, took_ms, used_s))
            if result is not None:
                results.append((unit, result))
        self._deliver(results)

    def _fail(self, batch: Sequence[_Unit], caught: Exception) -> None:
        """A unit alone fails. Of several, any may be the cause, and the state of all is undefined: each is spoken again
        from its beginning, alone. The audio is the same, so that what was delivered already is left out."""
        failed = [unit for unit in batch if len(batch) == 1 or unit.replays == MAX_REPLAYS]
        for unit in batch:
            unit.state, unit.replayed = None, 0
            unit.replays += 1
        error = self._as_error(caught, "while it spoke")
        self._deliver([(unit, UnitResult(unit.number, error, engine_failed=True)) for unit in failed])

    def _result(self, unit: _Unit, step: Step, result: UnitResult) -> UnitResult | None:
        """`result`, of a step, as its unit's consumer is given it; None if all of it was delivered before."""
        if step.pcm is not None and not np.isfinite(step.pcm).all():
            logger.error("engine %s made audio with a NaN or an infinity; the unit is ended", self._name)
            error = EngineError(self._name, "it made audio that is not finite")
            return UnitResult(unit.number, error, engine_failed=True, not_finite=True)
        if unit.replayed is not None:
            step = self._without_delivered(unit, step)
            if unit.replayed is not None and not step.done:
                return None
        unit.waits = step.waits
        if step.pcm is not None:
            unit.delivered += len(step.pcm)
            unit.due_s = max(unit.due_s, time.monotonic()) + len(step.pcm) / self._rate_hz
        return replace(result, outcome=step)

    def _without_delivered(self, unit: _Unit, step: Step) -> Step:
        """The step of a unit that is spoken again, without the samples that were delivered; ends that state."""
        assert unit.replayed is not None
        pcm = np.zeros(0, np.float32) if step.pcm is None else step.pcm
        left = unit.delivered - unit.replayed
        unit.replayed += len(pcm)
        if len(pcm) <= left:
            return Step(None, step.done, step.cut, step.stage_ms)
        unit.replayed = None
        return Step(pcm[left:], step.done, step.cut, step.stage_ms)

    def _deliver(self, results: list[tuple[_Unit, UnitResult]]) -> None:
        """Hand on the results of units that are still wanted; those that end leave the loop."""
        with self._changed:
            wanted = [(unit, result) for unit, result in results if not unit.cancelled]
            for unit, result in wanted:
                if not result.is_empty:
                    unit.backlog += 1
                    if unit.backlog == BACKLOG_STEPS:
                        unit.parked_s = time.monotonic()
                if result.is_last:
                    unit.state = None
                    self._units.remove(unit)
        if wanted:  # at once, since each wake-up of the consumer costs a system call
            self._deliver_all([result for _, result in wanted])

    def _as_error(self, caught: Exception, when: str) -> IntoneError:
        """The error for a consumer: what was raised, unless it is none of ours, or can only happen at start-up."""
        if isinstance(caught, IntoneError) and not isinstance(caught, CheckpointError):
            return caught
        error = EngineError(self._name, f"{type(caught).__name__} {when}")
        error.__cause__ = caught
        return error
