"""Runs an engine in a process of its own, and starts it again when it ends or hangs.

A crash ends the units that were being spoken there, and nothing else. While the process is away, the worker counts as
failing, so that other engines speak; a unit that is submitted all the same waits for it, up to `MAX_WAIT_S`.
"""

import asyncio
import logging
import time
from typing import Any

from intone.server.domain import PreparedVoice, Recording, SpeakRequest, Step
from intone.server.errors import EngineError, IntoneError
from intone.server.runtime.child_process import ChildProcess
from intone.server.runtime.engine_loop import PARKING, Parking, UnitResult
from intone.server.runtime.shared_values import SharedValues
from intone.server.runtime.worker import Load, Progress, Worker

logger = logging.getLogger(__name__)

MAX_WAIT_S = 10.0
"""How long units and recordings wait for a process that is being started again; then they fail."""

MAX_VOICE_S = 120.0
"""How long one piece of a voice's preparation may take before the process counts as hung."""

MAX_SILENCE_S = 20.0
"""How long a process may send nothing, not even a heartbeat, before it counts as hung."""

MIN_DELAY_S, MAX_DELAY_S = 1.0, 30.0
"""Wait before a process is started again that ended before it spoke a unit, doubled each time. Others do not wait."""

LATE_S = 5.0
"""How long a process may send nothing before other engines speak for it."""

_CHECK_S = 0.25


