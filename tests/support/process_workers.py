"""For tests of engines in processes of their own: a worker, what it speaks, and whether it leaves something behind."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from intone.server.domain import Recording, SpeakRequest
from intone.server.runtime.process_worker import ProcessWorker
from intone.server.runtime.worker import Job, Progress
from tests.support.fakes import Script, text_of
from tests.support.faulty_engine import FaultyEngine

MAX_STEP_S = 1.0
SLOW = Script(characters_per_step=2, step_s=0.005)


def request(text: str, **more: Any) -> SpeakRequest:
    return SpeakRequest(text, seed=1, **more)


async def heard(job: Job) -> str:
    return text_of(np.concatenate([step.pcm async for step in job if step.pcm is not None]))


async def eventually(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, "did not become true"
        await asyncio.sleep(0.005)


def runs(pid: int) -> bool:
    """Whether a process is there and not only waits to be reaped."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    """Process ids."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def faulty(progress: Progress | None = None) -> FaultyEngine:
    if progress is not None:
        progress(0.5)
    return FaultyEngine(SLOW)


def with_worker(
    run: Callable[..., Any], body: Callable[[ProcessWorker], Awaitable[Any]], load: Any = faulty, **how: Any
) -> Any:
    """Run `body`; then nothing may be left: no process, no descriptor."""

    async def main() -> Any:
        before = descriptors()
        worker = await ProcessWorker.launch("starter", load, max_batch=8, **{"max_step_s": MAX_STEP_S, **how})
        pid = worker.pid
        try:
            await body(worker)
        finally:
            worker.close()
        await asyncio.sleep(0.01)
        assert not runs(pid) and not runs(worker.pid)
        assert descriptors() <= before

    return run(main(), timeout_s=60.0)


def recording() -> Recording:
    return Recording(np.arange(100, dtype=np.float32), 16_000, "the words")
