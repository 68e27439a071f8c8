"""Valid messages at the wrong time, over real gRPC: each is answered, and the stream goes on."""

import asyncio

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import (
    GatedEngine,
    chunks,
    codes_of,
    live,
    messages_of,
    soon,
    spoken,
    with_lone_surrogate,
)
from tests.support.rpc_status import code_and_field, code_of, details, failed, reason_of, status_of, values_of

COMPLETED, REJECTED, FAILED = (
    speech_pb2.DONE_REASON_COMPLETED,
    speech_pb2.DONE_REASON_REJECTED,
    speech_pb2.DONE_REASON_FAILED,
)


@pytest.mark.parametrize("speaking", [True, False], ids=["while it is spoken", "after its done"])
def test_text_after_its_end_is_dropped_with_one_notice(run, speaking):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "The whole text.")
                answers = await talk.until("started")
                if not speaking:
                    engine.open()
                    answers += await talk.until("done")
                for _ in range(3):
                    await talk.say("u", "More of it.")
                answers += await talk.until("notice")
                assert (answers[-1][1].utterance_id, codes_of(answers)) == ("u", ["UTTERANCE_ENDED"])
            finally:
                engine.open()
            if speaking:
                answers += await talk.until("done")
            await talk.prove_alive()
            await talk.finish()
            assert [kind for kind, _ in await talk.rest()] == ["closed"]
            assert spoken(answers) == "The whole text."
            (done,) = messages_of(answers, "done")
            assert done.reason == COMPLETED and done.usage.characters == len("The whole text.")

    run(main())


LATE_SETTINGS = {
    "voice": {"voice": "default"},
    "seed": {"seed": 3},
    "emotion": {"emotion": emotion_pb2.Emotion(label="happy")},
    "a time": {"text_timeout_ms": 500},
    "a bad emotion": {"emotion": emotion_pb2.Emotion()},
}


@pytest.mark.parametrize("late", LATE_SETTINGS.values(), ids=LATE_SETTINGS)
def test_other_settings_for_an_utterance_that_has_started_are_ignored_with_a_notice(run, late):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.start("u", seed=1)
            await talk.say("u", "Not yet a sen", end=False)
            await talk.start("u", **late)
            await talk.say("u", "tence.")
            answers = await talk.until("done")
            assert codes_of(answers) == ["SETTINGS_IGNORED"] and answers[0][1].utterance_id == "u"
            assert spoken(answers) == "Not yet a sentence."
            (started,) = messages_of(answers, "started")
            assert started.seed == 1 and started.emotion.source == speech_pb2.EMOTION_SOURCE_NONE
            await talk.prove_alive()

    run(main())


def test_equal_settings_are_accepted_as_often_as_they_come(run):
    async def main():
        settings = {"emotion": emotion_pb2.Emotion(label="sad"), "seed": 3, "speed": 1.0, "text_timeout_ms": 500}
        async with live() as server:
            talk = await server.talk()
            for piece in ("This goes ", "on and on", "."):
                await talk.start("u", **settings)
                await talk.say("u", piece, end=piece == ".")
            await talk.start("u")  # no settings: nothing to ignore
            answers = await talk.until("done")
            assert "SETTINGS_IGNORED" not in codes_of(answers) and spoken(answers) == "This goes on and on."

    run(main())


def test_an_id_is_used_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "First.")
            await talk.until("done", "u")
            await talk.say("u", "Second.")
            ((kind, notice),) = await talk.until("notice")
            assert (notice.code, notice.utterance_id) == (speech_pb2.NOTICE_CODE_UTTERANCE_ENDED, "u")
            await talk.say("u", "Third.")  # without another notice
            await talk.start("u", seed=1)
            await talk.prove_alive()
            await talk.half_close()
            assert [kind for kind, _ in await talk.rest()] == ["closed"]

    run(main())


def test_an_id_is_remembered_for_a_thousand_others(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("first")
            for number in range(999):
                await talk.say(str(number))
            await talk.say("first", "Again.")
            await talk.finish()
            answers = await talk.rest()
            assert [done.utterance_id for done in messages_of(answers, "done")] == ["first", *map(str, range(999))]
            assert codes_of(answers) == ["UTTERANCE_ENDED"] and not chunks(answers)

    run(main())


def test_too_many_open_utterances(run):
    async def main():
        async with live(max_open_utterances=2, wait_ms=60_000) as server:
            talk = await server.talk()
            for name in ("a", "b", "c"):
                await talk.say(name, name, end=False)
            done = (await talk.until("done"))[-1][1]
            assert (done.utterance_id, done.reason) == ("c", FAILED)
            assert code_of(done.error) is StatusCode.RESOURCE_EXHAUSTED
            assert reason_of(done.error) == "TOO_MANY_UTTERANCES" and values_of(done.error) == {"limit": "2"}
            assert details(done.error, error_details_pb2.RetryInfo).retry_delay.seconds == 1
            await talk.say("a")
            await talk.say("b")
            answers = await talk.until("done", "b")
            assert (spoken(answers, "a"), spoken(answers, "b")) == ("a", "b")
            await talk.prove_alive()

    run(main())


def test_an_utterance_over_its_cap(run):
    async def main():
        async with live(max_text_characters=100, max_utterance_characters=100, wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("exact", "x" * 60, end=False)
            await talk.say("exact", "x" * 40)
            await talk.until("done", "exact")
            await talk.say("over", "x" * 60, end=False)
            await talk.say("over", "x" * 41)
            done = (await talk.until("done", "over"))[-1][1]
            assert done.reason == REJECTED and "101" in done.error.message and "100" in done.error.message
            assert code_and_field(done.error) == (StatusCode.INVALID_ARGUMENT, "text.delta")
            assert reason_of(done.error) == "UTTERANCE_TOO_LONG" and values_of(done.error) == {"limit": "100"}
            await talk.prove_alive()
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="x" * 101)))
            assert code_and_field(status_of(error)) == (StatusCode.INVALID_ARGUMENT, "text")

    run(main())


