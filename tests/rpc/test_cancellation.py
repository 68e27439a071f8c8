"""Cancelling over real gRPC: the model stops, no audio follows, the heard text is reported, the stream goes on."""

import pytest
from grpc import StatusCode

from intone.proto import speech_pb2
from tests.support.fakes import MS_PER_CHARACTER
from tests.support.live_server import GatedEngine, chunks, code_and_field, live, soon, spoken

ENDED = speech_pb2.WARNING_CODE_UTTERANCE_ENDED


def test_cancel_stops_the_model_within_one_step(run):
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
                await talk.cancel("u")
                answers = await talk.until("interrupted")
                stopped = answers[-1][1]
                await soon(lambda: server.jobs == 0, "the job is dropped while its step runs")
            finally:
                engine.open()  # the step that was running may finish
            assert stopped.utterance_id == "u" and stopped.heard_text + stopped.unheard_text == text
            await talk.prove_alive()
            assert sum(batch == [text] for batch in engine.stepped) <= 3
            await talk.end()
            assert not await talk.rest()

    run(main())


def test_no_audio_follows_interrupted(run):
    async def main():
        async with live() as server:
            talk = await server.talk(lead_limit_ms=600_000)
            for number in range(20):
                name = f"u{number}"
                await talk.say(name, "a text that is long enough to be caught in the middle of it " * 10)
                await talk.until("audio", name)
                await talk.cancel(name)
                await talk.until("interrupted", name)
            await talk.say("last", "The end.")
            answers = await talk.until("done", "last")
            assert {chunk.utterance_id for chunk in chunks(answers)} == {"last"}
            assert [kind for kind, _ in answers if kind != "audio"] == ["started", "done"]

    run(main())


@pytest.mark.parametrize(
    ("played_ms", "heard"),
    [(0, ""), (149, ""), (349, "one "), (400, "one two "), (10 * MS_PER_CHARACTER, "one two "), (1150, None)],
)
def test_heard_text_follows_played_ms(run, played_ms, heard):
    async def main():
        text = "one two three four five"
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", text)
            await talk.until("done")
            await talk.cancel("u", played_ms=played_ms)
            answers = await talk.until("warning" if heard is None else "interrupted")
            if heard is None:  # it was heard to its end
                assert answers[-1][1].code == ENDED
            else:
                stopped = answers[-1][1]
                assert (stopped.heard_text, stopped.unheard_text) == (heard, text.removeprefix(heard))
                assert stopped.heard_ms == played_ms
                assert stopped.report.audio_ms == pytest.approx(len(text) * MS_PER_CHARACTER)
            await talk.prove_alive()

    run(main())


def test_done_but_not_yet_played_can_be_interrupted_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "This takes over a second to play.")
            await talk.until("done")
            await talk.cancel("u")
            ((kind, stopped),) = await talk.until("interrupted")
            assert stopped.heard_text + stopped.unheard_text == "This takes over a second to play."
            await talk.cancel("u")
            ((kind, warning),) = await talk.until("warning")
            assert (warning.code, warning.utterance_id) == (ENDED, "u")
            await talk.prove_alive()

    run(main())


def test_cancel_of_everything(run):
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
                await talk.cancel(played_ms=0)
                stopped = [(await talk.until("interrupted"))[-1][1] for _ in texts]
            finally:
                engine.open()
            assert [message.utterance_id for message in stopped] == list(texts)
            assert [message.unheard_text for message in stopped] == list(texts.values())
            assert [message.heard_ms for message in stopped] == [0, 0, 0]
            await talk.say("waiting", " after all")
            assert (await talk.until("warning"))[-1][1].code == ENDED
            await talk.prove_alive()

    run(main())


def test_an_invalid_played_ms_is_an_error_but_the_cancel_counts(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "Hello there, my friend.")
            await talk.until("done")
            await talk.cancel("u", played_ms=10**9)
            answers = await talk.until("interrupted")
            ((_, error),) = [answer for answer in answers if answer[0] == "error"]
            assert error.utterance_id == "u"
            assert code_and_field(error.status) == (StatusCode.INVALID_ARGUMENT, "cancel.played_ms")
            await talk.prove_alive()

    run(main())


def test_a_flush_of_a_cancelled_utterance_is_answered(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "never to be said", end=False)
                await talk.flush("f")
                await talk.until("started")
                await talk.cancel("u")
                answers = await talk.until("flushed")
            finally:
                engine.open()
            assert [kind for kind, _ in answers] == ["interrupted", "flushed"] and answers[-1][1].flush_id == "f"
            await talk.prove_alive()

    run(main())


def test_the_next_utterance_does_not_wait_for_dropped_audio(run):
    """After an interruption the listener's queue is empty, so the lead limit counts from there."""

    async def main():
        async with live() as server:
            talk = await server.talk(lead_limit_ms=1000)
            await talk.progress(0)
            await talk.say("u", "a text of much more than a second")
            heard_ms = 0
            while heard_ms < 900:
                (_, chunk) = (await talk.until("audio"))[-1]
                heard_ms += len(chunk.data) // 64
            await talk.cancel("u", played_ms=100)
            await talk.until("interrupted")
            await talk.say("v", "fine")
            assert spoken(await talk.until("done", "v")) == "fine"

    run(main())
