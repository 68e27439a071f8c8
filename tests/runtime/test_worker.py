"""The worker's loop: batches, back-pressure, cancellation, failure."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from intone.server.domain import SpeakRequest
from intone.server.errors import CallerError, CheckpointError, EngineError, ShutdownError
from intone.server.runtime import worker as worker_module
from intone.server.runtime.worker import BACKLOG_STEPS, Job, Worker
from tests.support.fakes import Script, ScriptedEngine, text_of


def request(text: str) -> SpeakRequest:
    return SpeakRequest(text, seed=1)


async def heard(job: Job) -> str:
    return text_of(np.concatenate([step.pcm async for step in job]))


def with_worker(run: Callable[..., Any], engine: ScriptedEngine, body: Callable[[Worker], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        worker = await Worker.launch("starter", lambda: engine, max_batch=8)
        try:
            return await body(worker)
        finally:
            worker.close()

    return run(main())


async def eventually(true: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, "did not become true"
        await asyncio.sleep(0.001)


def test_units_are_spoken_whole_and_batched(run) -> None:
    engine = ScriptedEngine(Script(step_s=0.002))

    async def body(worker: Worker) -> None:
        texts = ["one two three", "four five six seven", "eight"]
        jobs = [worker.submit(request(text)) for text in texts]
        assert await asyncio.gather(*map(heard, jobs)) == texts
        assert all(job.queue_ms is not None and job.synthesis_ms > 0 for job in jobs)
        assert worker.load == 0

    with_worker(run, engine, body)
    assert max(len(batch) for batch in engine.stepped) == 3


def test_one_new_unit_joins_a_batch_at_a_time(run) -> None:
    engine = ScriptedEngine(Script(step_s=0.002))

    async def body(worker: Worker) -> None:
        await asyncio.gather(*(heard(worker.submit(request("x" * 20))) for _ in range(5)))

    with_worker(run, engine, body)
    sizes = [len(batch) for batch in engine.stepped]
    assert all(later - earlier <= 1 for earlier, later in zip(sizes, sizes[1:], strict=False))


def test_units_of_an_engine_that_does_not_batch_are_stepped_alone_new_ones_first(run) -> None:
    engine = ScriptedEngine(Script(step_s=0.002), batches=False)

    async def body(worker: Worker) -> None:
        texts = ["long one " * 6, "second", "third"]
        jobs = [worker.submit(request(text)) for text in texts]
        assert await asyncio.gather(*map(heard, jobs)) == texts

    with_worker(run, engine, body)
    order = [text for batch in engine.stepped for text in batch]
    assert all(len(batch) == 1 for batch in engine.stepped)
    assert order.index("third") <= 3  # after one step of each before it, and one that may have begun


def test_a_unit_with_a_slow_consumer_pauses(run) -> None:
    engine = ScriptedEngine(Script(characters_per_step=1))

    async def body(worker: Worker) -> None:
        slow = worker.submit(request("s" * 50))
        await eventually(lambda: len(engine.stepped) == BACKLOG_STEPS)
        assert await heard(worker.submit(request("quick one"))) == "quick one"
        alone = [batch for batch in engine.stepped if "s" * 50 in batch]
        assert len(alone) == BACKLOG_STEPS  # while the other spoke to its end
        assert await heard(slow) == "s" * 50

    with_worker(run, engine, body)


def test_cancelling_stops_within_one_step(run) -> None:
    engine = ScriptedEngine(Script(characters_per_step=1, step_s=0.002))

    async def body(worker: Worker) -> None:
        job = worker.submit(request("c" * 1000))
        steps = aiter(job)
        await anext(steps)
        before = len(engine.stepped)
        job.cancel()
        assert worker.load == 0
        assert await heard(worker.submit(request("after"))) == "after"
        assert sum("c" * 1000 in batch for batch in engine.stepped[before:]) <= 1

    with_worker(run, engine, body)


def test_a_unit_that_cannot_be_spoken_fails_alone(run) -> None:
    engine = ScriptedEngine(Script(refuse=("bad",)))

    async def body(worker: Worker) -> None:
        good, bad = worker.submit(request("good one")), worker.submit(request("bad"))
        with pytest.raises(CallerError, match="refused"):
            await heard(bad)
        assert await heard(good) == "good one"
        assert not worker.failing

    with_worker(run, engine, body)


def test_an_engine_that_raises_is_failing_until_it_works_again(run, monkeypatch) -> None:
    engine = ScriptedEngine(Script(fail_at_step=1))

    async def body(worker: Worker) -> None:
        with pytest.raises(EngineError, match="RuntimeError while it spoke"):
            await heard(worker.submit(request("breaks here")))
        assert worker.failing
        engine.script.fail_at_step = None
        assert await heard(worker.submit(request("works again"))) == "works again"
        assert not worker.failing

    with_worker(run, engine, body)


def test_failing_passes_with_time(run, monkeypatch) -> None:
    monkeypatch.setattr(worker_module, "FAILING_S", 0.01)
    engine = ScriptedEngine(Script(fail_at_step=0))

    async def body(worker: Worker) -> None:
        with pytest.raises(EngineError):
            await heard(worker.submit(request("breaks")))
        await eventually(lambda: not worker.failing)

    with_worker(run, engine, body)


def test_calls_run_on_the_engines_thread(run) -> None:
    async def body(worker: Worker) -> None:
        assert await worker.call(lambda: threading.current_thread().name) == "engine-starter"
        with pytest.raises(ZeroDivisionError):
            await worker.call(lambda: 1 // 0)

    with_worker(run, ScriptedEngine(), body)


def test_closing_fails_what_is_queued(run) -> None:
    async def main() -> None:
        worker = await Worker.launch("starter", lambda: ScriptedEngine(Script(characters_per_step=1)), max_batch=2)
        job = worker.submit(request("z" * 1000))
        await anext(aiter(job))
        worker.close()
        with pytest.raises(ShutdownError):
            await heard(job)
        with pytest.raises(ShutdownError):
            worker.submit(request("late"))

    run(main())


def test_a_model_that_cannot_be_loaded_leaves_no_thread(run) -> None:
    def load() -> ScriptedEngine:
        raise CheckpointError("voxcpm", "config.json is missing")

    async def main() -> None:
        with pytest.raises(CheckpointError, match=r"config\.json is missing"):
            await Worker.launch("voxcpm", load, max_batch=1)

    run(main())
