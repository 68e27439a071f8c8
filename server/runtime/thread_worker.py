"""Runs an engine on a thread of this process, for embedding and for tests."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from intone.server.domain import PreparedVoice, Recording, SpeakRequest
from intone.server.engines.base import Engine
from intone.server.errors import EngineError, IntoneError
from intone.server.runtime.engine_loop import PARKING, EngineLoop, Parking, UnitResult, VoiceCall, batch_of
from intone.server.runtime.worker import Worker

logger = logging.getLogger(__name__)


MAX_STEP_S = 120.0
"""Time after which a step counts as hung, of engines that do not say."""


class ThreadWorker(Worker):
    """An engine on a thread of its own; the loop is `EngineLoop.run`."""

    def __init__(
        self, name: str, load: Callable[[], Engine], max_batch: int, max_step_s: float, parking: Parking
    ) -> None:
        """Start the thread, which loads the engine; `launch` waits for it."""
        super().__init__(name, max_step_s)
        self._load, self._max_batch, self._parking = load, max_batch, parking
        self._event_loop = asyncio.get_running_loop()
        self._engine_loop = EngineLoop(name, self._deliver)
        self._loaded: asyncio.Future[Engine] = self._event_loop.create_future()
        self._calls: set[asyncio.Future[PreparedVoice]] = set()
        self._dead: EngineError | None = None
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    @classmethod
    async def launch(
        cls,
        name: str,
        load: Callable[[], Engine],
        max_batch: int,
        *,
        max_step_s: float = MAX_STEP_S,
        parking: Parking = PARKING,
    ) -> "ThreadWorker":
        """Start a worker; `load` is called on its thread. A step that takes longer than `max_step_s` counts as hung.

        `parking`: see `EngineLoop.run`.

        Raises:
            CheckpointError: the engine cannot be loaded.
        """
        worker = cls(name, load, max_batch, max_step_s, parking)
        try:
            engine = await worker._loaded
        except BaseException:
            worker.close()
            raise
        worker.info, worker.fingerprint = engine.info, engine.fingerprint
        worker.max_batch = batch_of(engine, max_batch)
        return worker

    @property
    def fault(self) -> str:
        """As in `Worker`; for good once the loop itself has failed."""
        return "its loop has failed" if self._dead is not None else super().fault

    @property
    def activity(self) -> tuple[str, float]:
        """See `Worker.activity`."""
        activity = self._engine_loop.activity
        return activity.kind, time.monotonic() - activity.since_s

    async def prepare_voice(self, recording: Recording) -> PreparedVoice:
        """See `Worker.prepare_voice`."""
        self._check_alive()
        future: asyncio.Future[PreparedVoice] = self._event_loop.create_future()

        def settle(prepared: PreparedVoice | None, error: IntoneError | None) -> None:
            self._on_event_loop(_settle, future, prepared, error)

        call = VoiceCall(recording, settle)
        self._calls.add(future)
        self._engine_loop.call(call)
        try:
            return await future
        finally:
            call.cancelled = True
            self._calls.discard(future)

    def close(self) -> None:
        """See `Worker.close`. Waits for the running step, but not for an engine that is still loading."""
        self._closed = True
        self._engine_loop.close()
        self._end(self._shut_down())
        if self._loaded.done() and not self._loaded.cancelled():
            self._thread.join()

    def _submit(self, number: int, request: SpeakRequest, slack_s: float) -> None:
        self._check_alive()
        self._engine_loop.submit(number, request, slack_s)

    def _drop(self, number: int) -> None:
        self._engine_loop.drop(number)

    def _taken(self, number: int) -> None:
        self._engine_loop.taken(number)

    def _check_alive(self) -> None:
        if self._closed:
            raise self._shut_down()
        if self._dead is not None:
            raise self._dead

    def _end(self, error: IntoneError) -> None:
        """Fail everything that is queued."""
        self._fail_all(error)
        for future in self._calls:
            _settle(future, None, error)

    def _died(self) -> None:
        self._dead = EngineError(self._name, "its loop failed: see the server's log")
        self._end(self._dead)

    # ---- on the engine's thread

    def _run(self) -> None:
        try:
            engine = self._load()
        except BaseException as error:  # noqa: BLE001  (raised again where the worker is launched)
            self._on_event_loop(_settle, self._loaded, None, error)
            return
        self._on_event_loop(_settle, self._loaded, engine, None)
        try:
            self._engine_loop.run(engine, self._max_batch, self._parking)
        except BaseException:  # a bug, or a library that wants to exit: units must not wait for ever
            logger.exception("the loop of engine %s failed", self._name)
            self._on_event_loop(self._died)

    def _deliver(self, results: list[UnitResult]) -> None:
        self._on_event_loop(self._accept, results)

    def _on_event_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            self._event_loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            if not self._event_loop.is_closed():  # it ended while the engine was loading: nobody waits any more
                raise


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    """Set a future, unless its caller was cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
