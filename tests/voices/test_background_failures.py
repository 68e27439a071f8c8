"""Giving voices fillers never harms: engines that fail, texts that are refused, a full disk, live speech beside it."""

import asyncio
import logging

from intone.server.domain import SpeakRequest
from intone.server.runtime.worker import Worker
from intone.server.voices.background import BackgroundRenderer
from intone.server.voices.filler_phrases import FEELINGS, GREETING, PHRASES
from intone.server.voices.store import VoiceStore
from tests.support.background import Learned, engine, outfitted, outfitting, said
from tests.support.fakes import ScriptedEngine, ScriptedWorker, info

# ---- what goes wrong


def test_a_failing_engine_is_left_alone(run, caplog):
    store, plain, broken = VoiceStore(), engine(), engine("indextts", voices_emotion=True)
    broken.broken = True

    async def main():
        async with outfitting(store, plain, broken) as (outfitter, _):
            await outfitter.settled()
            made = store.get("default")
            assert {one.emotion for one in made.fillers} == {"neutral"} and set(made.levels) == {"voxcpm"}
            assert len(broken.requests) == 1, "asked once"
            broken.broken = False
            outfitter.voice_added("default")
            await outfitter.settled()
            assert {one.emotion for one in store.get("default").fillers} == set(FEELINGS)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert any("indextts" in record.getMessage() for record in caplog.records)


def test_a_refused_text_is_skipped_and_not_written_to_the_log(run, caplog):
    store, plain = VoiceStore(), engine()
    plain.script.refuse = ("Let me see.", "嗯。", GREETING["en"])
    with caplog.at_level(logging.DEBUG, "intone"):
        outfitted(run, store, plain)
    made = store.get("default").fillers
    assert said(made, "neutral", "en") == set(PHRASES["en"]["neutral"]) - {"Let me see."}
    assert said(made, "neutral", "zh") == set(PHRASES["zh"]["neutral"]) - {"嗯。"}
    assert not any("Let me see" in record.getMessage() for record in caplog.records)


def test_silence_is_no_filler_and_no_level(run, caplog):
    store = VoiceStore()
    with caplog.at_level(logging.WARNING):
        outfitted(run, store, engine(level=0.0))
    assert not store.get("default").fillers and not store.get("default").levels
    assert any("nothing can be heard" in record.getMessage() for record in caplog.records)


def test_a_full_disk_is_not_fatal(run, caplog, tmp_path, monkeypatch):
    def full_disk(descriptor):
        raise OSError("no space left")

    store = VoiceStore(tmp_path)
    monkeypatch.setattr("os.fsync", full_disk)
    with caplog.at_level(logging.WARNING):
        outfitted(run, store, engine())
    assert any("cannot be saved: no space left" in record.getMessage() for record in caplog.records)


def test_a_shut_down_engine_ends_it(run):
    async def main():
        async with outfitting(VoiceStore(), engine()) as (_, workers):
            await asyncio.sleep(0)
            workers["voxcpm"].close()
            (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "outfitter")
            await asyncio.wait_for(asyncio.shield(task), 5)

    run(main())


# ---- beside live speech


def test_live_speech_comes_first(run):
    """While anybody speaks nothing is begun; what has begun gives way and is spoken later."""
    store, plain, other = VoiceStore(), engine(), ScriptedEngine(info=info("starter"))

    async def main():
        workers = {one.info.name: await Worker.launch(one.info.name, lambda one=one: one, 4) for one in (plain, other)}
        outfitter = BackgroundRenderer(store, workers, "voxcpm", Learned())
        live = workers["starter"].submit(SpeakRequest("x" * 60, 1))
        task = asyncio.create_task(outfitter.run())
        try:
            for _ in range(10):  # of 15 steps, which wait to be taken: the engine is at most four ahead
                await anext(live)
                await asyncio.sleep(0.02)
                assert not plain.requests
            assert [step.done async for step in live][-1]
            await outfitter.settled()
            assert plain.requests[0].text == GREETING["en"] and store.get("default").fillers
        finally:
            task.cancel()
            await asyncio.wait([task])
            for one in workers.values():
                one.close()

    run(main())


def test_it_gives_way(run_virtual):
    """A text that takes ten seconds is dropped within one step when somebody speaks, and spoken again after."""
    slow = ScriptedWorker(name="voxcpm")
    slow.script.step_s, slow.script.characters_per_step = 0.5, 1

    async def main():
        learned = Learned()
        outfitter = BackgroundRenderer(VoiceStore(), {"voxcpm": slow}, "voxcpm", learned)
        task = asyncio.create_task(outfitter.run())
        await asyncio.sleep(1.2)
        assert [one.text for one in slow.requests] == [GREETING["en"]] and slow.load == 1
        live = slow.submit(SpeakRequest("live", 1))
        await asyncio.sleep(0.5)
        assert slow.live == [live], "it gave way"
        await asyncio.sleep(5.0)
        assert len(slow.requests) == 2, "nothing is begun meanwhile"
        live.cancel()
        await asyncio.sleep(0.2)
        assert [one.text for one in slow.requests] == [GREETING["en"], "live", GREETING["en"]]
        assert [unit[:3] for unit in learned.units] == [("voxcpm", len(GREETING["en"]), 0)]
        task.cancel()
        await asyncio.wait([task])
        assert slow.load == 0, "cancelled, it leaves nothing in the engine"

    run_virtual(main())


def test_the_forecast_hears_of_every_engine_first(run):
    learned = Learned()
    outfitted(run, VoiceStore(), engine(), engine("starter"), learner=learned)
    assert [unit[0] for unit in learned.units[:2]] == ["voxcpm", "starter"]
    assert {unit[2] for unit in learned.units} == {0} and all(unit[3] > 0 for unit in learned.units)
    assert learned.units[0][1] == len(GREETING["en"])
