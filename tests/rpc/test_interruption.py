"""Interrupting over real gRPC: the model stops, no audio follows, one `interrupted` answers, the stream goes on."""

import asyncio

import pytest

from intone.proto import speech_pb2
from tests.support.fakes import MS_PER_CHARACTER, RATE_HZ, SAMPLES_PER_CHARACTER
from tests.support.live_server import GatedEngine, chunks, codes_of, live, messages_of, soon, spoken

INTERRUPTED = speech_pb2.DONE_REASON_INTERRUPTED
REPORTED, EXTRAPOLATED, ESTIMATED = (
    speech_pb2.HEARD_SOURCE_REPORTED,
    speech_pb2.HEARD_SOURCE_EXTRAPOLATED,
    speech_pb2.HEARD_SOURCE_ESTIMATED,
)
MS = RATE_HZ // 1000


def kinds(answers):
    return [kind for kind, _ in answers]


def test_an_interrupt_stops_the_model_within_one_step(run):
    async def main():
        engine = GatedEngine()
        text = "this is one unit that takes twelve steps to say"
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", text)
                for _ in range(2):
                    engine.gate.release()
                    await talk.until("audio")
                await talk.interrupt("u", interrupt_id="i")
                answers = await talk.until("interrupted")
                await soon(lambda: server.jobs == 0, "the job is dropped while its step runs")
            finally:
                engine.open()  # the step that was running may finish
            assert kinds(answers)[-2:] == ["done", "interrupted"]
            done, interrupted = answers[-2][1], answers[-1][1]
            assert (done.utterance_id, done.reason, done.HasField("error")) == ("u", INTERRUPTED, False)
            (cut,) = interrupted.cuts
            assert (interrupted.interrupt_id, cut.utterance_id) == ("i", "u")
            assert cut.heard_text + cut.unheard_text == text and cut.heard_characters == len(cut.heard_text)
            await talk.prove_alive()
            assert sum(batch == [text] for batch in engine.stepped) <= 3
            await talk.half_close()
            assert kinds(await talk.rest()) == ["closed"]

    run(main())


def test_no_audio_follows_the_done_of_an_interrupted_utterance(run):
    async def main():
        async with live() as server:
            talk = await server.talk(max_lead_ms=600_000)
            for number in range(20):
                name = f"u{number}"
                await talk.say(name, "a text that is long enough to be caught in the middle of it " * 10)
                await talk.until("audio", name)
                await talk.interrupt(name)
                await talk.until("interrupted")
            await talk.say("last", "The end.")
            answers = await talk.until("done", "last")
            assert {chunk.utterance_id for chunk in chunks(answers)} == {"last"}
            assert [kind for kind in kinds(answers) if kind != "audio"] == ["started", "done"]

    run(main())


@pytest.mark.parametrize(
    ("played_ms", "heard"),
    [(0, ""), (149, ""), (349, "one "), (400, "one two "), (10 * MS_PER_CHARACTER, "one two "), (1150, None)],
)
def test_heard_text_follows_the_position(run, played_ms, heard):
    async def main():
        text = "one two three four five"
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", text)
            done = (await talk.until("done"))[-1][1]
            assert done.sample_count == len(text) * SAMPLES_PER_CHARACTER
            await talk.interrupt("u", played=("u", played_ms * MS))
            ((_, interrupted),) = await talk.until("interrupted")
            if heard is None:  # it was heard to its end
                assert not interrupted.cuts
            else:
                (cut,) = interrupted.cuts
                assert (cut.heard_text, cut.unheard_text) == (heard, text.removeprefix(heard))
                assert (cut.heard_samples, cut.source) == (played_ms * MS, REPORTED)
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize("sample", [10**6, 2**63 - 1])
def test_a_position_past_what_was_sent_is_its_end(run, sample):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "Hello there, my friend.")
            await talk.until("done")
            await talk.interrupt("u", played=("u", sample))
            ((_, interrupted),) = await talk.until("interrupted")
            assert not interrupted.cuts  # heard to its end
            await talk.prove_alive()

    run(main())


def test_a_negative_position_is_the_beginning(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "Hello there, my friend.")
            await talk.until("done")
            await talk.interrupt("u", played=("u", -5))
            ((_, interrupted),) = await talk.until("interrupted")
            (cut,) = interrupted.cuts
            assert (cut.heard_samples, cut.heard_text, cut.source) == (0, "", REPORTED)

    run(main())


