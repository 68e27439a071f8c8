"""Bad input over real gRPC: the status names the field, and the conversation goes on where the contract says so."""

from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode
from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from live_server import (
    PLACE_FOR_SURROGATE,
    blamed,
    chunks,
    code_of,
    failed,
    live,
    spoken,
    status_of,
    with_lone_surrogate,
)

INVALID = StatusCode.INVALID_ARGUMENT
NAN, INFINITY = float("nan"), float("inf")


def vector(*weights: float) -> emotion_pb2.Emotion:
    return emotion_pb2.Emotion(vector=emotion_pb2.EmotionVector(weights=weights))


def clip(audio: bytes) -> emotion_pb2.Emotion:
    return emotion_pb2.Emotion(clip=emotion_pb2.ReferenceClip(audio=audio))


BAD_EMOTIONS: dict[str, tuple[emotion_pb2.Emotion, str]] = {
    "no kind": (emotion_pb2.Emotion(), ""),
    "no kind but an intensity": (emotion_pb2.Emotion(intensity=0.5), ""),
    "label unspecified": (emotion_pb2.Emotion(label=0), ".label"),
    "label unknown": (emotion_pb2.Emotion(label=10), ".label"),
    "label negative": (emotion_pb2.Emotion(label=-1), ".label"),
    "vector of none": (vector(), ".vector.weights"),
    "vector of 7": (vector(*[0.1] * 7), ".vector.weights"),
    "vector of 9": (vector(*[0.1] * 9), ".vector.weights"),
    "vector with NaN": (vector(NAN, *[0.0] * 7), ".vector.weights"),
    "vector with infinity": (vector(*[0.0] * 7, INFINITY), ".vector.weights"),
    "vector with a negative": (vector(0.0, -0.01, *[0.0] * 6), ".vector.weights"),
    "weight over its cap": (vector(1.21, *[0.0] * 7), ".vector.weights"),
    "sum over its cap": (vector(1.0, 0.51, *[0.0] * 6), ".vector.weights"),
    "blank description": (emotion_pb2.Emotion(description=" \t"), ".description"),
    "long description": (emotion_pb2.Emotion(description="x" * 201), ".description"),
    "description with a bell": (emotion_pb2.Emotion(description="sad\a"), ".description"),
    "empty clip": (clip(b""), ".clip.audio"),
    "clip over 2 MiB": (clip(bytes((2 << 20) + 1)), ".clip.audio"),
    "clip that is no recording": (clip(b"not a recording"), ".clip.audio"),
    "intensity over 1": (emotion_pb2.Emotion(label=2, intensity=1.01), ".intensity"),
    "intensity negative": (emotion_pb2.Emotion(label=2, intensity=-0.01), ".intensity"),
    "intensity NaN": (emotion_pb2.Emotion(label=2, intensity=NAN), ".intensity"),
}

BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": 0}, ".steps"),
    "101 steps": ({"steps": 101}, ".steps"),
    "guidance NaN": ({"guidance": NAN}, ".guidance"),
    "guidance infinite": ({"guidance": INFINITY}, ".guidance"),
    "guidance negative": ({"guidance": -1}, ".guidance"),
    "guidance 11": ({"guidance": 11}, ".guidance"),
    "least audio over a minute": ({"min_audio_ms": 60_001}, ".min_audio_ms"),
    "most audio under 100 ms": ({"max_audio_ms": 99}, ".max_audio_ms"),
    "most audio over ten minutes": ({"max_audio_ms": 600_001}, ".max_audio_ms"),
    "least more than most": ({"min_audio_ms": 501, "max_audio_ms": 500}, ".min_audio_ms"),
}

BAD_FIELDS: dict[str, tuple[dict[str, Any], str, StatusCode]] = {
    "encoding unknown": ({"format": audio_pb2.AudioFormat(encoding=99)}, ".format.encoding", INVALID),
    "rate unsupported": ({"format": audio_pb2.AudioFormat(sample_rate_hz=11_025)}, ".format.sample_rate_hz", INVALID),
    "rate huge": ({"format": audio_pb2.AudioFormat(sample_rate_hz=2**32 - 1)}, ".format.sample_rate_hz", INVALID),
    "voice unknown": ({"voice": "nobody"}, ".voice", StatusCode.NOT_FOUND),
    "voice endless": ({"voice": "x" * 100_000}, ".voice", INVALID),
    "engine unknown": ({"engine": 5}, ".engine", INVALID),
    "delivery unknown": ({"delivery": 3}, ".delivery", INVALID),
    "filler unknown": ({"filler": 3}, ".filler", INVALID),
    "lead too short": ({"lead_limit_ms": 199}, ".lead_limit_ms", INVALID),
    "lead zero": ({"lead_limit_ms": 0}, ".lead_limit_ms", INVALID),
    "lead too long": ({"lead_limit_ms": 600_001}, ".lead_limit_ms", INVALID),
}


def bad_settings() -> Iterator[Any]:
    """Every bad setting of a config: (fields, path under the config, code)."""
    for name, (fields, path, code) in BAD_FIELDS.items():
        yield pytest.param(fields, path, code, id=name)
    for name, (emotion, path) in BAD_EMOTIONS.items():
        yield pytest.param({"emotion": emotion}, f".emotion{path}", INVALID, id=f"emotion: {name}")
    for name, (options, path) in BAD_OPTIONS.items():
        given = speech_pb2.SynthesisOptions(**options)
        yield pytest.param({"options": given}, f".options{path}", INVALID, id=f"options: {name}")


