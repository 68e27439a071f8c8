"""The client library when calls are refused or lost, and reconnecting."""

import asyncio

import grpc
import pytest
from google.rpc import code_pb2

from intone.client import (
    AudioChunk,
    Done,
    Flushed,
    IntoneCallError,
    RequestRefused,
    Speech,
    SpeechClient,
    Started,
)
from intone.proto import speech_pb2
from tests.support.scripted_server import (
    CHUNK_SAMPLES,
    Response,
    abort,
    audio,
    done,
    failure_of,
    refusal,
    respond,
    scripted_server,
    started,
)


def test_errors_have_code_message_violations_and_retry_delay(run):
    def script(requests, number, context):
        next(requests)
        abort(context, refusal("config.voice", "unknown", code_pb2.RESOURCE_EXHAUSTED, retry_s=1.5))
        yield

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say("Hello.")

    with scripted_server(script) as server:
        error = run(failure_of(main(server.target)))
    assert (error.code, error.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no good")
    assert (error.violations, error.retry_after_s) == ([("config.voice", "unknown")], 1.5)
    assert str(error) == "RESOURCE_EXHAUSTED: no good (config.voice: unknown)"
    assert len(server.calls) == 1  # not tried again


def test_a_refused_message_is_an_event(run):
    async def main(target: str) -> object:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation._send(speech_pb2.StreamSynthesizeRequest(config=speech_pb2.StreamConfig()))
            return await anext(conversation)

    with scripted_server() as server:
        event = run(main(server.target))
    assert isinstance(event, RequestRefused)
    assert (event.error.code, event.error.violations) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        [("config", "only once")],
    )


def test_say_raises_the_reason_why_the_text_was_not_spoken(run):
    async def main(target: str, text: str) -> None:
        async with SpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server:
        assert "text.delta: cannot be spoken" in str(run(failure_of(main(server.target, "bad"))))

    def silent(requests, number, context):
        next(requests)
        yield started("u1")

    with scripted_server(silent) as server:
        assert "cut off" in str(run(failure_of(main(server.target, "Hello."))))


def test_audio_before_started_is_an_internal_error(run):
    def script(requests, number, context):
        next(requests)
        yield audio("u1", 0)

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say("Hello.")

    with scripted_server(script) as server:
        assert run(failure_of(main(server.target))).message.startswith("the server sent audio before")


def test_unknown_settings_raise_before_any_call():
    client = SpeechClient("127.0.0.1:1")
    with pytest.raises(RuntimeError, match="async with"):
        client.converse()

    async def main() -> None:
        async with client:
            with pytest.raises(TypeError):
                client.converse(colour="red")
            with pytest.raises(ValueError, match="streamed, buffered"):
                client.converse(delivery="later")
            with pytest.raises(ValueError, match="pcm_s16le"):
                client.converse(encoding="mp3")

    asyncio.run(main())


def test_a_call_lost_before_its_first_audio_is_opened_again_and_everything_resent(run):
    def script(requests, number, context):
        if number < 2:
            for request in requests:
                if request.text.delta == "two":
                    yield started("u1")
                    context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        yield from respond(requests)

    async def main(target: str) -> Speech:
        async with SpeechClient(target) as client:
            return await client.say(["one", "two"], voice="ada")

    with scripted_server(script) as server:
        speech = run(main(server.target))
    assert len(server.calls) == 3
    assert server.calls[2][0].config.voice == "ada"
    last = [request.text for request in server.calls[2][1:]]
    assert [(text.delta, text.end_of_utterance) for text in last] == [("one", False), ("two", False), ("", True)]
    assert len(speech.samples) == 2 * CHUNK_SAMPLES
    assert [piece.text for piece in speech.sent] == ["one", "two"]


def test_requests_that_were_answered_are_not_resent(run):
    def script(requests, number, context):
        if number == 0:
            next(requests)
            next(requests)
            yield done("u1", refusal("text.delta", "no"))
            next(requests)
            yield Response(flushed=speech_pb2.Flushed(flush_id="f"))
            next(requests)
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield from respond(requests)

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation.send("refused", "u1", end=True)
            assert isinstance(await anext(conversation), Done)
            await conversation.flush("f")
            assert isinstance(await anext(conversation), Flushed)
            await conversation.send("spoken", "u2", end=True)
            await conversation.finish()
            return [event async for event in conversation]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert [type(event) for event in events] == [Started, AudioChunk, Done]
    assert [request.text.delta for request in server.calls[1]] == ["", "spoken"]


def test_a_call_lost_after_its_first_audio_is_an_error(run):
    def script(requests, number, context):
        next(requests)
        yield started("u1")
        yield audio("u1", 0)
        context.abort(grpc.StatusCode.UNAVAILABLE, "crashed")

    async def main(target: str) -> None:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await conversation.send("one", "u1")
            events = [await anext(conversation), await anext(conversation)]
            assert [type(event) for event in events] == [Started, AudioChunk]
            with pytest.raises(IntoneCallError, match="UNAVAILABLE: crashed"):
                await anext(conversation)
            with pytest.raises(IntoneCallError, match="UNAVAILABLE: crashed"):
                await conversation.send("two", "u1")

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(server.calls) == 1


def test_an_unreachable_server_is_unavailable(run):
    with scripted_server() as server:
        target = server.target  # nothing listens there below

    async def main() -> None:
        async with SpeechClient(target, reconnects=1) as client:
            assert not await client.serving()
            with pytest.raises(IntoneCallError) as said:
                await client.say("Hello.")
            with pytest.raises(IntoneCallError) as asked:
                await client.server_info()
        assert said.value.code is asked.value.code is grpc.StatusCode.UNAVAILABLE

    run(main())


def test_leaving_the_conversation_ends_the_call(run):
    ended = []

    def script(requests, number, context):
        context.add_callback(lambda: ended.append(context.code()))
        next(requests)
        yield started("u1")
        for _ in requests:
            pass

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            async with client.converse() as conversation:
                await anext(conversation)
            async with client.converse() as conversation:
                await anext(conversation)
                reader = asyncio.create_task(anext(conversation))
                await asyncio.sleep(0)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(ended) == 2