def test_after_done_while_it_plays(run):
    """`done` says that all was sent: it has come, and does not come again."""

    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "This takes over a second to play.")
            done = (await talk.until("done"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_COMPLETED
            await talk.interrupt("u")
            ((_, interrupted),) = await talk.until("interrupted")
            (cut,) = interrupted.cuts
            assert cut.heard_text + cut.unheard_text == "This takes over a second to play." and cut.unheard_text
            assert cut.source == ESTIMATED
            for interrupt_id in ("second", "third"):  # each is answered, and there is nothing left to cut
                await talk.interrupt("u", interrupt_id=interrupt_id)
                assert await talk.until("interrupted") == [
                    ("interrupted", speech_pb2.Interrupted(interrupt_id=interrupt_id))
                ]
            await talk.prove_alive()
            await talk.finish()
            assert "done" not in kinds(await talk.rest())

    run(main())


def test_an_interrupt_right_behind_the_text_stops_it(run):
    """Whatever the server is doing with the text at that moment."""

    async def main():
        async with live() as server:
            for number in range(200):
                talk = await server.talk()
                await talk.say("u", "Nobody wants to hear this.")
                for _ in range(number % 4):  # other moments
                    await asyncio.sleep(0)
                await talk.interrupt("u")
                answers = await talk.until("interrupted")
                await talk.finish()
                answers += await talk.rest()
                (done,) = messages_of(answers, "done")
                assert done.reason == INTERRUPTED
                assert kinds(answers)[kinds(answers).index("done") :] == ["done", "interrupted", "closed"]

    run(main(), timeout_s=60)


def test_everything(run):
    async def main():
        engine = GatedEngine()
        texts = {"played": "This has been sent.", "speaking": "this is being made now", "waiting": "not begun"}
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("played", texts["played"])
                engine.gate.release(5)
                await talk.until("done")
                await talk.say("speaking", texts["speaking"])
                await talk.say("waiting", texts["waiting"], end=False)
                engine.gate.release()
                await talk.until("audio", "speaking")
                await talk.interrupt(interrupt_id="all", played=("played", 0))
                answers = await talk.until("interrupted")
            finally:
                engine.open()
            assert [message.utterance_id for message in messages_of(answers, "done")] == ["speaking", "waiting"]
            assert {message.reason for message in messages_of(answers, "done")} == {INTERRUPTED}
            (interrupted,) = messages_of(answers, "interrupted")
            assert [cut.utterance_id for cut in interrupted.cuts] == list(texts)
            assert [cut.unheard_text for cut in interrupted.cuts] == list(texts.values())
            assert [cut.heard_samples for cut in interrupted.cuts] == [0, 0, 0]
            await talk.say("waiting", " after all")
            assert codes_of(await talk.until("notice")) == ["UTTERANCE_ENDED"]
            await talk.prove_alive()

    run(main())


def test_everything_on_an_idle_stream(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            for interrupt_id in ("", "i"):
                await talk.interrupt(interrupt_id=interrupt_id)
                answer = await talk.answer()
                assert answer == ("interrupted", speech_pb2.Interrupted(interrupt_id=interrupt_id))
            await talk.prove_alive()

    run(main())


def test_before_the_first_token(run):
    """The user interrupts while the language model thinks: its late token is dropped."""

    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.interrupt("late", interrupt_id="i")
            assert await talk.answer() == ("interrupted", speech_pb2.Interrupted(interrupt_id="i"))
            await talk.say("late", "Nobody wants to hear this.", end=False)
            kind, done = await talk.answer()
            assert (kind, done.utterance_id, done.reason) == ("done", "late", INTERRUPTED)
            assert done.sample_count == 0 and not done.HasField("error")
            await talk.say("late", " Or this.")
            assert codes_of([await talk.answer()]) == ["UTTERANCE_ENDED"]
            await talk.start("late")  # and no more notices
            await talk.prove_alive()
            await talk.finish()
            assert kinds(await talk.rest()) == ["closed"]
            assert not any("Nobody" in text for batch in server.engine.stepped for text in batch)

    run(main())


def test_started_without_text(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.start("late", cover_after_ms=5000)
            await talk.interrupt("late")
            answers = await talk.until("interrupted")
            assert kinds(answers) == ["done", "interrupted"] and answers[0][1].reason == INTERRUPTED
            (cut,) = answers[1][1].cuts
            assert (cut.utterance_id, cut.heard_text, cut.unheard_text) == ("late", "", "")
            await talk.say("late", "Nobody wants to hear this.")
            assert codes_of([await talk.answer()]) == ["UTTERANCE_ENDED"]
            await talk.prove_alive()

    run(main())


def test_several_by_name_the_others_speak_on(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                for name in ("a", "b", "c"):
                    await talk.say(name, f"text of {name}")
                await talk.until("started", "a")
                await talk.interrupt("c", "a", "nobody")
                answers = await talk.until("interrupted")
            finally:
                engine.open()
            assert [cut.utterance_id for cut in answers[-1][1].cuts] == ["a", "c"]  # in the order of their start
            answers += await talk.until("done", "b")
            assert [done.utterance_id for done in messages_of(answers, "done")] == ["a", "c", "b"]
            assert spoken(answers, "b") == "text of b"

    run(main())


def test_a_flush_of_an_interrupted_utterance_is_answered(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "never to be said", end=False)
                await talk.flush("f")
                await talk.until("started")
                await talk.interrupt("u")
                answers = await talk.until("flushed")
            finally:
                engine.open()
            assert kinds(answers) == ["done", "interrupted", "flushed"] and answers[-1][1].flush_id == "f"
            await talk.prove_alive()

    run(main())


def test_the_next_utterance_does_not_wait_for_dropped_audio(run):
    """After an interruption the listener's queue is empty, so the lead limit counts from there."""

    async def main():
        async with live() as server:
            talk = await server.talk(max_lead_ms=1000)
            await talk.say("u", "a text of much more than a second")
            await talk.until("audio")
            await talk.playback("u", 0)
            sent_ms = 0
            while sent_ms < 900:
                chunk = (await talk.until("audio"))[-1][1]
                sent_ms = (chunk.offset_samples + chunk.sample_count) // MS
            await talk.interrupt("u", played=("u", 100 * MS))
            await talk.until("interrupted")
            await talk.say("v", "fine")
            assert spoken(await talk.until("done", "v")) == "fine"

    run(main())


def test_without_a_position_the_last_report_is_extrapolated_and_errors_do_not_add_up(run):
    """A client that reports, but interrupts without a position: each utterance counts from 0, so the next turn's
    reports are taken as they are, whatever the server thought of the turn before."""

    async def main():
        async with live() as server:
            talk = await server.talk()
            for number in range(5):
                name = f"u{number}"
                await talk.say(name, "twenty characters of")  # 1,000 ms
                await talk.until("done", name)
                await talk.playback(name, 400 * MS)
                await talk.flush("reported")
                await talk.until("flushed")
                await asyncio.sleep(0.15)
                await talk.interrupt(name)
                answers = await talk.until("interrupted")
                (cut,) = answers[-1][1].cuts
                assert cut.source == EXTRAPOLATED
                assert 550 * MS <= cut.heard_samples <= 950 * MS  # a busy machine may take longer
                await talk.playback(name, 500 * MS)  # late, for what was cut
            await talk.say("last", "twenty characters of")
            await talk.until("done", "last")
            for played_ms in (100, 300, 1000):
                await talk.playback("last", played_ms * MS)
            await talk.interrupt("last")
            assert await talk.answer() == ("interrupted", speech_pb2.Interrupted())  # heard to its end

    run(main())


def test_positions_are_never_refused(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "ten chars.")
            await talk.until("done")  # 500 ms were sent
            await talk.playback("u", 300 * MS)
            for utterance_id, sample in (("u", 200 * MS), ("nobody", 7), ("u", -1), ("later", 2**62)):
                await talk.playback(utterance_id, sample)  # ignored
            await talk.interrupt("u", played=("u", 100 * MS))  # before what was reported: it does not go back
            ((_, interrupted),) = await talk.until("interrupted")
            (cut,) = interrupted.cuts
            assert cut.source == EXTRAPOLATED and 300 * MS <= cut.heard_samples < 500 * MS
            await talk.prove_alive()
            await talk.playback("proof 1", 2**63 - 1)
            await talk.finish()  # at once: everything was heard
            answers = await talk.rest()
            assert kinds(answers) == ["closed"]

    run(main())


def test_a_position_in_a_later_utterance_says_that_the_earlier_ones_were_played(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            for name in ("a", "b"):
                await talk.say(name, "one two three four five")
                await talk.until("done", name)
            await talk.interrupt(played=("b", 400 * MS))
            ((_, interrupted),) = await talk.until("interrupted")
            (cut,) = interrupted.cuts
            assert (cut.utterance_id, cut.heard_text, cut.source) == ("b", "one two ", REPORTED)

    run(main())
