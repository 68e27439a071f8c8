"""The test fixtures themselves: virtual time, leak checks, restored random state, explicit skips."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.support.virtual_time import LeakError, StuckError, VirtualLoop

pytest_plugins = ["pytester"]


def test_virtual_time_jumps_to_the_next_timer(run_virtual):
    async def script():
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(20, lambda: seen.append(("timer", loop.time())))
        await asyncio.sleep(10)
        seen.append(("slept", loop.time()))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), timeout=20)
        seen.append(("gave up", loop.time()))
        return seen

    started_s = time.monotonic()
    assert run_virtual(script()) == [("slept", 10.0), ("timer", 20.0), ("gave up", 30.0)]
    assert time.monotonic() - started_s < 10


def test_timers_fire_in_order_and_at_exact_times(run_virtual):
    async def script():
        loop = asyncio.get_running_loop()
        seen = []

        async def sleeper(delay_s):
            await asyncio.sleep(delay_s)
            seen.append((delay_s, loop.time()))

        delays_s = [0.3, 0.1, 0.2, 1e-6, 0.1, 2000.0, 0.7]
        await asyncio.gather(*(sleeper(delay_s) for delay_s in delays_s))
        assert [delay_s for delay_s, _ in seen] == sorted(delays_s)
        return max(abs(at_s - delay_s) for delay_s, at_s in seen)

    assert run_virtual(script()) < 1e-8


def test_a_deadlock_names_the_waiting_task_and_its_stack(run_virtual):
    async def never():
        await asyncio.Event().wait()

    async def script():
        waiting = asyncio.create_task(never(), name="the-waiting-one")
        await asyncio.sleep(5)
        await waiting

    with pytest.raises(StuckError, match=r"(?s)at 5.000 s nothing is scheduled; 2 tasks wait:.*the-waiting-one.*never"):
        run_virtual(script())


def test_endless_timers_and_busy_loops_are_stopped(run_virtual):
    async def ticks(delay_s):
        while True:  # noqa: ASYNC110 - the fault under test
            await asyncio.sleep(delay_s)

    with pytest.raises(StuckError, match="limit of virtual time"):
        run_virtual(ticks(0.5), limit_s=100.0)
    with pytest.raises(StuckError, match="spin without letting time pass"):
        run_virtual(ticks(0))


def test_exceptions_propagate(run, run_virtual):
    async def broken():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run(broken())
    with pytest.raises(KeyError, match="lost"):
        run_virtual(broken())


async def _leave_a_task_behind():
    asyncio.get_running_loop().leak = asyncio.create_task(asyncio.sleep(3000), name="forgotten")


async def _cancel_without_waiting():
    asyncio.create_task(asyncio.sleep(3000)).cancel()
    return "fine"


async def _lose_an_exception():
    async def fails():
        raise ValueError("nobody looks here")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    del task


def test_leaked_tasks_and_lost_exceptions_fail(run, run_virtual):
    for runner in (run, run_virtual):
        with pytest.raises(LeakError, match="forgotten"):
            runner(_leave_a_task_behind())
        with pytest.raises(LeakError, match="nobody looks here"):
            runner(_lose_an_exception())
        assert runner(_cancel_without_waiting()) == "fine"


def test_real_loop_has_a_timeout(run):
    async def hangs():
        await asyncio.Event().wait()

    with pytest.raises(pytest.fail.Exception, match=r"(?s)not done after 0.05 s.*hangs"):
        run(hangs(), timeout_s=0.05)


def test_virtual_time_refuses_threads_and_sockets(run_virtual):
    async def thread():
        await asyncio.to_thread(time.sleep, 0)

    async def read():
        here, there = socket.socketpair()
        with here, there:
            asyncio.get_running_loop().add_reader(here, lambda: None)

    async def woken():
        loop = asyncio.get_running_loop()
        errors = []

        def wake():
            try:
                loop.call_soon_threadsafe(lambda: None)
            except RuntimeError as error:
                errors.append(str(error))

        other = threading.Thread(target=wake)
        other.start()
        other.join()
        assert len(errors) == 1 and "another thread" in errors[0]

    with pytest.raises(RuntimeError, match="wait for a thread"):
        run_virtual(thread())
    with pytest.raises(RuntimeError, match="no sockets"):
        run_virtual(read())
    run_virtual(woken())


def test_virtual_loop_serves_asyncio_queues_and_timeouts(run_virtual):
    async def script():
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        queue = asyncio.Queue(maxsize=1)

        async def produce():
            for item in range(5):
                await asyncio.sleep(1)
                await queue.put((item, loop.time()))

        producer = asyncio.create_task(produce())
        got = [await queue.get() for _ in range(5)]
        await producer
        return got

    assert run_virtual(script()) == [(item, item + 1.0) for item in range(5)]


LEAKY = """
import asyncio, random, sys, threading, pytest

def test_thread():
    threading.Thread(target=threading.Event().wait, name="stray", daemon=True).start()

def test_task():
    async def main():
        asyncio.get_running_loop().leak = asyncio.create_task(asyncio.sleep(3000), name="stray-task")
    asyncio.run(main())

drawn = []

@pytest.mark.parametrize("turn", [0, 1])
def test_randomness(turn):
    drawn.append(random.random())
    assert drawn[0] == drawn[-1]

def test_skip(require):
    assert require("node", "here", "unused") == "here"
    require("node", None, "no node on this machine")

def test_cuda(require):
    require("cuda", False, "no GPU on this machine")
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    root = Path(__file__).resolve().parents[2]
    conftest = (root / "tests" / "conftest.py").read_text("utf8")
    pytester.makeconftest(conftest.replace("THREAD_GRACE_S = 2.0", "THREAD_GRACE_S = 0.1"))
    pytester.makepyfile(test_leaky=LEAKY)
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.delenv("INTONE_REQUIRE", raising=False)
    monkeypatch.delenv("REQUIRE_CUDA", raising=False)
    return pytester


def test_leaks_are_errors_and_skips_say_why(suite):
    result = suite.runpytest_subprocess("-ra", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=2, skipped=2)
    result.stdout.fnmatch_lines_random(
        ["*threads outlived the test*", "*stray:", "*stray-task*", "*no node on this machine*"]
    )


def test_required_tools_may_not_be_skipped(suite, monkeypatch):
    monkeypatch.setenv("INTONE_REQUIRE", "oracle,node")
    monkeypatch.setenv("REQUIRE_CUDA", "1")
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, errors=2, failed=2)
    result.stdout.fnmatch_lines_random(["*node is required here: no node*", "*cuda is required here: no GPU*"])