@pytest.mark.parametrize(("fields", "path", "code"), bad_settings())
def test_bad_config_ends_the_call(run, fields, path, code):
    async def main() -> None:
        async with live() as server:
            talk = server.open()
            await talk.send(config=speech_pb2.StreamConfig(**fields))
            assert blamed(status_of(await talk.failure())) == (code, f"config{path}")

    run(main())


@pytest.mark.parametrize(("fields", "path", "code"), bad_settings())
def test_bad_config_of_one_text_ends_the_call(run, fields, path, code):
    async def main() -> None:
        async with live() as server:
            request = speech_pb2.SynthesizeRequest(text="Hello.", config=speech_pb2.StreamConfig(**fields))
            assert blamed(status_of(await failed(server.speech.Synthesize(request)))) == (code, f"config{path}")

    run(main())


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
            assert blamed(status_of(error)) == (INVALID, "config")
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
            assert blamed(status_of(await talk.failure())) == (INVALID, "config.emotion.description")
            for request, path in (
                (speech_pb2.SynthesizeRequest(text=PLACE_FOR_SURROGATE), "text"),
                (speech_pb2.SynthesizeRequest(config=speech_pb2.StreamConfig(voice="@@@")), "config.voice"),
            ):
                call = server.channel.unary_stream("/intone.v1.SpeechService/Synthesize")(with_lone_surrogate(request))
                assert blamed(status_of(await failed(call))) == (INVALID, path)

    run(main())


# ---- later messages: the conversation goes on -----------------------------------------------------------------------


def of_text(**fields: Any) -> speech_pb2.StreamSynthesizeRequest:
    given = {"utterance_id": "u", "delta": "Hello.", "end_of_utterance": True, **fields}
    return speech_pb2.StreamSynthesizeRequest(text=speech_pb2.TextInput(**given))


def bad_texts() -> Iterator[Any]:
    """Messages that end their utterance "u": (message, field, code)."""
    for code_point in (*range(9), 0xB, 0xC, *range(0xE, 0x20), *range(0x7F, 0xA0)):
        yield pytest.param(
            of_text(delta=f"ab{chr(code_point)}"), "text.delta", INVALID, id=f"control {code_point:#04x}"
        )
    yield pytest.param(of_text(delta="x" * (1 << 20)), "text.delta", INVALID, id="1 MB of text")
    yield pytest.param(of_text(delta="x" * 16_385), "text.delta", INVALID, id="a character too many")
    yield pytest.param(of_text(delta=""), "text.delta", INVALID, id="empty")
    yield pytest.param(of_text(delta=" \n\t "), "text.delta", INVALID, id="white space")
    yield pytest.param(of_text(delta="… ?! 🙂"), "text.delta", INVALID, id="nothing to speak")
    yield pytest.param(of_text(voice="nobody"), "text.voice", StatusCode.NOT_FOUND, id="voice unknown")
    yield pytest.param(of_text(voice="x" * 100_000), "text.voice", INVALID, id="voice endless")
    for name, (emotion, path) in BAD_EMOTIONS.items():
        yield pytest.param(of_text(emotion=emotion), f"text.emotion{path}", INVALID, id=f"emotion: {name}")
    for name, (options, path) in BAD_OPTIONS.items():
        given = speech_pb2.SynthesisOptions(**options)
        yield pytest.param(of_text(options=given), f"text.options{path}", INVALID, id=f"options: {name}")


@pytest.mark.parametrize(("message", "field", "code"), bad_texts())
def test_bad_text_ends_its_utterance_only(run, message, field, code):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.send(message.SerializeToString())
            answers = await talk.until("done")
            done = answers[-1][1]
            assert (done.utterance_id, done.reason) == ("u", speech_pb2.DONE_REASON_REJECTED)
            assert blamed(done.error) == (code, field)
            assert not chunks(answers)
            await talk.prove_alive()
            await talk.end()
            assert not await talk.rest() and await talk.call.code() is StatusCode.OK

    run(main())


def test_control_character_says_which_and_where(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "ab\x1bc")
            (_, done) = (await talk.until("done"))[-1]
            assert "U+001B" in done.error.message and "character 2" in done.error.message
            await talk.say("v", "tab\t line\n return\r kept")
            assert spoken(await talk.until("done", "v")) == "tab line return kept"

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
def test_refused_message_is_answered_and_forgotten(run, message, code, field):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.send(message if isinstance(message, bytes) else message.SerializeToString())
            ((kind, error),) = await talk.until("error")
            assert kind == "error" and blamed(error.status) == (code, field)
            await talk.prove_alive()
            await talk.end()
            assert not await talk.rest() and await talk.call.code() is StatusCode.OK

    run(main())


def test_garbage_in_mid_stream(run):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            for data in (b"\xff\xff\xff", b"\x12\x7fshort", b"\x00"):
                await talk.send(data)
                ((_, error),) = await talk.until("error")
                assert code_of(error.status) is INVALID and "not valid protobuf" in error.status.message
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (speech_pb2.SynthesizeRequest(), "text"),
        (speech_pb2.SynthesizeRequest(text=" \n"), "text"),
        (speech_pb2.SynthesizeRequest(text="?!"), "text"),
        (speech_pb2.SynthesizeRequest(text="a\0b"), "text"),
        (speech_pb2.SynthesizeRequest(text="x" * 16_385), "text"),
        (speech_pb2.SynthesizeRequest(text="x" * (1 << 20)), "text"),
    ],
    ids=["empty", "blank", "nothing to speak", "control character", "a character too many", "1 MB"],
)
def test_bad_single_text(run, request_, field):
    async def main() -> None:
        async with live() as server:
            assert blamed(status_of(await failed(server.speech.Synthesize(request_)))) == (INVALID, field)

    run(main())
