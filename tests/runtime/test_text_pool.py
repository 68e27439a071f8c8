"""Normalization in processes of its own: what takes too long or crashes is spoken as it is written."""

import asyncio
import os
import signal
import time

import pytest

from intone.server.errors import IntoneError
from intone.server.runtime.text_pool import SpokenText, TextPool
from intone.server.text.normalizer import Normalizer
from tests.support.faulty_normalizer import CRASHES, HANGS, RAISES, FaultyNormalizer
from tests.support.process_workers import children_of, descriptors, eventually, runs

FAULTY = f"{FaultyNormalizer.__module__}:FaultyNormalizer"
BUDGET_S = 0.5


def with_pool(run, body, processes=1, normalizer=FAULTY):
    """Run `body`; then nothing may be left: no process, no descriptor."""

    async def main():
        before = descriptors()
        pool = await TextPool.launch(BUDGET_S, processes, normalizer)
        children = children_of(os.getpid())
        try:
            await body(pool)
        finally:
            children += children_of(os.getpid())
            pool.close()
        await eventually(lambda: not any(map(runs, children)) and descriptors() <= before)

    run(main())


async def normalizes_again(pool):
    """Once another process has started, which on a busy machine takes longer than the budget."""
    deadline_s = time.monotonic() + 20.0
    while (told := await pool.normalize("well", True, "zh")).warning:
        assert time.monotonic() < deadline_s
    assert told == SpokenText("WELLzh")


@pytest.mark.parametrize("processes", [0, 2])
def test_texts_are_normalized_as_in_this_process(run, processes):
    texts = ["It cost $3.50.", "2024年5月3日", "  plain \n text "] * 10

    async def body(pool):
        spoken = await asyncio.gather(*(pool.normalize(text, True, "en") for text in texts))
        assert spoken == [SpokenText(Normalizer()(text, "en")) for text in texts]
        assert await pool.normalize(" $3  as it is ", False, "en") == SpokenText("$3 as it is")

    with_pool(run, body, processes, "intone.server.text.normalizer:Normalizer")


@pytest.mark.parametrize(
    ("text", "words"),
    [(HANGS, "it took more than 500 ms"), (CRASHES, "SIGSEGV"), (RAISES, "it failed: see the server's log")],
)
def test_a_bad_text_is_spoken_as_it_is_and_the_next_one_is_normalized(run, caplog, text, words):
    async def body(pool):
        assert await pool.normalize("well", True, "en") == SpokenText("WELLen")
        began_s = time.monotonic()
        told = await pool.normalize(text, True, "en")
        assert told.text == text.replace("  ", " ") and words in told.warning
        assert "numbers and symbols are not read out" in told.warning
        assert time.monotonic() - began_s < 2 * BUDGET_S
        await normalizes_again(pool)

    with_pool(run, body)
    assert text not in caplog.text


def test_others_are_normalized_beside_a_text_that_hangs(run):
    async def body(pool):
        hanging = asyncio.create_task(pool.normalize(HANGS, True, ""))
        await asyncio.sleep(0)
        for _ in range(20):
            assert await pool.normalize("well", True, "") == SpokenText("WELL")
        assert not hanging.done()
        assert (await hanging).warning

    with_pool(run, body, processes=2)


def test_a_text_that_finds_no_free_process_is_spoken_as_it_is(run):
    async def body(pool):
        told = await asyncio.gather(*(pool.normalize(HANGS, True, "") for _ in range(3)))
        assert [one.text for one in told] == ["it hangs"] * 3
        assert sum("no process was free within 500 ms" in one.warning for one in told) >= 1

    with_pool(run, body)


def test_a_caller_that_is_gone_does_not_keep_the_process(run):
    async def body(pool):
        gone = asyncio.create_task(pool.normalize(HANGS, True, ""))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(BUDGET_S)
        await normalizes_again(pool)

    with_pool(run, body)


def test_a_process_that_ends_while_it_is_idle_is_replaced(run):
    async def body(pool):
        (child,) = children_of(os.getpid())
        await pool.normalize("well", True, "")
        os.kill(child, signal.SIGKILL)
        await eventually(lambda: not runs(child))
        await normalizes_again(pool)

    with_pool(run, body)


def test_a_pool_that_cannot_start(run):
    async def main():
        with pytest.raises(IntoneError, match="a text process is gone: it ended with status 1"):
            await TextPool.launch(1.0, 1, f"{FaultyNormalizer.__module__}:CRASHES")

    run(main())
