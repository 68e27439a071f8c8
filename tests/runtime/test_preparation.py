"""Voices are prepared by the worker's loop in pieces, between the steps of units."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from intone.server.domain import Recording
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import CallerError, EngineError
from intone.server.runtime import engine_loop
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.runtime.worker import Worker
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import soon
from tests.support.process_workers import heard, request


def with_worker(run: Callable[..., Any], engine: ScriptedEngine, body: Callable[[Worker], Awaitable[Any]]) -> None:
    async def main() -> None:
        worker = await ThreadWorker.launch("starter", lambda: engine, max_batch=8)
        try:
            await body(worker)
        finally:
            worker.close()

    run(main())


class Preparing(ScriptedEngine):
    """Prepares voices in pieces, which `stepped` records, too."""

    def __init__(self, pieces: int, piece_s: float = 0.0, **script: Any) -> None:
        super().__init__(Script(**script))
        self.pieces, self.piece_s, self.begun, self.closed = pieces, piece_s, 0, 0

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        self.begun += 1
        try:
            for _ in range(self.pieces):
                assert threading.current_thread().name == "engine-starter"
                self.stepped.append(["a piece"])
                time.sleep(self.piece_s)
                yield
        finally:
            self.closed += 1
        return (yield from super().prepare_voice(recording))


RECORDING = Recording(np.zeros(10, np.float32), 16_000, "ten samples")


def test_voices_are_prepared_in_pieces_between_steps(run, monkeypatch) -> None:
    """Pieces that are longer than they may take: one after each step, whatever is waiting; a unit waits for one."""
    monkeypatch.setattr(engine_loop, "PREPARATION_SHARE", 0.0)
    engine = Preparing(pieces=12, piece_s=0.01, step_s=0.001)

    async def body(worker: Worker) -> None:
        calls = [asyncio.create_task(worker.prepare_voice(RECORDING)) for _ in range(3)]
        await soon(lambda: len(engine.stepped) >= 5, "pieces are done")
        assert await heard(worker.submit(request("word " * 4))) == "word " * 4
        for call in calls:
            assert (await call).arrays["length"] == [10]

    with_worker(run, engine, body)
    order = ["piece" if batch == ["a piece"] else "step" for batch in engine.stepped]
    steps = [index for index, kind in enumerate(order) if kind == "step"]
    assert len(steps) == 5 and [b - a for a, b in zip(steps, steps[1:], strict=False)] == [2, 2, 2, 2]
    assert order.count("piece") == 36


def test_short_pieces_take_half_the_time_of_steps(run) -> None:
    engine = Preparing(pieces=200, piece_s=0.001, step_s=0.02, characters_per_step=1)

    async def body(worker: Worker) -> None:
        call = asyncio.create_task(worker.prepare_voice(RECORDING))
        await soon(lambda: bool(engine.stepped), "it has begun")
        await heard(worker.submit(request("z" * 10)))
        await call

    with_worker(run, engine, body)
    first, last = (f(i for i, batch in enumerate(engine.stepped) if batch != ["a piece"]) for f in (min, max))
    between = engine.stepped[first:last].count(["a piece"])
    assert 9 <= between <= 9 * (0.5 * 20 * 3 + 1)  # a step takes three times as long on a busy machine at most


def test_a_voice_that_nobody_waits_for_is_given_up(run) -> None:
    """Before its preparation begins, and in the middle of it."""
    engine = Preparing(pieces=1_000_000)

    async def body(worker: Worker) -> None:
        calls = [asyncio.create_task(worker.prepare_voice(RECORDING)) for _ in range(4)]
        await soon(lambda: bool(engine.stepped), "it has begun")
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        engine.pieces = 3
        assert (await worker.prepare_voice(RECORDING)).text == "ten samples"
        assert (engine.begun, engine.closed) == (2, 2)

    with_worker(run, engine, body)


def test_a_preparation_that_fails_does_not_keep_the_next(run) -> None:
    class Failing(Preparing):
        def prepare_voice(self, recording: Recording) -> VoicePieces:
            yield from super().prepare_voice(recording)
            if self.begun == 1:
                raise RuntimeError("a bug")
            return (yield from ScriptedEngine.prepare_voice(self, recording))

    async def body(worker: Worker) -> None:
        with pytest.raises(EngineError, match="RuntimeError while it prepared a voice"):
            await worker.prepare_voice(RECORDING)
        assert (await worker.prepare_voice(RECORDING)).text == "ten samples"

    with_worker(run, Failing(pieces=2), body)


def test_a_recording_that_the_engine_refuses(run) -> None:
    async def body(worker: Worker) -> None:
        with pytest.raises(CallerError, match="needs the words"):
            await worker.prepare_voice(Recording(np.zeros(10, np.float32), 16_000))

    with_worker(run, ScriptedEngine(), body)