class ProcessWorker(Worker):
    """An engine in a process of its own; `engine_process.run` is what runs there."""

    def __init__(self, name: str, load: Load, max_batch: int, max_step_s: float, parking: Parking) -> None:
        """Use `launch`."""
        super().__init__(name, max_step_s)
        self._load, self._max_batch, self._parking = load, max_batch, parking
        self._loop = asyncio.get_running_loop()
        self._child: ChildProcess | None = None
        self._up = asyncio.Event()
        self._loaded: asyncio.Future[None] = self._loop.create_future()
        self._progress: Progress | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._waiting: dict[int, tuple[SpeakRequest, asyncio.TimerHandle]] = {}
        self._calls: dict[int, asyncio.Future[PreparedVoice]] = {}
        self._heard_s = 0.0
        self._activity = ("", 0.0, time.monotonic())  # what, for how long, as of when
        self._has_spoken = False
        self._delay_s = 0.0

    @classmethod
    async def launch(
        cls,
        name: str,
        load: Load,
        max_batch: int,
        *,
        max_step_s: float,
        parking: Parking = PARKING,
        progress: Progress | None = None,
    ) -> "ProcessWorker":
        """Start a process and load the engine in it.

        Args:
            load: picklable; called in the process.
            max_batch: units that are stepped together, at most; 0 leaves the number to the engine.
            max_step_s: time after which a step counts as hung.
            parking: see `EngineLoop.run`.
            progress: called on the event loop while the engine loads.

        Raises:
            CheckpointError: the engine cannot be loaded.
            EngineError: its process ended while it loaded.
        """
        worker = cls(name, load, max_batch, max_step_s, parking)
        worker._progress = progress
        try:
            await worker._start()
        except BaseException:
            worker.close()
            raise
        worker._progress = None
        worker._supervisor = asyncio.create_task(worker._supervise(), name=f"supervisor of {name}")
        return worker

    @property
    def fault(self) -> str:
        """As in `Worker`; also while the process is away, or sends no heartbeat."""
        if not self._up.is_set():
            return "its process is being started again"
        if self.silent_s > LATE_S:
            return f"its process has sent nothing for {self.silent_s:.0f} s"
        return super().fault

    @property
    def activity(self) -> tuple[str, float]:
        """See `Worker.activity`; up to a heartbeat late."""
        kind, seconds, at_s = self._activity
        return kind, seconds + time.monotonic() - at_s

    @property
    def silent_s(self) -> float:
        """Time since the process was last heard of."""
        return time.monotonic() - self._heard_s

    @property
    def pid(self) -> int:
        """Of the process, or of the last one while there is none."""
        assert self._child is not None, "`launch` has started one"
        return self._child.pid

    async def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """See `Worker.prepare_voice`."""
        if self._closed:
            raise self._shut_down()
        try:
            await asyncio.wait_for(self._up.wait(), MAX_WAIT_S)
        except asyncio.TimeoutError:  # noqa: UP041 - another class in Python 3.10
            raise self._away() from None
        if self._closed:
            raise self._shut_down()
        number = self._shared.next_number()
        future: asyncio.Future[PreparedVoice] = self._loop.create_future()
        self._calls[number] = future
        self._send("prepare", number, recording)
        try:
            return await future
        except asyncio.CancelledError:
            self._send("cancel", number)
            raise
        finally:
            self._calls.pop(number, None)

    def close(self) -> None:
        """See `Worker.close`."""
        self._closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
        self._up.set()  # those who wait for it see that the worker is closed
        for number in list(self._waiting):
            self._forget_waiting(number)
        self._end(self._shut_down())
        if self._child is not None:
            self._child.close()

    # ---- units

    def _submit(self, number: int, request: SpeakRequest, slack_s: float) -> None:
        if self._up.is_set():
            self._send("submit", number, *self._shared.reduced(request), slack_s)
        else:
            timer = self._loop.call_later(MAX_WAIT_S, self._give_up, number)
            self._waiting[number] = (request, timer)

    def _drop(self, number: int) -> None:
        if not self._forget_waiting(number):
            self._send("drop", number)

    def _taken(self, number: int) -> None:
        self._send("taken", number)

    def _give_up(self, number: int) -> None:
        self._forget_waiting(number)
        self._accept([UnitResult(number, self._away())])

    def _forget_waiting(self, number: int) -> bool:
        _, timer = self._waiting.pop(number, (None, None))
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _away(self) -> EngineError:
        return EngineError(self._name, "its process has ended and is being started again")

    def _end(self, error: IntoneError) -> None:
        """Fail everything that the process is speaking, has queued or prepares; not what waits for another process."""
        self._fail_all(error, self._waiting)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(error)

    # ---- messages

    def _send(self, *message: Any) -> None:
        assert self._child is not None, "there is a process while the worker is ready"
        self._child.send(message)

    def _received(self, message: tuple[Any, ...]) -> None:
        self._heard_s = time.monotonic()
        match message:
            case ("results", results):
                self._has_spoken = self._has_spoken or any(
                    isinstance(one.outcome, Step) and one.outcome.done for one in results
                )
                self._accept(results)
            case ("beat", kind, seconds):
                self._activity = (kind, seconds, self._heard_s)
            case ("voice", number, prepared, error):
                self._voice_prepared(number, prepared, error)
            case ("progress", fraction):
                if self._progress is not None:
                    self._progress(fraction)
            case ("ready", info, fingerprint, max_batch):
                self.info, self.fingerprint, self.max_batch = info, fingerprint, max_batch
                self._loaded.set_result(None)
            case ("failed", error):
                self._loaded.set_exception(error)
            case _:
                raise ValueError(f"there is no message {message[0]!r}")

    def _voice_prepared(self, number: int, prepared: PreparedVoice | None, error: IntoneError | None) -> None:
        if prepared is not None:
            self._shared.made(number, prepared)
        future = self._calls.get(number)
        if future is None or future.done():  # the caller was cancelled
            return
        if prepared is not None:
            future.set_result(prepared)
        else:
            future.set_exception(error or EngineError(self._name, "it prepared nothing"))

    # ---- the process

    async def _start(self) -> None:
        """Start a process and wait until its engine is loaded.

        Raises:
            EngineError: that failed.
        """
        self._loaded = self._loop.create_future()
        self._heard_s, self._has_spoken = time.monotonic(), False
        self._activity = ("", 0.0, self._heard_s)
        function = "intone.server.runtime.engine_process:run"
        arguments = (self._name, self._load, self._max_batch, self._parking)
        try:
            self._child = await ChildProcess.start(function, arguments, self._received)
        except OSError as error:
            raise EngineError(self._name, f"its process cannot be started: {error.strerror}") from error
        self._shared = SharedValues(self._child.send)
        try:
            events: set[asyncio.Future[Any]] = {self._loaded, self._child.ended}
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if not self._loaded.done():
                raise EngineError(self._name, f"its process is gone: {self._child.ended.result()}, while it loaded")
            self._loaded.result()
        except BaseException:
            self._child.close()
            raise
        self._up.set()
        for number, (request, timer) in self._waiting.items():
            timer.cancel()
            self._submit(number, request, 0.0)  # it has waited: its listener has nothing left to hear
        self._waiting.clear()

    async def _supervise(self) -> None:
        while True:
            assert self._child is not None, "`launch` has started one"
            reason = await self._end_of(self._child)
            self._lost(self._child, reason)
            await self._restart()

    async def _end_of(self, child: ChildProcess) -> str:
        """Why a process has ended, once it has; ends it if it hangs."""
        suspect = False
        while not child.ended.done():
            await asyncio.wait({child.ended}, timeout=_CHECK_S)
            fault = self._hang()
            if fault and suspect:  # twice, since messages may be waiting where this process itself was held up
                self.counts.hangs += 1
                self._up.clear()
                self._end(EngineError(self._name, f"{fault}; its process is ended"))
                await child.kill_hung()
                await asyncio.wait({child.ended})
                return fault
            suspect = bool(fault)
        return child.ended.result()

    def _hang(self) -> str:
        """How the process hangs; empty if it does not."""
        if self.silent_s > MAX_SILENCE_S:
            return f"it hung, and sent nothing for {self.silent_s:.0f} s"
        kind, seconds, _ = self._activity
        limit_s = {"step": self._max_step_s, "voice": MAX_VOICE_S}.get(kind)
        if limit_s is not None and seconds > limit_s:
            return f"it hung: one {kind} took more than {limit_s:g} s"
        return ""

    def _lost(self, child: ChildProcess, reason: str) -> None:
        """The process has ended: fail what was there."""
        self._up.clear()
        self.counts.restarts += 1
        logger.error("the process of engine %s (%d) is gone: %s", self._name, child.pid, reason)
        child.close()
        self._end(EngineError(self._name, f"its process is gone: {reason}"))

    async def _restart(self) -> None:
        while True:
            self._delay_s = 0.0 if self._has_spoken else min(max(MIN_DELAY_S, 2 * self._delay_s), MAX_DELAY_S)
            await asyncio.sleep(self._delay_s)
            began_s = time.monotonic()
            try:
                await self._start()
            except EngineError as error:
                logger.error("engine %s cannot be started again: %s", self._name, error)
            else:
                logger.info("engine %s is back after %.1f s", self._name, time.monotonic() - began_s)
                return
