"""Notices about what the engine cannot do, and GetServerInfo, over real gRPC."""

import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2
from intone.server.domain import EngineParameter
from tests.support.fakes import RATE_HZ, ScriptedEngine, info
from tests.support.live_server import codes_of, live, messages_of, spoken
from tests.support.rpc_status import failed, reason_of, status_of

HAPPY = emotion_pb2.Emotion(label="happy")
UNVOICED = [
    ({}, {}, []),
    ({"filler": speech_pb2.FILLER_POLICY_AUTO}, {}, []),
    ({"filler": speech_pb2.FILLER_POLICY_OFF}, {}, []),
    ({"engine": "starter"}, {}, []),
    ({"emotion": HAPPY}, {}, ["EMOTION_NOT_VOICED"]),
    ({"emotion": emotion_pb2.Emotion(label="calm")}, {}, []),
    ({"emotion": emotion_pb2.Emotion(label="angry", intensity=0.3)}, {}, ["EMOTION_NOT_VOICED"]),
    ({"speed": 1.5}, {}, ["SPEED_UNCHANGED"]),
    ({"speed": 1.5}, {"changes_speed": True}, []),
    ({"speed": 1.0}, {}, []),
    ({}, {"trained": False}, ["UNTRAINED_WEIGHTS"]),
    ({}, {"languages": ("zh",)}, ["TEXT_NOT_SPOKEN"]),
]


@pytest.mark.parametrize(("settings", "engine", "codes"), UNVOICED)
def test_notices(run, settings, engine, codes):
    async def main():
        async with live(ScriptedEngine(info=info(**engine))) as server:
            talk = await server.talk(defaults=speech_pb2.SpeechSettings(**settings))
            await talk.say("u", "Hello.")
            answers = await talk.until("done")
            assert codes_of(answers, "u") == codes_of(answers) == codes
            assert spoken(answers) == "Hello."
            (started,) = messages_of(answers, "started")
            assert started.route.engine == "starter"
            if settings.get("emotion") == HAPPY:
                assert started.route.reason == speech_pb2.ROUTE_REASON_NOT_LOADED
                assert (
                    "no loaded engine voices emotion (intensity 1.00, threshold 0.50): starter speaks plainly"
                    in started.route.explanation
                )
                assert started.emotion.weights == emotion_pb2.EmotionWeights(happy=1)

    run(main())


def test_a_foreign_text_is_told_once_in_a_stream(run):
    french, russian = "Bonjour, je suis très content. ", "Привет, как дела? "

    async def main():
        async with live(ScriptedEngine()) as server:
            talk = await server.talk()
            await talk.say("u", french)
            answers = await talk.until("done")
            (notice,) = messages_of(answers, "notice")
            assert codes_of(answers, "u") == ["PRONUNCIATION_APPROXIMATED"]
            assert notice.message.startswith("this looks like French, which starter does not speak: it is read as if")
            await talk.say("v", french + russian)
            answers = await talk.until("done")
            assert codes_of(answers, "v") == ["TEXT_NOT_SPOKEN"]
            # A client that names the language is told about that alone.
            named = await server.talk(defaults=speech_pb2.SpeechSettings(language="fr"))
            await named.say("w", french)
            (notice,) = messages_of(await named.until("done"), "notice")
            assert "starter does not speak 'fr'" in notice.message
        async with live(ScriptedEngine(info=info(languages=("en", "fr")))) as server:
            talk = await server.talk()
            await talk.say("u", french)
            assert codes_of(await talk.until("done")) == []

    run(main())


def test_a_server_without_an_analyzer_says_so(run):
    async def main():
        async with live(emotion_analyzer="none") as server:
            error = await failed(server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text="Oh no!")))
            assert error.code() is StatusCode.FAILED_PRECONDITION and "--emotion-analyzer" in (error.details() or "")
            assert reason_of(status_of(error)) == "ANALYZER_UNAVAILABLE"
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert told.emotion_analyzer == "none"

    run(main())


def test_server_info(run):
    async def main():
        parameters = (
            EngineParameter("steps", "steps of diffusion", 1, 100, 10, integer=True),
            EngineParameter("warmth", "warmth of the voice", -1.0, 1.0),
        )
        scripted = ScriptedEngine(info=info(changes_speed=True, parameters=parameters))
        async with live(scripted, max_streams=3, max_lead_ms=700) as server:
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
            assert engine.changes_speed and not engine.voices_emotion and engine.load == 0
            assert [*engine.parameters] == [
                speech_pb2.EngineParameter(
                    name="steps",
                    description="steps of diffusion",
                    min_value=1,
                    max_value=50,  # that of the server
                    default_value=10,
                    integer=True,
                ),
                speech_pb2.EngineParameter(name="warmth", description="warmth of the voice", min_value=-1, max_value=1),
            ]
            assert list(engine.languages) == ["en", "zh"] and engine.trained and engine.clones_voices
            assert told.version and told.default_voice == "default" and told.default_sample_rate_hz == RATE_HZ
            assert told.open_stream_count == 1 and told.limits.max_streams == 3
            assert told.limits.stream.max_lead_ms == 700 and told.limits.stream.max_text_characters == 16_384
            assert (
                told.features == ["pronunciations", "ssml", "resume"]
                and told.emotion_analyzer == "lexicon"
                and "happy" in told.emotion_labels
            )

    run(main())
