"""Invalid messages over real gRPC: the status names the field, and the stream goes on where the proto says so."""

from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.live_server import (
    PLACE_FOR_SURROGATE,
    chunks,
    code_and_field,
    code_of,
    failed,
    live,
    spoken,
    status_of,
    with_lone_surrogate,
)

INVALID = StatusCode.INVALID_ARGUMENT

# ---- the first message ----------------------------------------------------------------------------------------------

FIRST_MESSAGES = {
    "text first": (speech_pb2.StreamSynthesizeRequest(text=speech_pb2.TextInput(utterance_id="u", delta="x")), "text"),
    "flush first": (speech_pb2.StreamSynthesizeRequest(flush=speech_pb2.Flush()), "flush"),
    "cancel first": (speech_pb2.StreamSynthesizeRequest(cancel=speech_pb2.Cancel()), "cancel"),
    "progress first": (speech_pb2.StreamSynthesizeRequest(progress=speech_pb2.PlaybackProgress()), "progress"),
    "an empty message": (speech_pb2.StreamSynthesizeRequest(), "empty"),
    "nothing": (None, "closed"),
}


@pytest.mark.parametrize(("message", "word"), FIRST_MESSAGES.values(), ids=FIRST_MESSAGES)
def test_first_message_must_be_config(run, message, word):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            if message is None:
                await talk.end()
            else:
                await talk.send(message.SerializeToString())
            error = await talk.failure()
            assert code_and_field(status_of(error)) == (INVALID, "config")
            assert word in (error.details() or "")

    run(main())


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x7fshort", b"\x00"], ids=["tag", "length", "zero"])
def test_garbage_as_first_message(run, data):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            await talk.send(data)
            error = await talk.failure()
            assert error.code() is INVALID and "not valid protobuf" in (error.details() or "")
            one = server.channel.unary_stream("/intone.v1.SpeechService/Synthesize")(data)
            error = await failed(one)
            assert error.code() is INVALID and "not valid protobuf" in (error.details() or "")

    run(main())


def test_lone_surrogate_in_config_and_in_one_text(run):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            config = speech_pb2.StreamConfig(emotion=emotion_pb2.Emotion(description=f"sad {PLACE_FOR_SURROGATE}"))
            await talk.send(with_lone_surrogate(speech_pb2.StreamSynthesizeRequest(config=config)))
            assert code_and_field(status_of(await talk.failure())) == (INVALID, "config.emotion.description")
            for request, path in (
                (speech_pb2.SynthesizeRequest(text=PLACE_FOR_SURROGATE), "text"),
                (speech_pb2.SynthesizeRequest(config=speech_pb2.StreamConfig(voice="@@@")), "config.voice"),
            ):
                call = server.channel.unary_stream("/intone.v1.SpeechService/Synthesize")(with_lone_surrogate(request))
                assert code_and_field(status_of(await failed(call))) == (INVALID, path)

    run(main())


# ---- later messages: the conversation goes on -----------------------------------------------------------------------


def of_text(**fields: Any) -> speech_pb2.StreamSynthesizeRequest:
    given = {"utterance_id": "u", "delta": "Hello.", "end_of_utterance": True, **fields}
    return speech_pb2.StreamSynthesizeRequest(text=speech_pb2.TextInput(**given))


BAD_DELTAS = {
    "1 MB of text": "x" * (1 << 20),
    "a character too many": "x" * 16_385,
    "empty": "",
    "white space": " \n\t ",
    "nothing to speak": "… ?! 🙂",
    "a control character": "ab\x1bc",
}


@pytest.mark.parametrize("delta", BAD_DELTAS.values(), ids=BAD_DELTAS)
def test_bad_text_ends_only_its_utterance_or_its_call(run, delta):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", delta)
            answers = await talk.until("done")
            done = answers[-1][1]
            assert (done.utterance_id, done.reason) == ("u", speech_pb2.DONE_REASON_REJECTED)
            assert code_and_field(done.error) == (INVALID, "text.delta")
            assert not chunks(answers)
            await talk.prove_alive()
            await talk.end()
            assert not await talk.rest() and await talk.call.code() is StatusCode.OK
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=delta)))
            assert code_and_field(status_of(error)) == (INVALID, "text")

    run(main())


