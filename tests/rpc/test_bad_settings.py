"""Invalid settings of a stream, of one text and of an utterance, over real gRPC: the status names field and reason."""

from collections.abc import Iterator
from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server.domain import EngineParameter
from tests.support.fakes import ScriptedEngine, info
from tests.support.live_server import chunks, codes_of, live
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of, values_of

INVALID, NOT_FOUND = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND
RANGE, UNKNOWN, MISSING = "VALUE_OUT_OF_RANGE", "VALUE_UNKNOWN", "VALUE_MISSING"
NAN, INFINITY = float("nan"), float("inf")
PARAMETERS = (
    EngineParameter("steps", "steps of diffusion", 1, 100, 10, integer=True),
    EngineParameter("guidance", "strength of guidance", 0.0, 10.0),
    EngineParameter("min_audio_ms", "shortest audio of a unit", 0, 60_000, integer=True),
    EngineParameter("max_audio_ms", "longest audio of a unit", 100, 600_000, integer=True),
)


def engine() -> ScriptedEngine:
    return ScriptedEngine(info=info(parameters=PARAMETERS))


def weights(**given: float) -> emotion_pb2.Emotion:
    return emotion_pb2.Emotion(weights=emotion_pb2.EmotionWeights(**given))


def happy(intensity: float) -> emotion_pb2.Emotion:
    return emotion_pb2.Emotion(label="happy", intensity=intensity)


BAD_EMOTIONS: dict[str, tuple[emotion_pb2.Emotion, str, str]] = {
    "no kind": (emotion_pb2.Emotion(), "", MISSING),
    "no kind but an intensity": (emotion_pb2.Emotion(intensity=0.5), "", MISSING),
    "blank label": (emotion_pb2.Emotion(label=" "), ".label", MISSING),
    "long label": (emotion_pb2.Emotion(label="x" * 65), ".label", "TEXT_TOO_LONG"),
    "label with a bell": (emotion_pb2.Emotion(label="sad\a"), ".label", "TEXT_INVALID"),
    "weight that is NaN": (weights(happy=NAN), ".weights.happy", RANGE),
    "weight that is infinite": (weights(calm=INFINITY), ".weights.calm", RANGE),
    "weight that is negative": (weights(angry=-0.01), ".weights.angry", RANGE),
    "weight over its cap": (weights(sad=1.21), ".weights.sad", RANGE),
    "sum over its cap": (weights(afraid=1.0, surprised=0.51), ".weights", RANGE),
    "blank description": (emotion_pb2.Emotion(description=" \t"), ".description", MISSING),
    "long description": (emotion_pb2.Emotion(description="x" * 201), ".description", "TEXT_TOO_LONG"),
    "description with a bell": (emotion_pb2.Emotion(description="sad\a"), ".description", "TEXT_INVALID"),
    "unknown clip": (emotion_pb2.Emotion(clip_id="0" * 64), ".clip_id", "CLIP_NOT_FOUND"),
    "clip without a name": (emotion_pb2.Emotion(clip_id=""), ".clip_id", "CLIP_NOT_FOUND"),
    "intensity over 1": (happy(1.01), ".intensity", RANGE),
    "intensity negative": (happy(-0.01), ".intensity", RANGE),
    "intensity NaN": (happy(NAN), ".intensity", RANGE),
}

