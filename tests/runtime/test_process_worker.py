"""An engine in a process of its own: speech and voices through the boundary, crashes, hangs, nothing left behind."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from intone.server.domain import Recording
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import CheckpointError, EngineError, ShutdownError
from intone.server.runtime import process_worker
from intone.server.runtime.process_worker import ProcessWorker
from intone.server.runtime.worker import Progress
from tests.support.fakes import ScriptedEngine, text_of
from tests.support.faulty_engine import (
    CRASHES,
    FREEZES,
    HANGS,
    MAKES_NAN,
    START_RAISES,
    STEP_RAISES,
)
from tests.support.process_workers import MAX_STEP_S, eventually, faulty, heard, recording, request, runs, with_worker


def test_units_are_spoken_as_in_this_process(run):
    async def body(worker):
        assert worker.info.name == "starter" and worker.fingerprint == "scripted-1"
        texts = ["one two three", "four five six seven", "eight"]
        jobs = [worker.submit(request(text)) for text in texts]
        assert worker.load == 3
        assert await asyncio.gather(*map(heard, jobs)) == texts
        assert all(job.queue_ms is not None and job.synthesis_ms >= 5 for job in jobs)
        assert worker.load == 0 and not worker.failing

    with_worker(run, body)


def test_the_processor_time_of_steps_is_known(run):
    """The engine sleeps for 5 ms in each step; what its process uses is far less, whatever else the machine does."""

    async def body(worker):
        await heard(worker.submit(request("a sentence of some length")))
        assert 0.0 < worker.processors(1) < 0.5
        assert worker.processors(2) > worker.processors(1)

    with_worker(run, body)


def test_loading_is_watched_and_runs_elsewhere(run):
    told = []

    async def body(worker):
        assert told == [0.5] and worker.pid != os.getpid()

    with_worker(run, body, progress=told.append)


def fails_to_load(error: Exception, progress: Progress | None = None) -> ScriptedEngine:
    raise error


def ends_while_loading(progress: Progress | None = None) -> ScriptedEngine:
    os._exit(7)


@pytest.mark.parametrize(
    ("load", "kind", "words"),
    [
        (partial(fails_to_load, CheckpointError("voxcpm", "config.json is missing")), CheckpointError, "config.json"),
        (partial(fails_to_load, ValueError("no")), EngineError, "ValueError while it was loaded: no"),
        (ends_while_loading, EngineError, "ended with status 7, while it loaded"),
    ],
)
def test_an_engine_that_cannot_be_loaded(run, load, kind, words):
    async def main():
        with pytest.raises(kind, match=words):
            await ProcessWorker.launch("voxcpm", load, max_batch=1, max_step_s=1.0)

    run(main())


def sleeps_while_loading(pid_file: Path, progress: Progress | None = None) -> ScriptedEngine:
    pid_file.write_text(str(os.getpid()))
    time.sleep(3600)
    raise AssertionError


def test_loading_can_be_given_up(run, tmp_path):
    pid_file = tmp_path / "pid"

    async def main():
        launching = asyncio.create_task(
            ProcessWorker.launch("voxcpm", partial(sleeps_while_loading, pid_file), max_batch=1, max_step_s=1.0)
        )
        await eventually(lambda: pid_file.exists() and bool(pid_file.read_text()))
        launching.cancel()
        await asyncio.wait({launching})
        assert not runs(int(pid_file.read_text()))

    run(main())


def test_a_refused_text_and_a_raising_start_leave_the_engine_as_it_is(run):
    async def body(worker):
        for _ in range(3):
            with pytest.raises(EngineError, match="ValueError before it spoke"):
                await heard(worker.submit(request(START_RAISES)))
        assert not worker.failing and worker.counts.restarts == 0

    with_worker(run, body)


def test_one_bad_unit_ends_alone(run):
    async def body(worker):
        good = [worker.submit(request(text)) for text in ("one two three four five", "six seven eight nine")]
        bad = [worker.submit(request(text)) for text in (STEP_RAISES, MAKES_NAN)]
        spoken = asyncio.gather(*map(heard, good))
        with pytest.raises(EngineError, match="RuntimeError while it spoke"):
            await heard(bad[0])
        with pytest.raises(EngineError, match="not finite"):
            await heard(bad[1])
        assert await spoken == ["one two three four five", "six seven eight nine"]
        assert worker.counts.not_finite_units == 1 and worker.counts.restarts == 0

    with_worker(run, body)


def test_a_unit_pauses_for_its_consumer_and_stops_when_it_is_cancelled(run):
    async def body(worker):
        slow = worker.submit(request("s" * 300))
        assert await heard(worker.submit(request("quick"))) == "quick"
        steps = aiter(slow)
        first = await anext(steps)
        assert text_of(first.pcm) == "ss"
        slow.cancel()
        assert worker.load == 0
        assert await heard(worker.submit(request("after"))) == "after"

    with_worker(run, body)


@pytest.mark.parametrize("text", [CRASHES, pytest.param(HANGS, marks=pytest.mark.slow)])
def test_a_unit_that_ends_the_process_ends_what_is_spoken_there_and_the_engine_comes_back(run, text, monkeypatch):
    async def body(worker):
        pid = worker.pid
        other = worker.submit(request("another one that is long " * 10))
        reading = asyncio.create_task(heard(other))
        began_s = time.monotonic()
        words = "ended by SIGSEGV" if text == CRASHES else "it hung: one step took more than 1 s"
        with pytest.raises(EngineError, match=words):
            await heard(worker.submit(request(text)))
        with pytest.raises(EngineError, match=words):
            await reading
        assert time.monotonic() - began_s < (MAX_STEP_S + 3)
        assert worker.failing and worker.load == 0
        assert await heard(worker.submit(request("it waits, and is spoken"))) == "it waits, and is spoken"
        assert not worker.failing and worker.pid != pid and not runs(pid)
        assert worker.counts.restarts == 1 and worker.counts.hangs == (text == HANGS)

    with_worker(run, body)


@pytest.mark.slow
def test_a_process_that_holds_its_interpreter_for_ever_is_restarted(run, monkeypatch):
    monkeypatch.setattr(process_worker, "MAX_SILENCE_S", 1.5)

    async def body(worker):
        with pytest.raises(EngineError, match="it hung, and sent nothing for"):
            await heard(worker.submit(request(FREEZES)))
        assert await heard(worker.submit(request("back again"))) == "back again"

    with_worker(run, body, max_step_s=100.0)


class PreparesInPieces(ScriptedEngine):
    """Prepares a voice in short pieces; one whose transcript is "endless" without an end."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        pieces = 0
        while pieces < 50 or recording.transcript == "endless":
            pieces += 1
            time.sleep(0.001)
            yield
        return (yield from super().prepare_voice(recording))


