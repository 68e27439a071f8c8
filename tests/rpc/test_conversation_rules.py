"""Valid messages at the wrong time, over real gRPC: each is answered, and the stream goes on."""

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import (
    GatedEngine,
    chunks,
    code_and_field,
    code_of,
    details,
    failed,
    live,
    soon,
    spoken,
    status_of,
    with_lone_surrogate,
)

REJECTED, FAILED = speech_pb2.DONE_REASON_REJECTED, speech_pb2.DONE_REASON_FAILED


def test_text_after_its_end(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "The whole text.")
                await talk.until("started")
                await talk.say("u", "More of it.")
                error = (await talk.until("error"))[-1][1]
                assert error.utterance_id == "u"
                assert code_and_field(error.status) == (StatusCode.FAILED_PRECONDITION, "text.utterance_id")
            finally:
                engine.open()
            assert spoken(await talk.until("done", "u")) == "The whole text."
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize(
    "late",
    [
        {"voice": "default"},
        {"options": speech_pb2.SynthesisOptions(steps=3)},
        {"emotion": emotion_pb2.Emotion(label=2)},
    ],
    ids=lambda late: next(iter(late)),
)
def test_settings_count_on_the_first_message_only(run, late):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "Not yet a sen", end=False)
            await talk.say("u", "tence.", **late)
            (_, done) = (await talk.until("done"))[-1]
            assert done.reason == REJECTED
            assert code_and_field(done.error) == (StatusCode.FAILED_PRECONDITION, f"text.{next(iter(late))}")
            await talk.prove_alive()

    run(main())


def test_an_id_is_used_once(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "First.")
            await talk.until("done", "u")
            await talk.say("u", "Second.")
            ((kind, warning),) = await talk.until("warning")
            assert (warning.code, warning.utterance_id) == (speech_pb2.WARNING_CODE_UTTERANCE_ENDED, "u")
            await talk.say("u", "Third.")  # without another warning
            await talk.prove_alive()
            await talk.end()
            assert not await talk.rest()

    run(main())


def test_too_many_open_utterances(run):
    async def main():
        async with live(max_open_utterances=2, wait_ms=60_000) as server:
            talk = await server.talk()
            for name in ("a", "b", "c"):
                await talk.say(name, name, end=False)
            (_, done) = (await talk.until("done"))[-1]
            assert (done.utterance_id, done.reason) == ("c", REJECTED)
            assert code_of(done.error) is StatusCode.RESOURCE_EXHAUSTED
            assert details(done.error, error_details_pb2.RetryInfo).retry_delay.seconds == 1
            await talk.say("a")
            await talk.say("b")
            answers = await talk.until("done", "b")
            assert (spoken(answers, "a"), spoken(answers, "b")) == ("a", "b")
            await talk.prove_alive()

    run(main())


def test_an_utterance_over_its_cap(run):
    async def main():
        async with live(max_utterance_characters=100, wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("exact", "x" * 60, end=False)
            await talk.say("exact", "x" * 40)
            await talk.until("done", "exact")
            await talk.say("over", "x" * 60, end=False)
            await talk.say("over", "x" * 41)
            (_, done) = (await talk.until("done", "over"))[-1]
            assert done.reason == REJECTED and "101" in done.error.message and "100" in done.error.message
            assert code_and_field(done.error) == (StatusCode.INVALID_ARGUMENT, "text.delta")
            await talk.prove_alive()
            request = speech_pb2.SynthesizeRequest(text="x" * 101)
            error = await failed(server.speech.Synthesize(request))
            assert code_and_field(status_of(error)) == (StatusCode.INVALID_ARGUMENT, "text")

    run(main())


def test_progress_that_goes_back_or_past_what_was_sent(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "ten chars.")
            await talk.until("done")  # 500 ms were sent
            await talk.progress(300)
            for wrong_ms in (200, 502, 2**63):
                await talk.progress(wrong_ms)
                ((_, error),) = await talk.until("error")
                assert code_and_field(error.status) == (StatusCode.INVALID_ARGUMENT, "progress.played_ms"), wrong_ms
            await talk.progress(500)
            await talk.prove_alive()

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
            assert [kind for kind, _ in answers].count("error") == 1
            assert spoken(answers, "u") == "Hello there."

    run(main())


def test_text_that_the_engine_refuses(run):
    async def main():
        async with live(ScriptedEngine(Script(refuse=("Zzz.",)))) as server:
            talk = await server.talk()
            await talk.say("u", "Zzz.")
            answers = await talk.until("done")
            done = answers[-1][1]
            warnings = [message.code for kind, message in answers if kind == "warning"]
            assert warnings == [speech_pb2.WARNING_CODE_TEXT_NOT_SPOKEN] and not chunks(answers)
            assert done.reason == FAILED
            assert code_and_field(done.error) == (StatusCode.FAILED_PRECONDITION, "text.delta")
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Zzz.")))
            assert code_and_field(status_of(error)) == (StatusCode.FAILED_PRECONDITION, "text")
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
            warnings = [message.code for kind, message in answers if kind == "warning"]
            assert warnings == [speech_pb2.WARNING_CODE_ENGINE_FAILED] and spoken(answers) == "Half"
            assert done.reason == FAILED and code_of(done.error) is StatusCode.INTERNAL
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