BAD_PARAMETERS: dict[str, tuple[dict[str, float], str, str]] = {
    "no steps": ({"steps": 0}, "[steps]", RANGE),
    "101 steps": ({"steps": 101}, "[steps]", RANGE),
    "half a step": ({"steps": 2.5}, "[steps]", "VALUE_INVALID"),
    "guidance NaN": ({"guidance": NAN}, "[guidance]", "VALUE_INVALID"),
    "guidance infinite": ({"guidance": INFINITY}, "[guidance]", "VALUE_INVALID"),
    "guidance negative": ({"guidance": -1}, "[guidance]", RANGE),
    "guidance 11": ({"guidance": 11}, "[guidance]", RANGE),
    "min_audio_ms over a minute": ({"min_audio_ms": 60_001}, "[min_audio_ms]", RANGE),
    "max_audio_ms under 100 ms": ({"max_audio_ms": 99}, "[max_audio_ms]", RANGE),
    "max_audio_ms over ten minutes": ({"max_audio_ms": 600_001}, "[max_audio_ms]", RANGE),
    "min_audio_ms over max_audio_ms": ({"min_audio_ms": 501, "max_audio_ms": 500}, "[min_audio_ms]", RANGE),
    "a name that no engine has": ({"warmth": 1}, "[warmth]", UNKNOWN),
    "too many": ({f"p{number}": 1 for number in range(65)}, "", RANGE),
    "a long name": ({"x" * 65: 1}, "", "TEXT_TOO_LONG"),
}


def said(**sounds: str) -> dict[str, Any]:
    return {"pronunciations": [speech_pb2.Pronunciation(**sounds)]}


BAD_SPEECH: dict[str, tuple[dict[str, Any], str, StatusCode, str]] = {
    "voice unknown": ({"voice": "nobody"}, ".voice", NOT_FOUND, "VOICE_NOT_FOUND"),
    "voice endless": ({"voice": "x" * 100_000}, ".voice", INVALID, "VALUE_INVALID"),
    "voice that is no name": ({"voice": "../etc"}, ".voice", INVALID, "VALUE_INVALID"),
    "language that is no code": ({"language": "in english"}, ".language", INVALID, "VALUE_INVALID"),
    "language too long": ({"language": "en" + "-abcdefgh" * 4}, ".language", INVALID, RANGE),
    "engine unknown": ({"engine": "nobody"}, ".engine", NOT_FOUND, "ENGINE_NOT_FOUND"),
    "engine endless": ({"engine": "x" * 100_000}, ".engine", NOT_FOUND, "ENGINE_NOT_FOUND"),
    "filler unknown": ({"filler": 9}, ".filler", INVALID, UNKNOWN),
    "text format unknown": ({"text_format": 9}, ".text_format", INVALID, UNKNOWN),
    "normalization unknown": ({"normalization": 3}, ".normalization", INVALID, UNKNOWN),
    "pronunciation without sounds": (said(word="Ada"), ".pronunciations[0]", INVALID, MISSING),
    "pronunciation without a word": (said(ipa="a"), ".pronunciations[0].word", INVALID, MISSING),
    "pronunciation of a long word": (
        said(word="x" * 65, ipa="a"),
        ".pronunciations[0].word",
        INVALID,
        "TEXT_TOO_LONG",
    ),
    "pronunciation that is blank": (said(word="Ada", ipa=" "), ".pronunciations[0].ipa", INVALID, MISSING),
    "pronunciation of no letter": (said(word="?!", ipa="a"), ".pronunciations[0].word", INVALID, "VALUE_INVALID"),
    "IPA that is none": (said(word="Ada", ipa="8a"), ".pronunciations[0].ipa", INVALID, "VALUE_INVALID"),
    "pinyin without a tone": (said(word="重", pinyin="zhonk4"), ".pronunciations[0].pinyin", INVALID, "VALUE_INVALID"),
    "long pronunciation": (
        said(word="Ada", spoken_as="x" * 129),
        ".pronunciations[0].spoken_as",
        INVALID,
        "TEXT_TOO_LONG",
    ),
    "pronunciation in no language": (
        said(word="Ada", ipa="a", language="?"),
        ".pronunciations[0].language",
        INVALID,
        "VALUE_INVALID",
    ),
    "too many pronunciations": (
        {"pronunciations": [speech_pb2.Pronunciation(word="a", ipa="a")] * 1001},
        ".pronunciations",
        INVALID,
        RANGE,
    ),
    "speed too low": ({"speed": 0.49}, ".speed", INVALID, RANGE),
    "speed too high": ({"speed": 2.01}, ".speed", INVALID, RANGE),
    "speed NaN": ({"speed": NAN}, ".speed", INVALID, RANGE),
    "volume too low": ({"volume_db": -60.1}, ".volume_db", INVALID, RANGE),
    "volume too high": ({"volume_db": 20.1}, ".volume_db", INVALID, RANGE),
    "seed negative": ({"seed": -1}, ".seed", INVALID, RANGE),
    "seed that JavaScript cannot hold": ({"seed": 2**53}, ".seed", INVALID, RANGE),
    "seed huge": ({"seed": 2**63 - 1}, ".seed", INVALID, RANGE),
}

