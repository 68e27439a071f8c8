"""Work on texts in other processes: what takes too long or crashes is spoken as it is written, without emotion."""

import asyncio
import os
import signal
import time

import pytest

from intone.server.emotion.lexicon import Lexicon
from intone.server.errors import IntoneError
from intone.server.runtime.text_pool import SpokenText, TextPool, TextStages
from intone.server.text.cues import TextFormat
from intone.server.text.normalizer import Normalizer, WrittenText
from intone.server.text.pronunciation import Pronunciation, Reading, SpanReading
from tests.support.faulty_normalizer import CRASHES, HANGS, RAISES, FaultyNormalizer
from tests.support.process_workers import children_of, descriptors, eventually, runs

FAULTY = f"{FaultyNormalizer.__module__}:FaultyNormalizer"
BUDGET_S = 0.5


async def said(pool, text, language=""):
    """What a pool says of a text: the words, and the fault."""
    told = await pool.normalize(WrittenText(text, language))
    return told.text.spoken, told.fault


def with_pool(run, body, processes=1, stages=FAULTY):
    """Run `body`; then nothing may be left: no process, no descriptor."""

    async def main():
        before = descriptors()
        others = set(children_of(os.getpid()))  # the server that other tests share is one
        pool = await TextPool.launch(BUDGET_S, processes, stages)
        children = set(children_of(os.getpid()))
        try:
            await body(pool)
        finally:
            children |= set(children_of(os.getpid()))
            pool.close()
        await eventually(lambda: not any(map(runs, children - others)) and descriptors() <= before)

    run(main())


async def normalizes_again(pool):
    """Once another process has started, which on a busy machine takes longer than the budget."""
    deadline_s = time.monotonic() + 20.0
    while (told := await said(pool, "well", "zh"))[1]:
        assert time.monotonic() < deadline_s
    assert told == ("WELLzh", "")


@pytest.mark.parametrize("processes", [0, 2])
def test_texts_are_normalized_as_in_this_process(run, processes):
    texts = ["It cost $3.50.", "2024年5月3日", "  plain \n text "] * 10
    pronunciations = (Pronunciation("Nguyen", ipa="wɪn"), Pronunciation("plain", spoken_as="flat"))
    written = [WrittenText(text, "en", pronunciations) for text in texts]
    written.append(WrittenText("Mr Nguyen: 42", readings=(SpanReading(11, 13, Reading(say_as="digits")),)))
    written.append(WrittenText("Nguyen: $3", "en", pronunciations, text_format=TextFormat.SSML, normalize=False))

    async def body(pool):
        spoken = await asyncio.gather(*(pool.normalize(one) for one in written))
        assert spoken == [SpokenText(Normalizer().read(one)) for one in written]
        assert spoken[2].text.spoken == "flat, text" and spoken[-2].text.spoken == "Mr Nguyen: four two"
        assert spoken[-1].text.marked == "[Nguyen](/wɪn/): $3"
        told = await pool.normalize(WrittenText(" $3  as it is ", "en", normalize=False))
        assert (told.text.spoken, told.fault) == ("$3 as it is", "")
        assert [" $3  as it is "[piece.start : piece.end] for piece in told.text.pieces] == ["$3", "as", "it", "is"]

    with_pool(run, body, processes, f"{TextStages.__module__}:TextStages")


@pytest.mark.parametrize("processes", [0, 2])
def test_emotion_is_analyzed_as_in_this_process(run, processes):
    texts = ["I'm thrilled!", "这让我很生气", "It is ten o'clock.", "《" * 1000]

    async def body(pool):
        found = await asyncio.gather(*(pool.analyze(text) for text in texts))
        assert found == [Lexicon().analyze(text) for text in texts]
        assert [estimate.label for estimate in found] == ["happy", "angry", "neutral", "neutral"]

    with_pool(run, body, processes, f"{TextStages.__module__}:TextStages")


@pytest.mark.parametrize("text", [HANGS, CRASHES, RAISES])
def test_a_text_that_cannot_be_analyzed_shows_no_emotion(run, caplog, text):
    async def body(pool):
        assert (await pool.analyze("well")).label == "calm"
        estimate = await pool.analyze(text)
        assert estimate.label == "neutral" and estimate.explanation.startswith("the text was not analyzed: it ")
        await normalizes_again(pool)

    with_pool(run, body)
    assert text not in caplog.text


def test_a_text_that_fails_on_a_thread_is_spoken_as_it_is(run, caplog):
    async def body(pool):
        assert await said(pool, RAISES) == ("it raises", "it failed: see the server's log")
        assert (await pool.analyze(RAISES)).label == "neutral"

    with_pool(run, body, processes=0)
    assert RAISES not in caplog.text and "a text of 10 characters cannot be analyzed: ValueError" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [(HANGS, "it took more than 500 ms"), (CRASHES, "SIGSEGV"), (RAISES, "it failed: see the server's log")],
)
def test_a_bad_text_is_spoken_as_it_is_and_the_next_one_is_normalized(run, caplog, text, words):
    async def body(pool):
        assert await said(pool, "well", "en") == ("WELLen", "")
        began_s = time.monotonic()
        spoken, fault = await said(pool, text, "en")
        assert spoken == text.replace("  ", " ") and words in fault
        assert time.monotonic() - began_s < 2 * BUDGET_S
        await normalizes_again(pool)

    with_pool(run, body)
    assert text not in caplog.text


def test_others_are_normalized_beside_a_text_that_hangs(run):
    async def body(pool):
        hanging = asyncio.create_task(said(pool, HANGS))
        await asyncio.sleep(0)
        for _ in range(20):
            assert await said(pool, "well") == ("WELL", "")
        assert not hanging.done()
        assert (await hanging)[1]

    with_pool(run, body, processes=2)


def test_a_text_that_finds_no_free_process_is_spoken_as_it_is(run):
    async def body(pool):
        told = await asyncio.gather(*(said(pool, HANGS) for _ in range(3)))
        assert [spoken for spoken, _ in told] == ["it hangs"] * 3
        assert sum("no process was free within 500 ms" in fault for _, fault in told) >= 1

    with_pool(run, body)


def test_a_caller_that_is_gone_does_not_keep_the_process(run):
    async def body(pool):
        gone = asyncio.create_task(said(pool, HANGS))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(BUDGET_S)
        await normalizes_again(pool)

    with_pool(run, body)


def test_a_process_that_ends_while_it_is_idle_is_replaced(run):
    others = set(children_of(os.getpid()))

    async def body(pool):
        (child,) = set(children_of(os.getpid())) - others
        await said(pool, "well")
        os.kill(child, signal.SIGKILL)
        await eventually(lambda: not runs(child))
        await normalizes_again(pool)

    with_pool(run, body)


def test_a_pool_that_cannot_start(run):
    async def main():
        with pytest.raises(IntoneError, match="a text process is gone: it ended with status 1"):
            await TextPool.launch(1.0, 1, f"{FaultyNormalizer.__module__}:CRASHES")

    run(main())


def test_texts_are_counted(run):
    async def main():
        pool = await TextPool.launch(5.0, 1)
        try:
            reading = asyncio.ensure_future(said(pool, "It cost $3.50."))
            await asyncio.sleep(0)
            assert pool.waiting == 1 and len(pool.pids) == 1
            await reading
            assert pool.waiting == 0 and pool.seconds.count == 1 and pool.unread == 0
        finally:
            pool.close()

    run(main())
