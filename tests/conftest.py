"""Fixtures of all tests: coroutine runners, leak checks, restored random state, one torch thread, explicit skips."""

import asyncio
import importlib.util
import os
import random
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from intone.server.runtime.thread_pools import ThreadPools
from tests.support import real_server, virtual_time

T = TypeVar("T")

# Threads that libraries keep for the life of the process: gRPC's pollers, tqdm's monitor.
PROCESS_WIDE_THREADS = re.compile(r"_poll_wrapper|_channel_spin|tqdm", re.IGNORECASE)
THREAD_GRACE_S = 2.0
TASK_GRACE_S = 0.5


@pytest.fixture(scope="session")
def require() -> Callable[[str, T, str], T]:
    """`require(name, found, reason)`: returns `found`, or skips the test with `reason` if it is falsy.

    `INTONE_REQUIRE=oracle,node` makes the skips with these names failures, `REQUIRE_CUDA=1` those with "cuda".
    """
    required = {name.strip() for name in os.environ.get("INTONE_REQUIRE", "").split(",")}
    if os.environ.get("REQUIRE_CUDA") == "1":
        required.add("cuda")

    def check(name: str, found: T, reason: str) -> T:
        if found:
            return found
        if name in required:
            pytest.fail(f"{name} is required here: {reason}")
        pytest.skip(f"{reason} (INTONE_REQUIRE={name} makes this a failure)")

    return check


@pytest.fixture(scope="session")
def server_address(require: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server in a process of its own, with the starter voice and a VoxCPM nano with random weights."""
    require("starter", importlib.util.find_spec("hibari"), "hibari-tts is not installed: pip install 'intone[starter]'")
    flags = ("--voxcpm", "nano", "--random-weights", "--no-fillers")  # rendering them would keep the server busy
    with real_server.serving(tmp_path_factory.mktemp("server"), *flags) as address:
        yield address


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What a script starts in the background ignores SIGINT, and so does what the tests start then, unless it is told
    not to."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def run() -> Callable[..., Any]:
    """`run(coroutine, timeout_s=30.0)`: runs it on a real event loop, for sockets and threads. Leaked tasks fail."""

    def on_real_loop(main: virtual_time.Main[T], timeout_s: float = 30.0) -> T:
        async def bounded() -> T:
            task = asyncio.ensure_future(main)
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
            if not done:
                tasks = asyncio.all_tasks() - {asyncio.current_task()}
                pytest.fail(f"not done after {timeout_s} s; tasks:\n{virtual_time.stacks(tasks)}")
            return task.result()

        return virtual_time.drive(asyncio.new_event_loop(), bounded(), TASK_GRACE_S)

    return on_real_loop


@pytest.fixture
def thread_pools() -> Iterator[ThreadPools]:
    """The threads that voices need."""
    pools = ThreadPools()
    yield pools
    pools.close()


@pytest.fixture
def run_virtual() -> Callable[..., Any]:
    """`run_virtual(coroutine, limit_s=3600.0)`: runs it on virtual time, which jumps to the next timer."""
    return virtual_time.run_virtual


@pytest.fixture
def talk(run_virtual: Callable[..., Any]) -> Callable[..., None]:
    """`talk(body, *workers, **settings)`: runs `body(Talk)` on virtual time and always closes the session."""
    from tests.support.talk import Talk  # imports the server, which tests of the client do not need

    def start(body: Callable[[Any], Coroutine[Any, Any, None]], *workers: Any, **changes: Any) -> None:
        async def main() -> None:
            conversation = Talk(*workers, **changes)
            try:
                await body(conversation)
            finally:
                await conversation.close()

        run_virtual(main())

    return start


@pytest.fixture(autouse=True)
def no_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that leaves a thread running, or a task when its `asyncio.run` returns, and shows their stacks."""
    before = set(threading.enumerate())
    leaked: list[str] = []
    cancel_all_tasks = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]

    def record(loop: asyncio.AbstractEventLoop) -> None:
        leaked.append(virtual_time.stacks(loop.run_until_complete(virtual_time.left_behind(TASK_GRACE_S))))
        cancel_all_tasks(loop)

    # Private, but the only place where `asyncio.run` handles what outlived its coroutine. Raises if it is ever renamed.
    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", record)
    yield
    if any(leaked):
        pytest.fail("these tasks were still running when asyncio.run returned:\n" + "".join(leaked))
    threads = _still_running(before)
    if threads:
        pytest.fail("these threads outlived the test:\n" + "\n".join(_where(thread) for thread in threads))


def _still_running(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads started since `before` that do not end within the grace time."""
    deadline = time.monotonic() + THREAD_GRACE_S
    started = [thread for thread in threading.enumerate() if thread not in before]
    started = [thread for thread in started if not PROCESS_WIDE_THREADS.search(thread.name)]
    # Threads of native code that called Python once (gRPC's, which ask for TLS certificates) cannot be joined.
    started = [thread for thread in started if not isinstance(thread, threading._DummyThread)]
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in started if thread.is_alive()]


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{thread.name}:\n{''.join(traceback.format_stack(frame)) if frame else '  (ended meanwhile)'}"


@pytest.fixture(autouse=True)
def restored_randomness() -> Iterator[None]:
    """Restores the random state after the test. Imports no library that no test has imported."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    states = random.getstate(), numpy and numpy.random.get_state(), torch and torch.get_rng_state()
    yield
    random.setstate(states[0])
    if numpy:
        numpy.random.set_state(states[1])
    if torch:
        torch.set_rng_state(states[2])


@pytest.fixture(autouse=True)
def fixed_threads() -> None:
    """Torch uses one thread, or OMP_NUM_THREADS: with two, beside a busy process, work takes ten times as long."""
    torch = sys.modules.get("torch")
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if torch and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
