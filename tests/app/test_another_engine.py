"""An engine that is added by a folder and an entry in the registry is served like those of the package."""

import contextlib

import grpc
import numpy as np
import pytest

from intone.proto import audio_pb2, emotion_pb2, speech_pb2, speech_pb2_grpc
from intone.server import command_line
from intone.server.app import serving
from intone.server.engines.registry import ENGINES
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of
from tests.support.tone_engine.engine import RATE_HZ, SAMPLES_PER_CHARACTER
from tests.support.tone_engine.entry import ENTRY as TONE

REGISTRY = {**ENGINES, TONE.name: TONE}
F32 = audio_pb2.AudioFormat(encoding=audio_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hz=RATE_HZ)
QUICK = ["--port", "0", "--no-starter", "--threads", "1", "--no-fillers", "--no-match-loudness", "--pause-scale", "0"]
ANGRY = emotion_pb2.Emotion(label="angry", intensity=0.9)


@contextlib.asynccontextmanager
async def server(*flags):
    """The stub of a server that was started with these flags."""
    async with (
        serving(command_line.load([*QUICK, *flags], REGISTRY)) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        yield speech_pb2_grpc.SpeechServiceStub(channel)


async def speak(stub, text, **settings):
    """`started` and the audio of one text. `[T]`"""
    config_of = speech_pb2.StreamConfig(format=F32, defaults=speech_pb2.SpeechSettings(**settings))
    request = speech_pb2.SynthesizeRequest(text=text, config=config_of)
    answers = [answer async for answer in stub.Synthesize(request)]
    (started,) = [answer.started for answer in answers if answer.HasField("started")]
    return started, np.frombuffer(b"".join(answer.audio.data for answer in answers), "<f4")


def test_it_has_flags_of_its_own(capsys):
    with pytest.raises(SystemExit):
        command_line.load(["--help"], REGISTRY)
    shown = capsys.readouterr().out
    assert "--tone-hz" in shown and "frequency of its voice" in shown


def test_it_is_loaded_by_its_setting_and_speaks(run):
    async def main():
        async with server("--tone", "--tone-hz", "500", "--default-engine", "tone") as stub:
            told = await stub.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert [(engine.name, engine.model) for engine in told.engines] == [("tone", "sine of 500 Hz")]
            started, audio = await speak(stub, "Hello there.", engine="tone")
            assert (started.route.engine, started.route.reason) == ("tone", speech_pb2.ROUTE_REASON_PREFERENCE)
            assert len(audio) == SAMPLES_PER_CHARACTER * len("Hello there.")
            loudest_hz = np.argmax(np.abs(np.fft.rfft(audio))) * RATE_HZ / len(audio)
            assert abs(loudest_hz - 500) < 5
            assert (await speak(stub, "Hello there."))[0].route.engine == "tone"

    run(main())


def test_it_is_chosen_by_what_it_can_do(run):
    """Plain speech goes to the first engine, strong emotion to the one that voices it."""

    async def main():
        async with server("--tone", "--voxcpm", "nano", "--random-weights") as stub:
            plain, _ = await speak(stub, "Hello.", engine_parameters={"max_audio_ms": 200})
            angry, audio = await speak(stub, "Hello.", emotion=ANGRY)
            assert (plain.route.engine, plain.route.reason) == ("voxcpm", speech_pb2.ROUTE_REASON_PLAIN)
            assert (angry.route.engine, angry.route.reason) == ("tone", speech_pb2.ROUTE_REASON_STRONG_EMOTION)
            assert np.abs(audio).max() > 0.6

    run(main())


def test_an_engine_that_is_not_loaded_is_refused(run):
    async def main():
        async with server("--tone", "--default-engine", "tone") as stub:
            config_of = speech_pb2.StreamConfig(defaults=speech_pb2.SpeechSettings(engine="indextts"))
            request = speech_pb2.SynthesizeRequest(text="Hello.", config=config_of)
            error = await failed(stub.Synthesize(request))
            assert code_and_field(status_of(error)) == (grpc.StatusCode.NOT_FOUND, "config.defaults.engine")
            assert reason_of(status_of(error)) == "ENGINE_NOT_FOUND"
            said = "config.defaults.engine: there is no engine named 'indextts'; the loaded engines are tone"
            assert status_of(error).message == said

    run(main())
