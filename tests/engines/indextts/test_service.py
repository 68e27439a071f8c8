"""IndexTTS in the real server beside VoxCPM: routing, voices, reports and errors."""

from typing import Any

import grpc
import numpy as np
import pytest

from intone.proto import emotion_pb2, speech_pb2, voice_pb2
from intone.server.app import serving
from intone.server.audio.encoding import Resampler
from intone.server.config import Config
from intone.server.conversation.unit_synthesis import unit_seed
from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from tests.support.indextts_units import CLOSE, finish, recording, sound_file
from tests.support.live_server import F32, Live, Talk, chunks, code_and_field, samples

TEXT = "Words to say."
ANGRY = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_ANGRY)
INDEXTTS_STAGES = {"gpt_gen_time", "s2mel_time", "bigvgan_time"}
OPTIONS = speech_pb2.SynthesisOptions(steps=2, seed=5)


def engines() -> dict[str, Any]:
    """Untrained and small, both."""
    return {"voxcpm": lambda: VoxCPMEngine.random("nano"), "indextts": lambda: IndexTTSEngine.random("nano")}


async def make_voice(server: Live, name: str = "anna", seconds: float = 1.5) -> Any:
    async def upload() -> Any:
        yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name=name, transcript="Some words."))
        yield voice_pb2.CreateVoiceRequest(audio=sound_file(recording(seconds)))

    return await server.voices.CreateVoice(upload())


async def speak(talk: Talk, name: str, **settings: Any) -> list[tuple[str, Any]]:
    await talk.say(name, TEXT, options=OPTIONS, **settings)
    return await talk.until("done", name)


def whole_unit() -> Any:
    """The whole unit from the engine itself, at the stream's rate: `[T]`."""
    engine = IndexTTSEngine.random("nano")
    voice = engine.prepare_voice(recording(1.5))
    options = SynthesisOptions(steps=OPTIONS.steps)
    request = SpeakRequest(TEXT, seed=unit_seed(OPTIONS.seed, 0), voice=voice, options=options, whole=True)
    steps = finish(engine, engine.start(request))
    whole = np.concatenate([step.pcm for step in steps if step.pcm is not None])
    return Resampler(engine.info.sample_rate_hz, F32.sample_rate_hz).push(whole, last=True)


def warned(answers: list[tuple[str, Any]]) -> set[int]:
    return {message.code for kind, message in answers if kind == "warning"}


def check(answers: list[tuple[str, Any]], engine: str, reason: int, stages: set[str], voice: str = "anna") -> None:
    """An utterance was spoken whole by that engine, for that reason, with that voice, and its time is accounted for."""
    started = next(message for kind, message in answers if kind == "started")
    assert (started.engine, started.route_reason, started.voice) == (engine, reason, voice)
    assert {chunk.engine for chunk in chunks(answers)} == {engine}
    done = answers[-1][1]
    assert done.reason == speech_pb2.DONE_REASON_COMPLETED
    assert set(done.report.stage_ms) == stages and all(took_ms > 0 for took_ms in done.report.stage_ms.values())
    assert done.report.audio_ms == pytest.approx(1000 * len(samples(answers)) / F32.sample_rate_hz, abs=1)
    assert done.report.audio_ms > 500 and done.report.ttfa_ms > 0
    assert samples(answers).std() > 0.005
    assert speech_pb2.WARNING_CODE_VOICE_SUBSTITUTED not in warned(answers)


