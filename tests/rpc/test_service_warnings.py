"""Warnings about what the engine cannot do, and GetServerInfo, over real gRPC."""

import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from tests.support.fakes import RATE_HZ, ScriptedEngine, info
from tests.support.live_server import failed, live, spoken, status_of


def warned(answers):
    """Names of the warnings in `answers`; each must have a message."""
    found = [message for kind, message in answers if kind == "warning"]
    assert all(message.message for message in found)
    return [speech_pb2.WarningCode.Name(message.code).removeprefix("WARNING_CODE_") for message in found]


HAPPY = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_HAPPY)
UNVOICED = [
    ({}, {}, []),
    ({"filler": speech_pb2.FILLER_POLICY_AUTO}, {}, []),
    ({"filler": speech_pb2.FILLER_POLICY_OFF}, {}, []),
    ({"engine": "starter"}, {}, []),
    ({"emotion": HAPPY}, {}, ["ENGINE_SUBSTITUTED", "EMOTION_NOT_VOICED"]),
    ({"emotion": emotion_pb2.Emotion(label=9)}, {}, []),
    ({"emotion": emotion_pb2.Emotion(label=2, intensity=0.3)}, {}, ["EMOTION_NOT_VOICED"]),
    ({}, {"trained": False}, ["UNTRAINED_WEIGHTS"]),
    ({}, {"languages": ("zh",)}, ["TEXT_NOT_SPOKEN"]),
]


@pytest.mark.parametrize(("config", "engine", "codes"), UNVOICED)
def test_warnings(run, config, engine, codes):
    async def main():
        async with live(ScriptedEngine(info=info(**engine))) as server:
            talk = await server.talk(**config)
            await talk.say("u", "Hello.")
            answers = await talk.until("done")
            assert warned(answers) == codes
            assert spoken(answers) == "Hello."
            started = next(message for kind, message in answers if kind == "started")
            assert started.engine == "starter"
            if config.get("emotion") == HAPPY:
                assert started.route_reason == speech_pb2.ROUTE_REASON_NOT_LOADED
                assert "no loaded engine voices emotion: starter speaks" in started.route_explanation
                assert list(started.emotion.weights) == [1.0] + [0.0] * 7

    run(main())


def test_a_server_without_an_analyzer_says_so(run):
    async def main():
        async with live(emotion_analyzer="none") as server:
            error = await failed(server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text="Oh no!")))
            assert error.code() is StatusCode.FAILED_PRECONDITION and "--emotion-analyzer" in (error.details() or "")
            assert status_of(error).code == StatusCode.FAILED_PRECONDITION.value[0]
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert told.emotion_analyzer == "none"

    run(main())


def test_server_info(run):
    async def main():
        async with live(max_streams=3, max_lead_ms=700) as server:
            talk = await server.talk()
            await talk.prove_alive()
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            (engine,) = told.engines
            assert (engine.name, engine.model, engine.sample_rate_hz, engine.healthy) == (
                "starter",
                "scripted",
                RATE_HZ,
                True,
            )
            assert list(engine.languages) == ["en", "zh"] and engine.trained and engine.clones_voices
            assert told.version and told.default_voice == "default" and told.default_sample_rate_hz == RATE_HZ
            assert told.open_streams == 1 and told.limits.max_streams == 3
            assert told.limits.default_lead_limit_ms == 700 and told.limits.max_text_characters == 16_384

    run(main())
