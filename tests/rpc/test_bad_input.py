"""Invalid messages over real gRPC: the status names the field, and the stream goes on where the proto says so."""

from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from tests.support.live_server import (
    PLACE_FOR_SURROGATE,
    chunks,
    codes_of,
    live,
    messages_of,
    spoken,
    with_lone_surrogate,
)
from tests.support.rpc_status import code_and_field, code_of, failed, reason_of, status_of, values_of

INVALID = StatusCode.INVALID_ARGUMENT

# ---- the first message ----------------------------------------------------------------------------------------------

FIRST_MESSAGES = {
    "text first": (speech_pb2.StreamSynthesizeRequest(text=speech_pb2.TextInput(utterance_id="u", delta="x")), "text"),
    "start first": (speech_pb2.StreamSynthesizeRequest(start=speech_pb2.StartUtterance(utterance_id="u")), "start"),
    "flush first": (speech_pb2.StreamSynthesizeRequest(flush=speech_pb2.Flush()), "flush"),
    "interrupt first": (speech_pb2.StreamSynthesizeRequest(interrupt=speech_pb2.Interrupt()), "interrupt"),
    "playback first": (speech_pb2.StreamSynthesizeRequest(playback=speech_pb2.PlaybackProgress()), "playback"),
    "finish first": (speech_pb2.StreamSynthesizeRequest(finish=speech_pb2.Finish()), "finish"),
    "an empty message": (speech_pb2.StreamSynthesizeRequest(), "empty"),
    "nothing": (None, "closed"),
}


@pytest.mark.parametrize(("message", "word"), FIRST_MESSAGES.values(), ids=FIRST_MESSAGES)
def test_first_message_must_be_config(run, message, word):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            if message is None:
                await talk.half_close()
            else:
                await talk.send(message.SerializeToString())
            answers, error = await talk.answers_and_failure()
            assert [kind for kind, _ in answers] == ["closed"]
            assert code_and_field(status_of(error)) == (INVALID, "config")
            assert reason_of(status_of(error)) == "CONFIG_MISSING" and word in (error.details() or "")

    run(main())


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x7fshort", b"\x00"], ids=["tag", "length", "zero"])
def test_garbage_as_first_message(run, data):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            await talk.send(data)
            one = server.channel.unary_stream("/intone.v1.SpeechService/Synthesize")(data)
            for error in (await talk.failure(), await failed(one)):
                assert error.code() is INVALID and "not valid protobuf" in (error.details() or "")
                assert reason_of(status_of(error)) == "MESSAGE_MALFORMED"

    run(main())


def test_lone_surrogate_in_config_and_in_one_text(run):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            sad = emotion_pb2.Emotion(description=f"sad {PLACE_FOR_SURROGATE}")
            config = speech_pb2.StreamConfig(defaults=speech_pb2.SpeechSettings(emotion=sad))
            await talk.send(with_lone_surrogate(speech_pb2.StreamSynthesizeRequest(config=config)))
            status = status_of(await talk.failure())
            assert code_and_field(status) == (INVALID, "config.defaults.emotion.description")
            assert reason_of(status) == "MESSAGE_MALFORMED"
            named = speech_pb2.StreamConfig(defaults=speech_pb2.SpeechSettings(voice=PLACE_FOR_SURROGATE))
            for request, path in (
                (speech_pb2.SynthesizeRequest(text=PLACE_FOR_SURROGATE), "text"),
                (speech_pb2.SynthesizeRequest(config=named), "config.defaults.voice"),
            ):
                call = server.channel.unary_stream("/intone.v1.SpeechService/Synthesize")(with_lone_surrogate(request))
                assert code_and_field(status_of(await failed(call))) == (INVALID, path)

    run(main())


# ---- later messages: the conversation goes on -----------------------------------------------------------------------


def of_text(**fields: Any) -> speech_pb2.StreamSynthesizeRequest:
    given = {"utterance_id": "u", "delta": "Hello.", "end_of_utterance": True, **fields}
    return speech_pb2.StreamSynthesizeRequest(text=speech_pb2.TextInput(**given))


BAD_DELTAS = {
    "1 MB of text": ("x" * (1 << 20), "TEXT_TOO_LONG"),
    "a character too many": ("x" * 16_385, "TEXT_TOO_LONG"),
    "a control character": ("ab\x1bc", "TEXT_INVALID"),
}