def test_strong_emotion_is_routed_to_indextts_with_the_same_voice(run: Any) -> None:
    async def main() -> None:
        config = Config(port=0, default_engine="voxcpm", emotion_threshold=0.5)
        async with (
            serving(config, engines=engines()) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            made = await make_voice(server)
            assert sorted(made.voice.engines) == ["indextts", "voxcpm"] and not made.warnings
            talk = await server.talk(voice="anna")
            plain = await speak(talk, "plain")
            check(plain, "voxcpm", speech_pb2.ROUTE_REASON_PLAIN, {"prefill", "lm", "diffusion", "vae"})
            angry = await speak(talk, "angry", emotion=ANGRY)
            check(angry, "indextts", speech_pb2.ROUTE_REASON_STRONG_EMOTION, INDEXTTS_STAGES)
            started = next(message for kind, message in angry if kind == "started")
            assert list(started.emotion.weights) == [0, 1, 0, 0, 0, 0, 0, 0]
            assert speech_pb2.WARNING_CODE_EMOTION_NOT_VOICED not in warned(angry)
            weak = emotion_pb2.Emotion(label=emotion_pb2.EMOTION_LABEL_ANGRY, intensity=0.3)
            check(
                await speak(talk, "weak", emotion=weak),
                "voxcpm",
                speech_pb2.ROUTE_REASON_PLAIN,
                {"prefill", "lm", "diffusion", "vae"},
            )
            again = await speak(talk, "again", emotion=ANGRY)
            assert np.array_equal(samples(again, "again"), samples(angry, "angry"))
            clip = emotion_pb2.Emotion(clip=emotion_pb2.ReferenceClip(audio=sound_file(recording(1.0, seed=3))))
            check(
                await speak(talk, "clip", emotion=clip),
                "indextts",
                speech_pb2.ROUTE_REASON_STRONG_EMOTION,
                INDEXTTS_STAGES,
            )
            await talk.end()
            assert await talk.rest() == []

    run(main(), timeout_s=120.0)


def test_buffered_audio_is_the_whole_unit_and_cancelling_leaves_nothing(run: Any) -> None:
    async def main() -> None:
        async with (
            serving(
                Config(port=0, fillers=False, match_loudness=False),
                engines={"indextts": lambda: IndexTTSEngine.random("nano")},
            ) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            await make_voice(server)
            sounds = {}
            for delivery in (speech_pb2.DELIVERY_STREAMED, speech_pb2.DELIVERY_BUFFERED):
                talk = await server.talk(voice="anna", delivery=delivery)
                sounds[delivery] = samples(await speak(talk, "one"))
                await talk.end()
            streamed, buffered = sounds.values()
            assert streamed.shape == buffered.shape and streamed.std() > 0.005
            assert np.abs(buffered - whole_unit()).max() <= CLOSE
            talk = await server.talk(voice="anna")
            await talk.say("long", 8 * "Many words to say and to stop. ", options=OPTIONS)
            await talk.until("audio", "long")
            await talk.cancel("long")
            answers = await talk.until("interrupted", "long")
            assert answers[-1][1].unheard_text
            check(await speak(talk, "after"), "indextts", speech_pb2.ROUTE_REASON_PLAIN, INDEXTTS_STAGES)
            await talk.end()
            await talk.rest()
            assert server.jobs == 0

    run(main(), timeout_s=120.0)


def test_a_long_recording_gives_a_warning(run: Any) -> None:
    async def main() -> None:
        async with (
            serving(Config(port=0), engines={"indextts": engines()["indextts"]}) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            assert not (await make_voice(server, "short", 15.0)).warnings
            made = await make_voice(server, "long", 16.5)
            assert list(made.warnings) == ["indextts: of 16500 ms the first 15 s are used"]
            assert list(made.voice.engines) == ["indextts"] and made.voice.recording_ms == 16500

    run(main(), timeout_s=120.0)


def test_errors_name_the_wire_field(run: Any) -> None:
    """A clip that is not audio, and a text with too many tokens."""

    async def main() -> None:
        async with (
            serving(Config(port=0, max_unit_characters=2000), engines={"indextts": engines()["indextts"]}) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            await make_voice(server)
            talk = await server.talk(voice="anna")
            clip = emotion_pb2.ReferenceClip(audio=b"RIFF....WAVE and nothing")
            answers = await speak(talk, "clip", emotion=emotion_pb2.Emotion(clip=clip))
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_FAILED
            assert code_and_field(answers[-1][1].error)[1] == "text.emotion.clip.audio"
            await talk.say("long", "a" * 900, options=OPTIONS)
            done = (await talk.until("done", "long"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_FAILED and "expected at most 600" in done.error.message
            await talk.end()
            await talk.rest()

    run(main(), timeout_s=120.0)


def test_without_a_voice_another_engine_speaks_with_a_warning(run: Any) -> None:
    """The built-in voice is not a recording, so IndexTTS cannot use it."""

    async def main() -> None:
        async with (
            serving(Config(port=0, default_engine="voxcpm"), engines=engines()) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            talk = await server.talk()
            answers = await speak(talk, "angry", emotion=ANGRY)
            assert {chunk.engine for chunk in chunks(answers)} == {"voxcpm"}
            assert speech_pb2.WARNING_CODE_ENGINE_SUBSTITUTED in warned(answers)
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED
            await talk.end()
            await talk.rest()

    run(main(), timeout_s=120.0)
