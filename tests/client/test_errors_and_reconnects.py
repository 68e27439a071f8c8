"""The client library when calls are refused or lost, and reconnecting."""

import asyncio

import grpc
import pytest
from google.rpc import code_pb2

from intone.client import (
    AsyncSpeechClient,
    AudioChunk,
    Cancelled,
    Done,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ServerFailed,
    Speech,
    Started,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from intone.client.errors import error_for
from intone.proto import speech_pb2
from tests.support.scripted_responses import (
    CHUNK_SAMPLES,
    Response,
    audio,
    configured,
    done,
    refusal,
    respond,
    started,
)
from tests.support.scripted_server import abort, failure_of, scripted_server


def test_errors_have_code_reason_violations_and_retry_delay(run):
    def script(requests, number, context):
        next(requests)
        status = refusal("config.voice", "unknown", code_pb2.RESOURCE_EXHAUSTED, 1.5, "STREAMS_EXHAUSTED")
        abort(context, status)
        yield

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target, reconnect_s=0) as client:
            await client.say("Hello.")

    with scripted_server(script) as server:
        error = run(failure_of(main(server.target)))
    assert isinstance(error, Overloaded)
    assert (error.code, error.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no good")
    assert (error.reason, error.field, error.metadata) == ("STREAMS_EXHAUSTED", "config.voice", {"limit": "3"})
    assert (error.violations, error.retry_after_s, error.retryable) == ([("config.voice", "unknown")], 1.5, True)
    assert str(error) == "RESOURCE_EXHAUSTED: no good (config.voice: unknown)"
    assert len(server.calls) == 1  # not tried again


def test_each_cause_has_its_class():
    codes = grpc.StatusCode
    assert type(error_for(codes.NOT_FOUND, "")) is NotFound
    assert type(error_for(codes.OUT_OF_RANGE, "")) is InvalidRequest
    assert type(error_for(codes.RESOURCE_EXHAUSTED, "", "UPLOAD_TOO_LARGE")) is InvalidRequest
    full = error_for(codes.RESOURCE_EXHAUSTED, "", "TOO_MANY_VOICES")
    assert type(full) is FailedPrecondition and not full.retryable
    assert type(error_for(codes.PERMISSION_DENIED, "")) is PermissionDenied
    assert type(error_for(codes.UNAUTHENTICATED, "")) is Unauthenticated
    assert type(error_for(codes.CANCELLED, "")) is Cancelled
    assert type(error_for(codes.DATA_LOSS, "")) is ServerFailed
    assert error_for(codes.FAILED_PRECONDITION, "", "VOICE_CHANGED").retryable
    retryable = {code for code in codes if error_for(code, "").retryable}
    assert retryable == {codes.RESOURCE_EXHAUSTED, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED}


def test_a_bad_voice_raises_when_the_conversation_is_opened(run):
    def script(requests, number, context):
        next(requests)
        abort(context, refusal("config.defaults.voice", "no such voice", code_pb2.NOT_FOUND, reason="VOICE_NOT_FOUND"))
        yield

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            with pytest.raises(NotFound) as refused:
                await client.conversation(voice="nobody").open()
            assert (refused.value.reason, refused.value.retryable) == ("VOICE_NOT_FOUND", False)

    with scripted_server(script) as server:
        run(main(server.target))


def test_a_server_that_does_not_answer_the_settings_times_out(run):
    def script(requests, number, context):
        for _ in requests:
            yield from ()

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            assert isinstance(await failure_of(client.conversation(timeout_s=0.05).open()), TimedOut)
            assert isinstance(await failure_of(client.say("Hi.", timeout_s=0.05)), TimedOut)

    with scripted_server(script) as server:
        run(main(server.target))

    def silent(requests, number, context):
        next(requests)
        yield configured()
        for _ in requests:
            pass

    async def listen(target: str) -> None:
        async with AsyncSpeechClient(target) as client:

            async def stream() -> None:
                async for _ in client.stream("Hi.", timeout_s=0.05):
                    pass

            assert isinstance(await failure_of(stream()), TimedOut)
            async with client.conversation(timeout_s=0.05) as talk:
                turn, unsent = talk.utterance().speak("Hi."), talk.utterance()
                assert isinstance(await failure_of(turn.done(timeout_s=0.05)), TimedOut)
                assert isinstance(await failure_of(turn.interrupt()), TimedOut)
                assert isinstance(await failure_of(unsent.interrupt()), TimedOut)
                assert isinstance(await failure_of(unsent.done()), TimedOut)

    with scripted_server(silent) as server:
        run(listen(server.target))


def test_say_raises_the_reason_why_the_text_was_not_spoken(run):
    async def main(target: str, text: str) -> None:
        async with AsyncSpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server:
        assert "text.delta: cannot be spoken" in str(run(failure_of(main(server.target, "bad"))))

    def silent(requests, number, context):
        next(requests)
        yield configured()
        yield started("u1")

    with scripted_server(silent) as server:
        error = run(failure_of(main(server.target, "Hello.")))
    assert isinstance(error, ServerFailed)
    assert "before utterance 'u1' was done" in str(error)


def test_nothing_to_speak_is_no_error(run):
    async def main(target: str) -> Speech:
        async with AsyncSpeechClient(target) as client:
            return await client.say("")

    with scripted_server() as server:
        speech = run(main(server.target))
    assert (speech.done.reason, speech.pcm) == ("empty", b"")


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ([audio("u1", 0)], "the server sent audio before `configured`"),
        ([configured(), audio("u1", 0), audio("u1", 2)], "chunk 2 of 'u1' came in place of chunk 1"),
        ([configured(), audio("u1", 1)], "chunk 1 of 'u1' came in place of chunk 0"),
    ],
)
def test_audio_that_is_missing_is_an_error(run, responses, message):
    def script(requests, number, context):
        next(requests)
        yield from responses
        for _ in requests:
            pass

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            await client.say("Hello.")

    with scripted_server(script) as server:
        error = run(failure_of(main(server.target)))
    assert isinstance(error, ServerFailed)
    assert message in error.message


