"""Invalid settings of a stream, of one text and of an utterance, over real gRPC: the status names the field."""

from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from tests.support.live_server import chunks, code_and_field, failed, live, status_of

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
    "min_audio_ms over a minute": ({"min_audio_ms": 60_001}, ".min_audio_ms"),
    "max_audio_ms under 100 ms": ({"max_audio_ms": 99}, ".max_audio_ms"),
    "max_audio_ms over ten minutes": ({"max_audio_ms": 600_001}, ".max_audio_ms"),
    "min_audio_ms over max_audio_ms": ({"min_audio_ms": 501, "max_audio_ms": 500}, ".min_audio_ms"),
}

BAD_FIELDS: dict[str, tuple[dict[str, Any], str, StatusCode]] = {
    "encoding unknown": ({"format": audio_pb2.AudioFormat(encoding=99)}, ".format.encoding", INVALID),
    "rate unsupported": ({"format": audio_pb2.AudioFormat(sample_rate_hz=11_025)}, ".format.sample_rate_hz", INVALID),
    "rate huge": ({"format": audio_pb2.AudioFormat(sample_rate_hz=2**32 - 1)}, ".format.sample_rate_hz", INVALID),
    "voice unknown": ({"voice": "nobody"}, ".voice", StatusCode.NOT_FOUND),
    "voice endless": ({"voice": "x" * 100_000}, ".voice", INVALID),
    "engine unknown": ({"engine": "nobody"}, ".engine", StatusCode.NOT_FOUND),
    "engine endless": ({"engine": "x" * 100_000}, ".engine", StatusCode.NOT_FOUND),
    "delivery unknown": ({"delivery": 3}, ".delivery", INVALID),
    "filler unknown": ({"filler": 9}, ".filler", INVALID),
    "lead too short": ({"lead_limit_ms": 199}, ".lead_limit_ms", INVALID),
    "lead zero": ({"lead_limit_ms": 0}, ".lead_limit_ms", INVALID),
    "lead too long": ({"lead_limit_ms": 600_001}, ".lead_limit_ms", INVALID),
}


def bad_settings() -> Iterator[Any]:
    """All cases: fields, path under the config, code."""
    for name, (fields, path, code) in BAD_FIELDS.items():
        yield pytest.param(fields, path, code, id=name)
    for name, (emotion, path) in BAD_EMOTIONS.items():
        yield pytest.param({"emotion": emotion}, f".emotion{path}", INVALID, id=f"emotion: {name}")
    for name, (options, path) in BAD_OPTIONS.items():
        given = speech_pb2.SynthesisOptions(**options)
        yield pytest.param({"options": given}, f".options{path}", INVALID, id=f"options: {name}")


@pytest.mark.parametrize(("fields", "path", "code"), [*bad_settings()])
def test_a_bad_config_ends_the_call(run, fields, path, code):
    async def main() -> None:
        config = speech_pb2.StreamConfig(**fields)
        async with live() as server:
            talk = server.open()
            await talk.send(config=config)
            assert code_and_field(status_of(await talk.failure())) == (code, f"config{path}")
            request = speech_pb2.SynthesizeRequest(text="Hello.", config=config)
            error = await failed(server.speech.Synthesize(request))
            assert code_and_field(status_of(error)) == (code, f"config{path}")

    run(main())


def test_bad_settings_of_an_utterance_end_only_that(run):
    """All cases on one stream, which goes on."""
    cases = [case for case in bad_settings() if case.values[1].startswith((".voice", ".emotion", ".options"))]

    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            for case in cases:
                fields, path, code = case.values
                await talk.say(str(case.id), "Hello.", **fields)
                answers = await talk.until("done")
                done = answers[-1][1]
                assert (done.utterance_id, done.reason) == (case.id, speech_pb2.DONE_REASON_REJECTED), case.id
                assert code_and_field(done.error) == (code, f"text{path}"), case.id
                assert not chunks(answers)
            await talk.prove_alive()

    assert len(cases) == 2 + len(BAD_EMOTIONS) + len(BAD_OPTIONS)
    run(main())