def test_errors_name_the_code_point_and_position_of_control_characters(run):
    refused = [*range(9), 0xB, 0xC, *range(0xE, 0x20), *range(0x7F, 0xA0)]

    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            for code_point in refused:
                await talk.say(f"u{code_point}", f"ab{chr(code_point)}c")
                (_, done) = (await talk.until("done"))[-1]
                assert code_and_field(done.error) == (INVALID, "text.delta"), code_point
                assert f"U+{code_point:04X} at character 2" in done.error.message
            await talk.say("v", "tab\t return\r kept\n")
            assert spoken(await talk.until("done", "v"), "v") == "tab return kept"

    run(main())


def refused(**message: Any) -> speech_pb2.StreamSynthesizeRequest:
    return speech_pb2.StreamSynthesizeRequest(**message)


REFUSED = {
    "second config": (refused(config=speech_pb2.StreamConfig()), INVALID, "config"),
    "empty message": (refused(), INVALID, "request"),
    "text without id": (of_text(utterance_id=""), INVALID, "text.utterance_id"),
    "text with a long id": (of_text(utterance_id="x" * 129), INVALID, "text.utterance_id"),
    "text with a control character in its id": (of_text(utterance_id="a\0"), INVALID, "text.utterance_id"),
    "cancel of the unknown": (
        refused(cancel=speech_pb2.Cancel(utterance_id="nobody")),
        StatusCode.NOT_FOUND,
        "cancel.utterance_id",
    ),
    "cancel with a long id": (
        refused(cancel=speech_pb2.Cancel(utterance_id="x" * 129)),
        INVALID,
        "cancel.utterance_id",
    ),
    "cancel past what was sent": (refused(cancel=speech_pb2.Cancel(played_ms=1000)), INVALID, "cancel.played_ms"),
    "flush with a long id": (refused(flush=speech_pb2.Flush(flush_id="x" * 129)), INVALID, "flush.flush_id"),
    "progress past what was sent": (
        refused(progress=speech_pb2.PlaybackProgress(played_ms=100)),
        INVALID,
        "progress.played_ms",
    ),
    "progress past any number": (
        refused(progress=speech_pb2.PlaybackProgress(played_ms=2**64 - 1)),
        INVALID,
        "progress.played_ms",
    ),
    "lone surrogate in text": (with_lone_surrogate(of_text(delta="a @@@")), INVALID, "text.delta"),
    "lone surrogate in id": (with_lone_surrogate(of_text(utterance_id="@@@")), INVALID, "text.utterance_id"),
    "lone surrogate in flush": (
        with_lone_surrogate(refused(flush=speech_pb2.Flush(flush_id="@@@"))),
        INVALID,
        "flush.flush_id",
    ),
}


@pytest.mark.parametrize(("message", "code", "field"), REFUSED.values(), ids=REFUSED)
def test_a_refused_message_is_answered_and_has_no_effect(run, message, code, field):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.send(message if isinstance(message, bytes) else message.SerializeToString())
            ((kind, error),) = await talk.until("error")
            assert kind == "error" and code_and_field(error.status) == (code, field)
            await talk.prove_alive()
            await talk.end()
            assert not await talk.rest() and await talk.call.code() is StatusCode.OK

    run(main())


def test_garbage_in_the_middle_of_a_stream(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            for data in (b"\xff\xff\xff", b"\x12\x7fshort", b"\x00"):
                await talk.send(data)
                ((_, error),) = await talk.until("error")
                assert code_of(error.status) is INVALID and "not valid protobuf" in error.status.message
            await talk.prove_alive()

    run(main())