@pytest.mark.parametrize(("delta", "reason"), BAD_DELTAS.values(), ids=BAD_DELTAS)
def test_bad_text_ends_only_its_utterance(run, delta, reason):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", delta)
            answers = await talk.until("done")
            done = answers[-1][1]
            assert (done.utterance_id, done.reason) == ("u", speech_pb2.DONE_REASON_REJECTED)
            assert code_and_field(done.error) == (INVALID, "text.delta") and reason_of(done.error) == reason
            assert not chunks(answers)
            await talk.prove_alive()
            await talk.half_close()
            assert [kind for kind, _ in await talk.rest()] == ["closed"]

    run(main())


BAD_TEXTS = {
    "1 MB of text": ("x" * (1 << 20), "TEXT_TOO_LONG"),
    "a character too many": ("x" * 131_073, "TEXT_TOO_LONG"),
    "a control character": ("ab\x1bc", "TEXT_INVALID"),
    "nothing": ("", "VALUE_MISSING"),
}


@pytest.mark.parametrize(("text", "reason"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_bad_text_ends_the_call_with_one_text(run, text, reason):
    async def main() -> None:
        async with live() as server:
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=text)))
            assert code_and_field(status_of(error)) == (INVALID, "text") and reason_of(status_of(error)) == reason

    run(main())


SILENT = {"empty": "", "white space": " \n\t ", "nothing to speak": "… ?! 🙂", "only a tag": "[happy]"}


@pytest.mark.parametrize("text", SILENT.values(), ids=SILENT)
def test_nothing_to_speak_is_no_error(run, text):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", text)
            answers = await talk.until("done")
            usage = speech_pb2.Usage(characters=len(text))
            done = speech_pb2.Done(utterance_id="u", reason=speech_pb2.DONE_REASON_EMPTY, usage=usage)
            done.latency.SetInParent()
            assert answers == [("done", done)]
            await talk.prove_alive()
            if text:
                call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=text))
                configured, last = [answer async for answer in call]
                assert configured.HasField("configured") and last.done.reason == speech_pb2.DONE_REASON_EMPTY

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


def interrupt(*ids: str, **fields: Any) -> speech_pb2.StreamSynthesizeRequest:
    return refused(interrupt=speech_pb2.Interrupt(utterance_ids=ids, **fields))


LONG_ID = "x" * 129
REFUSED = {
    "second config": (refused(config=speech_pb2.StreamConfig()), "CONFIG_REPEATED", "config"),
    "empty message": (refused(), "VALUE_MISSING", "request"),
    "text without id": (of_text(utterance_id=""), "VALUE_MISSING", "text.utterance_id"),
    "text with a long id": (of_text(utterance_id=LONG_ID), "TEXT_TOO_LONG", "text.utterance_id"),
    "text with a control character in its id": (of_text(utterance_id="a\0"), "TEXT_INVALID", "text.utterance_id"),
    "start without id": (refused(start=speech_pb2.StartUtterance()), "VALUE_MISSING", "start.utterance_id"),
    "interrupt with a long id": (interrupt("u", LONG_ID), "TEXT_TOO_LONG", "interrupt.utterance_ids[1]"),
    "interrupt with an empty id": (interrupt(""), "VALUE_MISSING", "interrupt.utterance_ids[0]"),
    "interrupt of too many": (interrupt(*"x" * 101), "VALUE_OUT_OF_RANGE", "interrupt.utterance_ids"),
    "interrupt with a long id of its own": (interrupt(interrupt_id=LONG_ID), "TEXT_TOO_LONG", "interrupt.interrupt_id"),
    "interrupt at a sample of nothing": (
        interrupt(played=audio_pb2.AudioPosition(sample=5)),
        "VALUE_MISSING",
        "interrupt.played.utterance_id",
    ),
    "flush with a long id": (refused(flush=speech_pb2.Flush(flush_id=LONG_ID)), "TEXT_TOO_LONG", "flush.flush_id"),
    "flush of a long id": (
        refused(flush=speech_pb2.Flush(utterance_id=LONG_ID)),
        "TEXT_TOO_LONG",
        "flush.utterance_id",
    ),
    "playback of nothing": (
        refused(playback=speech_pb2.PlaybackProgress()),
        "VALUE_MISSING",
        "playback.played.utterance_id",
    ),
    "lone surrogate in text": (with_lone_surrogate(of_text(delta="a @@@")), "MESSAGE_MALFORMED", "text.delta"),
    "lone surrogate in id": (
        with_lone_surrogate(of_text(utterance_id="@@@")),
        "MESSAGE_MALFORMED",
        "text.utterance_id",
    ),
    "lone surrogate in flush": (
        with_lone_surrogate(refused(flush=speech_pb2.Flush(flush_id="@@@"))),
        "MESSAGE_MALFORMED",
        "flush.flush_id",
    ),
}


