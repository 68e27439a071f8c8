"""The worker's loop: batches, back-pressure, cancellation, failure."""

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from intone.server.domain import SpeakRequest, Step
from intone.server.errors import CallerError, CheckpointError, EngineError, ShutdownError
from intone.server.runtime import worker as worker_module
from intone.server.runtime.engine_loop import BACKLOG_STEPS, Parking
from intone.server.runtime.thread_worker import ThreadWorker
from intone.server.runtime.worker import FAILING_UNITS, Job, Worker
from tests.support.fakes import Script, ScriptedEngine, ScriptedState, advance, text_of
from tests.support.faulty_engine import MAKES_NAN, START_RAISES, STEP_RAISES, FaultyEngine


def request(text: str) -> SpeakRequest:
    return SpeakRequest(text, seed=1)


async def heard(job: Job) -> str:
    return text_of(np.concatenate([step.pcm async for step in job]))


def with_worker(run: Callable[..., Any], engine: ScriptedEngine, body: Callable[[Worker], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        worker = await ThreadWorker.launch("starter", lambda: engine, max_batch=8)
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


def test_a_unit_that_nobody_listens_to_gives_its_memory_back_and_goes_on_later(run) -> None:
    class Watched(ScriptedEngine):
        def start(self, request: SpeakRequest) -> Any:
            state = super().start(request)
            states.append(weakref.ref(state))
            return state

    states: list[weakref.ref[Any]] = []
    text = "a text with more steps than may be ahead of its listener"

    async def main() -> None:
        worker = await ThreadWorker.launch("starter", Watched, max_batch=8, parking=Parking(0.1, 1 << 30))
        try:
            parked = worker.submit(request(text))
            await eventually(lambda: len(states) == 1)
            assert await heard(worker.submit(request("another"))) == "another"
            await eventually(lambda: states[0]() is None)
            assert await heard(worker.submit(request("a third"))) == "a third"
            assert await heard(parked) == text
        finally:
            worker.close()

    run(main())


def test_units_that_nobody_listens_to_give_their_memory_back_at_once_where_others_need_it(run) -> None:
    """A unit holds 1000 bytes for each of its steps; there is room for two that have paused after four."""

    class Watched(ScriptedEngine):
        def start(self, request: SpeakRequest) -> Any:
            state = super().start(request)
            states.append(weakref.ref(state))
            return state

    states: list[weakref.ref[Any]] = []
    text = "a text with more steps than may be ahead of its listener"

    async def main() -> None:
        worker = await ThreadWorker.launch("starter", Watched, max_batch=8, parking=Parking(3600.0, 8000))
        try:
            parked = [worker.submit(request(text)) for _ in range(6)]
            await eventually(lambda: len(states) == 6)
            await eventually(lambda: sum(state() is not None for state in states) <= 2)
            assert await heard(worker.submit(request("another"))) == "another"
            assert await asyncio.gather(*map(heard, parked)) == [text] * 6
        finally:
            worker.close()

    run(main())


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


def test_units_of_an_engine_that_does_not_batch_are_stepped_alone_and_begin_before_others_work_ahead(run) -> None:
    engine = ScriptedEngine(Script(step_s=0.002), batches=False)

    async def body(worker: Worker) -> None:
        texts = ["long one " * 6, "second", "third"]
        jobs = [worker.submit(request(text)) for text in texts]
        assert await asyncio.gather(*map(heard, jobs)) == texts

    with_worker(run, engine, body)
    order = [text for batch in engine.stepped for text in batch]
    assert all(len(batch) == 1 for batch in engine.stepped)
    assert order.index("third") <= 7  # of 18: those before it were stepped until half a second was left to hear


def test_units_that_wait_for_room_do_not_keep_those_from_the_engine_that_have_it(run) -> None:
    """The engine has room for one unit, and the others, which have nothing to hear yet, are more urgent."""

    class Narrow(ScriptedEngine):
        def step(self, states: Sequence[ScriptedState]) -> list[Step]:
            steps = []
            for state in states:
                if not inside or inside[0].position >= len(inside[0].request.text):
                    inside[:] = [state]
                has_room = state is inside[0]
                steps.append(advance(state, self.script) if has_room else Step(None, False, waits=True))
            return steps

    inside: list[ScriptedState] = []

    async def spoken(job: Job) -> str:
        return text_of(np.concatenate([step.pcm async for step in job if step.pcm is not None]))

    async def body(worker: Worker) -> None:
        texts = [text * 10 for text in ("one ", "two ", "three ")]
        assert await asyncio.gather(*(spoken(worker.submit(request(text))) for text in texts)) == texts

    with_worker(run, Narrow(batches=False), body)


def test_steps_without_audio_reach_nobody_but_their_times_do(run) -> None:
    """They do not count as steps that the consumer has not taken, either."""

    class Thoughtful(ScriptedEngine):
        def step(self, states: Sequence[ScriptedState]) -> list[Step]:
            silent.append(len(states))
            if len(silent) % (2 * BACKLOG_STEPS):
                return [Step(None, False, stage_ms={"think": 1.0}) for _ in states]
            return super().step(states)

    silent: list[int] = []

    async def body(worker: Worker) -> None:
        steps = [step async for step in worker.submit(request("two steps"[:8]))]
        assert text_of(np.concatenate([step.pcm for step in steps])) == "two step" and len(steps) == 2
        assert [step.stage_ms["think"] for step in steps] == [2 * BACKLOG_STEPS - 1.0] * 2

    with_worker(run, Thoughtful(), body)


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


def test_an_engine_that_fails_one_unit_after_the_other_is_failing_until_it_works_again(run) -> None:
    engine = ScriptedEngine(Script(fail_at_step=1))

    async def body(worker: Worker) -> None:
        for count in range(FAILING_UNITS):
            assert not worker.failing
            with pytest.raises(EngineError, match="RuntimeError while it spoke"):
                await heard(worker.submit(request(f"breaks here {count}")))
        assert worker.failing and worker.counts.failed_units == FAILING_UNITS
        engine.script.fail_at_step = None
        assert await heard(worker.submit(request("works again"))) == "works again"
        assert not worker.failing

    with_worker(run, engine, body)


def test_failing_passes_with_time(run, monkeypatch) -> None:
    monkeypatch.setattr(worker_module, "FAILING_S", 0.01)
    engine = ScriptedEngine(Script(fail_at_step=0))

    async def body(worker: Worker) -> None:
        for _ in range(FAILING_UNITS):
            with pytest.raises(EngineError):
                await heard(worker.submit(request("breaks")))
        await eventually(lambda: not worker.failing)

    with_worker(run, engine, body)


def test_what_start_raises_does_not_count_against_the_engine(run) -> None:
    async def body(worker: Worker) -> None:
        for _ in range(2 * FAILING_UNITS):
            with pytest.raises(EngineError, match="ValueError before it spoke"):
                await heard(worker.submit(request(START_RAISES)))
        assert not worker.failing and worker.counts.failed_units == 0

    with_worker(run, FaultyEngine(), body)


def test_a_bad_unit_does_not_fail_its_batch(run) -> None:
    """The others are spoken to the end, nothing missing and nothing twice, whatever the failed step did to them."""
    engine = FaultyEngine(Script(characters_per_step=2, step_s=0.002))

    async def body(worker: Worker) -> None:
        texts = ["one two three four", "five six seven eight nine", "ten"]
        good = [worker.submit(request(text)) for text in texts]
        bad = worker.submit(request(STEP_RAISES))
        spoken = asyncio.gather(*map(heard, good))
        with pytest.raises(EngineError, match="RuntimeError while it spoke"):
            await heard(bad)
        assert await spoken == texts
        assert not worker.failing and worker.counts.failed_units == 1 and worker.load == 0

    with_worker(run, engine, body)
    assert any(STEP_RAISES in batch and len(batch) > 1 for batch in engine.stepped)


def test_units_whose_batches_always_fail_do_not_run_for_ever(run) -> None:
    class FailsTogether(ScriptedEngine):
        def step(self, states: Any) -> Any:
            if len(states) > 1:
                raise RuntimeError("two are too many")
            return super().step(states)

    async def body(worker: Worker) -> None:
        spoken = await asyncio.gather(
            *(heard(worker.submit(request(text * 20))) for text in "abc"), return_exceptions=True
        )
        assert all(isinstance(one, EngineError) or len(one) == 20 for one in spoken)

    with_worker(run, FailsTogether(Script(characters_per_step=1)), body)


def test_audio_that_is_not_finite_ends_its_unit_and_is_not_delivered(run) -> None:
    async def body(worker: Worker) -> None:
        good, bad = worker.submit(request("a good one")), worker.submit(request(MAKES_NAN))
        pieces = []
        with pytest.raises(EngineError, match="not finite"):
            async for step in bad:
                pieces.append(step.pcm)
        assert pieces and all(np.isfinite(piece).all() for piece in pieces)
        assert await heard(good) == "a good one"
        assert worker.counts.not_finite_units == 1 and not worker.failing

    with_worker(run, FaultyEngine(), body)


def test_an_engine_that_returns_too_few_steps_fails_the_unit(run) -> None:
    class Forgetful(ScriptedEngine):
        def step(self, states: Any) -> Any:
            return super().step(states)[1:]

    async def body(worker: Worker) -> None:
        with pytest.raises(EngineError, match="0 steps for 1 units"):
            await heard(worker.submit(request("lost")))

    with_worker(run, Forgetful(), body)


def test_a_loop_that_ends_fails_what_is_queued_and_what_comes(run) -> None:
    class Exits(ScriptedEngine):
        def step(self, states: Any) -> Any:
            raise SystemExit(3)

    async def body(worker: Worker) -> None:
        jobs = [worker.submit(request("one")), worker.submit(request("two"))]
        for job in jobs:
            with pytest.raises(EngineError, match="its loop failed"):
                await heard(job)
        assert worker.failing
        with pytest.raises(EngineError, match="its loop failed"):
            worker.submit(request("three"))

    with_worker(run, Exits(), body)


def test_closing_fails_what_is_queued(run) -> None:
    async def main() -> None:
        worker = await ThreadWorker.launch(
            "starter", lambda: ScriptedEngine(Script(characters_per_step=1)), max_batch=2
        )
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
            await ThreadWorker.launch("voxcpm", load, max_batch=1)

    run(main())


def test_steps_batches_and_waits_are_counted(run) -> None:
    async def body(worker: Worker) -> None:
        jobs = [worker.submit(request("eight ab")) for _ in range(3)]  # two steps each
        assert worker.queued == worker.load == 3
        for job in jobs:
            await heard(job)
        counts = worker.counts
        assert worker.queued == worker.load == 0 and worker.pid is None
        assert counts.queue_s.count == 3 and counts.batch.sum == 6
        assert counts.step_s.count == counts.batch.count < 6
        assert counts.batch.buckets()[-1] == ("+Inf", counts.batch.count)

    with_worker(run, ScriptedEngine(), body)


def test_what_was_made_for_a_unit_that_is_dropped_is_known(run) -> None:
    async def body(worker: Worker) -> None:
        job = worker.submit(request("eight ab"))
        await eventually(lambda: worker.load == 0)
        assert job.unread_samples > 0
        await heard(job)
        assert job.unread_samples == 0

    with_worker(run, ScriptedEngine(), body)