def test_a_delta_that_is_not_unicode_is_refused(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "Hello ", end=False)
            text = speech_pb2.TextInput(utterance_id="u", delta="@@@")
            await talk.send(with_lone_surrogate(speech_pb2.StreamSynthesizeRequest(text=text)))
            await talk.say("u", "there.")
            answers = await talk.until("done")
            assert [kind for kind, _ in answers].count("request_refused") == 1
            assert spoken(answers, "u") == "Hello there."

    run(main())


def test_an_utterance_that_never_ends_does_not_silence_the_stream(run):
    async def main():
        async with live(wait_ms=60_000, text_timeout_ms=60_000) as server:
            talk = await server.talk()
            await talk.start("slow", text_timeout_ms=300)
            await talk.say("slow", "never finished", end=False)
            await asyncio.sleep(0.5)
            await talk.say("next", "Its turn.")  # only now somebody waits
            answers = await talk.until("done", "next")
            assert codes_of(answers, "slow") == ["TEXT_TIMEOUT"]
            assert (spoken(answers, "slow"), spoken(answers, "next")) == ("never finished", "Its turn.")
            assert [(done.utterance_id, done.reason) for done in messages_of(answers, "done")] == [
                ("slow", COMPLETED),
                ("next", COMPLETED),
            ]
            await talk.say("slow", " after all.")
            assert codes_of(await talk.until("notice")) == ["UTTERANCE_ENDED"]

    run(main())


def test_nobody_waits_behind_an_utterance_whose_text_is_slow(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.start("u", text_timeout_ms=100)
            await talk.say("u", "slow but ", end=False)
            await asyncio.sleep(0.4)
            await talk.say("u", "complete.")
            answers = await talk.until("done")
            assert spoken(answers) == "slow but complete." and not codes_of(answers)

    run(main())


def test_a_flush_does_not_wait_behind_an_utterance_whose_text_has_not_ended(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("open", "not ended", end=False)
            await talk.say("behind", "Complete.")
            await talk.flush("all")
            answers = await talk.until("flushed")
            assert answers[-1][1].flush_id == "all" and spoken(answers) == "not ended"
            await talk.flush("one", "behind")
            await talk.flush("none", "nobody")
            answers = await talk.until("flushed")
            assert answers == [("flushed", speech_pb2.Flushed(flush_id="none"))]
            await talk.say("open", ".")
            answers = await talk.until("flushed")
            assert answers[-1][1].flush_id == "one"
            assert spoken(answers, "behind") == "Complete."

    run(main())


def test_text_that_the_engine_refuses(run):
    async def main():
        async with live(ScriptedEngine(Script(refuse=("Zzz.",)))) as server:
            talk = await server.talk()
            await talk.say("u", "Zzz.")
            answers = await talk.until("done")
            done = answers[-1][1]
            assert codes_of(answers) == ["TEXT_NOT_SPOKEN"] and not chunks(answers)
            assert done.reason == FAILED and reason_of(done.error) == "TEXT_UNSPEAKABLE"
            assert code_and_field(done.error) == (StatusCode.FAILED_PRECONDITION, "text.delta")
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Zzz.")))
            assert code_and_field(status_of(error)) == (StatusCode.FAILED_PRECONDITION, "text")
            assert reason_of(status_of(error)) == "TEXT_UNSPEAKABLE"
            await talk.prove_alive()

    run(main())


def test_an_engine_that_fails(run, caplog):
    async def main():
        engine = ScriptedEngine(Script(fail_at_step=1))
        async with live(engine) as server:
            talk = await server.talk()
            await talk.say("u", "Half of this.")
            answers = await talk.until("done")
            done = answers[-1][1]
            assert codes_of(answers) == ["ENGINE_FAILED"] and spoken(answers) == "Half"
            assert done.reason == FAILED and code_of(done.error) is StatusCode.INTERNAL
            assert reason_of(done.error) == "ENGINE_FAILED"
            (told,) = (await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())).engines
            assert told.healthy  # one unit may fail by what its text is
            await talk.say("v", "Half of that.")
            await talk.until("done")
            (told,) = (await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())).engines
            assert not told.healthy
            engine.script.fail_at_step = None
            await talk.prove_alive()
            (told,) = (await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())).engines
            assert told.healthy
            await soon(lambda: server.jobs == 0, "no job is left")

    run(main())
    assert "Half of this" not in caplog.text