def prepares_in_pieces(progress: Progress | None = None) -> PreparesInPieces:
    return PreparesInPieces()


def test_units_are_spoken_while_voices_are_prepared_and_those_given_up_are_not_prepared(run):
    async def body(worker):
        endless = asyncio.create_task(worker.prepare_voice(replace(recording(), transcript="endless")))
        await eventually(lambda: worker.activity[0] == "voice")
        prepared = asyncio.create_task(worker.prepare_voice(recording()))
        assert await heard(worker.submit(request("spoken meanwhile"))) == "spoken meanwhile"
        assert not endless.done() and not prepared.done()
        endless.cancel()
        assert (await prepared).text == "the words"

    with_worker(run, body, prepares_in_pieces)


def test_a_unit_does_not_wait_for_ever_for_the_process(run, monkeypatch):
    monkeypatch.setattr(process_worker, "MAX_WAIT_S", 0.1)
    monkeypatch.setattr(process_worker, "MIN_DELAY_S", 30.0)

    async def body(worker):
        os.kill(worker.pid, signal.SIGKILL)
        await eventually(lambda: worker.failing)
        dropped = worker.submit(request("given up by its caller"))
        dropped.cancel()
        with pytest.raises(EngineError, match="is being started again"):
            await heard(worker.submit(request("too early")))
        with pytest.raises(EngineError, match="is being started again"):
            await worker.prepare_voice(recording())
        assert worker.load == 0

    with_worker(run, body)


def fails_the_second_time(folder: Path, progress: Progress | None = None) -> ScriptedEngine:
    """Loads, cannot be loaded once, and loads again."""
    count = len(list(folder.iterdir()))
    (folder / str(count)).touch()
    if count == 1:
        raise CheckpointError("starter", "the disk is away")
    return faulty()


def test_an_engine_that_cannot_be_loaded_again_is_tried_again_later(run, tmp_path, monkeypatch):
    monkeypatch.setattr(process_worker, "MIN_DELAY_S", 0.05)

    async def body(worker):
        assert await heard(worker.submit(request("once"))) == "once"
        os.kill(worker.pid, signal.SIGKILL)
        await eventually(lambda: worker.failing)
        assert await heard(worker.submit(request("again"))) == "again"

    with_worker(run, body, partial(fails_the_second_time, tmp_path))
    assert len(list(tmp_path.iterdir())) == 3


def test_closing_fails_what_is_queued(run):
    jobs = []

    async def body(worker):
        jobs.append(worker.submit(request("z" * 1000)))
        await anext(aiter(jobs[0]))
        worker.close()
        with pytest.raises(ShutdownError):
            await heard(jobs[0])
        with pytest.raises(ShutdownError):
            worker.submit(request("late"))
        with pytest.raises(ShutdownError):
            await worker.prepare_voice(recording())

    with_worker(run, body)