def test_unknown_settings_raise_before_any_call():
    async def main() -> None:
        async with AsyncSpeechClient("127.0.0.1:1") as client:
            with pytest.raises(TypeError):
                client.conversation(colour="red")
            with pytest.raises(ValueError, match="streamed, buffered"):
                client.conversation(delivery="later")
            with pytest.raises(ValueError, match="pcm_s16le"):
                client.conversation(encoding="mp3")
            with pytest.raises(ValueError, match="8 weights"):
                client.conversation(emotion=[1.0])

    asyncio.run(main())


def test_a_call_lost_before_its_first_audio_is_opened_again_and_everything_resent(run):
    def script(requests, number, context):
        if number < 2:
            yield configured(stream_id=f"lost{number}")
            yield Response(going_away=speech_pb2.GoingAway(grace_ms=0))
            for request in requests:
                if request.text.delta == "two":
                    yield started("u1")
                    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        yield from respond(requests)

    async def main(target: str) -> Speech:
        async with AsyncSpeechClient(target) as client:
            return await client.say(["one", "two"], voice="ada")

    with scripted_server(script) as server:
        speech = run(main(server.target))
    assert len(server.calls) == 3
    assert server.calls[2][0].config.defaults.voice == "ada"
    last = [request.text for request in server.calls[2][1:]]
    assert [(text.delta, text.end_of_utterance) for text in last] == [("one", False), ("two", False), ("", True)]
    assert len(speech.samples) == 2 * CHUNK_SAMPLES
    assert [piece.text for piece in speech.sent] == ["one", "two"]


def test_requests_that_were_answered_are_not_resent(run):
    def script(requests, number, context):
        if number == 0:
            next(requests)
            yield configured()
            next(requests)
            yield done("u1", refusal("text.delta", "no"))
            flush = next(requests)
            yield Response(flushed=speech_pb2.Flushed(flush_id=flush.flush.flush_id))
            interrupt = next(requests)
            yield Response(interrupted=speech_pb2.Interrupted(interrupt_id=interrupt.interrupt.interrupt_id))
            next(requests)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield from respond(requests)

    async def main(target: str) -> list[object]:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            refused = talk.utterance()
            await refused.send("refused")
            assert (await refused.done()).reason == "rejected"
            await talk.flush()
            assert await talk.interrupt("somebody") == ()
            return [event async for event in talk.utterance().speak("spoken").events()]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert [type(event) for event in events] == [Started, AudioChunk, Done]
    assert [request.WhichOneof("request") for request in server.calls[1]] == ["config", "text", "text"]
    assert [request.text.delta for request in server.calls[1]] == ["", "spoken", ""]


def test_a_call_lost_after_its_first_audio_is_an_error(run):
    def script(requests, number, context):
        next(requests)
        yield configured()
        next(requests)
        yield started("u1")
        yield audio("u1", 0)
        context.abort(grpc.StatusCode.UNAVAILABLE, "crashed")

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            await turn.send("one")
            events = turn.events()
            assert [type(await anext(events)) for _ in range(2)] == [Started, AudioChunk]
            waits = (anext(events), turn.done(), turn.send("two"), turn.interrupt(), talk.flush(), talk.finish())
            for waiting in waits:
                error = await failure_of(waiting)
                assert (type(error), error.message) == (Unavailable, "crashed")
            assert (await failure_of(talk.utterance().done())).message == "crashed"

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(server.calls) == 1


def test_an_unreachable_server_is_unavailable(run):
    with scripted_server() as server:
        target = server.target  # nothing listens there below

    async def main() -> None:
        async with AsyncSpeechClient(target, reconnect_s=0.2) as client:
            assert not await client.serving()
            for call in (client.say("Hello."), client.server_info(), client.voices.list()):
                assert isinstance(await failure_of(call), Unavailable)

    run(main())


def test_leaving_the_conversation_ends_the_call(run):
    ended = []

    def script(requests, number, context):
        context.add_callback(lambda: ended.append(context.code()))
        next(requests)
        yield configured()
        for _ in requests:
            pass

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            async with client.conversation():
                pass
            async with client.conversation() as talk:
                turn = talk.utterance()
                reader = asyncio.create_task(anext(turn.audio()))
                await asyncio.sleep(0)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
            assert isinstance(await failure_of(turn.done()), Cancelled)

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(ended) == 2