BAD_CONFIG: dict[str, tuple[dict[str, Any], str, str]] = {
    "encoding unknown": ({"format": audio_pb2.AudioFormat(encoding=99)}, ".format.encoding", UNKNOWN),
    "rate unsupported": ({"format": audio_pb2.AudioFormat(sample_rate_hz=11_025)}, ".format.sample_rate_hz", RANGE),
    "rate zero": ({"format": audio_pb2.AudioFormat(sample_rate_hz=0)}, ".format.sample_rate_hz", RANGE),
    "rate negative": ({"format": audio_pb2.AudioFormat(sample_rate_hz=-1)}, ".format.sample_rate_hz", RANGE),
    "rate huge": ({"format": audio_pb2.AudioFormat(sample_rate_hz=2**31 - 1)}, ".format.sample_rate_hz", RANGE),
    "delivery unknown": ({"delivery": 3}, ".delivery", UNKNOWN),
    "service class unknown": ({"service_class": 3}, ".service_class", UNKNOWN),
    "timings unknown": ({"timings": 3}, ".timings", UNKNOWN),
    "lead too short": ({"max_lead_ms": 199}, ".max_lead_ms", RANGE),
    "lead zero": ({"max_lead_ms": 0}, ".max_lead_ms", RANGE),
    "lead too long": ({"max_lead_ms": 600_001}, ".max_lead_ms", RANGE),
    "chunks too short": ({"chunk_ms": 9}, ".chunk_ms", RANGE),
    "chunks too long": ({"chunk_ms": 1001}, ".chunk_ms", RANGE),
    "delay negative": ({"playback_delay_ms": -1}, ".playback_delay_ms", RANGE),
    "delay too long": ({"playback_delay_ms": 5001}, ".playback_delay_ms", RANGE),
    "too many labels": ({"labels": {f"k{number}": "" for number in range(17)}}, ".labels", RANGE),
    "label without a name": ({"labels": {"": "x"}}, ".labels", MISSING),
    "label with a long name": ({"labels": {"x" * 65: ""}}, ".labels", "TEXT_TOO_LONG"),
    "label with a long value": ({"labels": {"call": "x" * 257}}, ".labels[call]", "TEXT_TOO_LONG"),
}


def bad_speech_settings() -> Iterator[tuple[str, dict[str, Any], str, StatusCode, str]]:
    """Name, settings, path, code and reason of each case."""
    for name, (settings, path, code, reason) in BAD_SPEECH.items():
        yield name, settings, path, code, reason
    for name, (emotion, path, reason) in BAD_EMOTIONS.items():
        code = NOT_FOUND if reason == "CLIP_NOT_FOUND" else INVALID
        yield f"emotion: {name}", {"emotion": emotion}, f".emotion{path}", code, reason
    for name, (parameters, path, reason) in BAD_PARAMETERS.items():
        yield f"parameters: {name}", {"engine_parameters": parameters}, f".engine_parameters{path}", INVALID, reason


def bad_configs() -> Iterator[Any]:
    """Fields of a config, path, code and reason of each case."""
    for name, (fields, path, reason) in BAD_CONFIG.items():
        yield pytest.param(fields, f"config{path}", INVALID, reason, id=name)
    for name, settings, path, code, reason in bad_speech_settings():
        fields = {"defaults": speech_pb2.SpeechSettings(**settings)}
        yield pytest.param(fields, f"config.defaults{path}", code, reason, id=name)