@pytest.mark.parametrize(("message", "reason", "field"), REFUSED.values(), ids=REFUSED)
def test_a_refused_message_is_answered_and_has_no_effect(run, message, reason, field):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.flush()
            await talk.send(message if isinstance(message, bytes) else message.SerializeToString())
            answers = await talk.until("request_refused")
            assert [kind for kind, _ in answers] == ["flushed", "request_refused"]
            error = answers[-1][1].error
            assert code_and_field(error) == (INVALID, field) and reason_of(error) == reason
            assert answers[-1][1].request_index == 2  # after the config and the flush
            await talk.prove_alive()
            await talk.half_close()
            assert [kind for kind, _ in await talk.rest()] == ["closed"]

    run(main())


def test_garbage_in_the_middle_of_a_stream(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            for index, data in enumerate((b"\xff\xff\xff", b"\x12\x7fshort", b"\x00"), start=1):
                await talk.send(data)
                ((_, refusal),) = await talk.until("request_refused")
                assert code_of(refusal.error) is INVALID and "not valid protobuf" in refusal.error.message
                assert reason_of(refusal.error) == "MESSAGE_MALFORMED" and refusal.request_index == index
            await talk.prove_alive()

    run(main())


def test_a_kind_of_message_that_the_server_does_not_know(run):
    """As a later version of the protocol may have: a member of the oneof with a number that is free today."""

    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.send(b"\xfa\x01\x00")  # field 31, an empty message
            ((_, refusal),) = await talk.until("request_refused")
            assert code_and_field(refusal.error) == (StatusCode.UNIMPLEMENTED, "request")
            assert reason_of(refusal.error) == "UNSUPPORTED" and refusal.request_index == 1
            await talk.prove_alive()

    run(main())


def test_fields_that_the_server_does_not_know_are_skipped(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            text = speech_pb2.TextInput(utterance_id="u", delta="Hello.", end_of_utterance=True)
            known = text.SerializeToString() + b"\xfa\x01\x00"
            await talk.send(bytes([0x12, len(known)]) + known)
            assert spoken(await talk.until("done")) == "Hello."

    run(main())


def test_refusals_count_every_message_of_the_client(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            bad = refused().SerializeToString()
            await talk.send(bad)  # 1
            await talk.playback("nobody", 5)
            await talk.say("u", "Hello.")
            await talk.interrupt("nobody")
            await talk.send(bad)  # 5
            await talk.flush("f", "u")
            await talk.send(config=speech_pb2.StreamConfig())  # 7
            await talk.finish()
            refusals = messages_of(await talk.rest(), "request_refused")
            assert [refusal.request_index for refusal in refusals] == [1, 5, 7]

    run(main())


def test_a_repeated_or_missing_piece_of_text_is_found_by_its_offset(run):
    async def main() -> None:
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "Hello ", end=False, text_offset=0)
            await talk.say("u", "Hello ", end=False, text_offset=0)  # nothing new
            await talk.say("u", "lo there ", end=False, text_offset=3)  # in part
            await talk.say("u", "again", end=False, text_offset=15)  # "my " is missing
            ((_, refusal),) = await talk.until("request_refused")
            assert code_and_field(refusal.error) == (StatusCode.FAILED_PRECONDITION, "text.text_offset")
            assert (refusal.utterance_id, refusal.request_index) == ("u", 4)
            assert reason_of(refusal.error) == "TEXT_GAP" and values_of(refusal.error) == {"received": "12"}
            await talk.say("u", "my friend.", text_offset=12)
            answers = await talk.until("done")
            assert spoken(answers) == "Hello there my friend." and not codes_of(answers)
            assert answers[-1][1].usage.characters == len("Hello there my friend.")

    run(main())


@pytest.mark.parametrize("offset", [-1, -(2**31)])
def test_an_offset_is_not_negative(run, offset):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "Hello.", text_offset=offset)
            done = (await talk.until("done"))[-1][1]
            assert code_and_field(done.error) == (INVALID, "text.text_offset")
            assert reason_of(done.error) == "VALUE_OUT_OF_RANGE"

    run(main())