@pytest.mark.parametrize(("fields", "path", "code", "reason"), [*bad_configs()])
def test_a_bad_config_ends_the_call(run, fields, path, code, reason):
    async def main() -> None:
        config = speech_pb2.StreamConfig(**fields)
        async with live(engine()) as server:
            talk = server.open()
            await talk.send(config=config)
            answers, error = await talk.answers_and_failure()
            assert [kind for kind, _ in answers] == ["closed"]
            request = speech_pb2.SynthesizeRequest(text="Hello.", config=config)
            for status in (status_of(error), status_of(await failed(server.speech.Synthesize(request)))):
                assert code_and_field(status) == (code, path) and reason_of(status) == reason
            await (await server.talk()).prove_alive()

    run(main())


def test_bad_settings_of_an_utterance_end_only_that(run):
    """All cases on one stream, which goes on."""

    async def main() -> None:
        async with live(engine()) as server:
            talk = await server.talk()
            for name, settings, path, code, reason in bad_speech_settings():
                await talk.start(name, **settings)
                await talk.say(name, "Hello.")
                answers = await talk.until("notice", name)
                done = answers[0][1]
                assert (done.utterance_id, done.reason) == (name, speech_pb2.DONE_REASON_REJECTED), name
                assert code_and_field(done.error) == (code, f"start.settings{path}"), name
                assert reason_of(done.error) == reason, name
                assert codes_of(answers) == ["UTTERANCE_ENDED"] and not chunks(answers)
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text_timeout_ms": 99}, "text_timeout_ms"),
        ({"text_timeout_ms": 600_001}, "text_timeout_ms"),
        ({"cover_after_ms": 49}, "cover_after_ms"),
        ({"cover_after_ms": 60_001}, "cover_after_ms"),
    ],
)
def test_bad_times_of_an_utterance(run, fields, field):
    async def main() -> None:
        async with live() as server:
            talk = await server.talk()
            await talk.start("u", **fields)
            ((_, done),) = await talk.until("done")
            assert code_and_field(done.error) == (INVALID, f"start.{field}") and reason_of(done.error) == RANGE
            assert done.reason == speech_pb2.DONE_REASON_REJECTED and set(values_of(done.error)) == {"low", "high"}
            await talk.prove_alive()

    run(main())


def test_the_operator_bounds_the_work_that_a_caller_asks_for(run):
    async def main() -> None:
        engine = ScriptedEngine(info=info(parameters=PARAMETERS))
        async with live(engine, max_steps=12, max_min_audio_ms=500) as server:
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            highest = {one.name: one.max_value for one in told.engines[0].parameters}
            assert highest["steps"] == 12 and highest["min_audio_ms"] == 500
            talk = await server.talk()
            for name, value, high in (("steps", 13, "12"), ("min_audio_ms", 501, "500")):
                await talk.start(name, engine_parameters={name: value})
                done = (await talk.until("done"))[-1][1]
                assert code_and_field(done.error)[1] == f"start.settings.engine_parameters[{name}]"
                assert values_of(done.error)["high"] == high
            await talk.start("u", engine_parameters={"steps": 12, "min_audio_ms": 500})
            await talk.say("u", "Hello.")
            assert (await talk.until("done", "u"))[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED

    run(main())


def test_units_with_parameters_of_their_own_do_not_change_the_forecast_for_others(run):
    async def main() -> None:
        async with live(ScriptedEngine(info=info(parameters=PARAMETERS))) as server:
            talk = await server.talk()
            await talk.start("u", engine_parameters={"steps": 50})
            await talk.say("u", "Hello.")
            await talk.until("done", "u")
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert not told.engines[0].HasField("predicted_ttfa_ms")
            await talk.prove_alive()
            told = await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert told.engines[0].HasField("predicted_ttfa_ms")

    run(main())
