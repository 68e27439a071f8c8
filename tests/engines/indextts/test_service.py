"""IndexTTS in the real server beside VoxCPM: routing, voices, figures and errors."""

from typing import Any

import grpc
import numpy as np
import pytest

from intone.proto import emotion_pb2, speech_pb2, voice_pb2
from intone.server.app import serving
from intone.server.audio.encoding import Resampler
from intone.server.audio.recordings import read_recording
from intone.server.config import Config
from intone.server.conversation.unit_synthesis import unit_seed
from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from tests.support.indextts_units import CLOSE, finish, recording, sound_file
from tests.support.live_server import F32, Live, Talk, chunks, codes_of, messages_of, samples
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of

TEXT = "Words to say."
ANGRY = emotion_pb2.Emotion(label="angry")
INDEXTTS_STAGES = {"gpt_gen_time", "s2mel_time", "bigvgan_time"}
STEPS, SEED = 2, 5
VOXCPM_STAGES = {"prefill", "lm", "diffusion", "vae"}


def engines() -> dict[str, Any]:
    """Untrained and small, both."""
    return {"voxcpm": lambda: VoxCPMEngine.random("nano"), "indextts": lambda: IndexTTSEngine.random("nano")}


async def make_voice(server: Live, name: str = "anna", seconds: float = 1.5) -> Any:
    async def upload() -> Any:
        yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name=name, transcript="Some words."))
        yield voice_pb2.CreateVoiceRequest(audio=sound_file(recording(seconds)))

    return await server.voices.CreateVoice(upload())


def engine_notices(made: Any) -> list[Any]:
    """What the engines said about a new voice. Its recording, noise, has notices of its own."""
    return [notice for notice in made.notices if notice.engine]


async def speak(talk: Talk, name: str, **settings: Any) -> list[tuple[str, Any]]:
    await talk.start(name, engine_parameters={"steps": STEPS}, seed=SEED, **settings)
    await talk.say(name, TEXT)
    return await talk.until("done", name)


def of_anna(**config: Any) -> dict[str, Any]:
    """A config whose voice is anna."""
    return {"defaults": speech_pb2.SpeechSettings(voice="anna"), **config}


def as_received(seconds: float) -> Recording:
    """The recording as the server reads it from the file: amplified, its end faded."""
    return read_recording(sound_file(recording(seconds)), "Some words.", min_ms=500, max_ms=60_000)


def whole_unit() -> Any:
    """The whole unit from the engine itself, at the stream's rate: `[T]`."""
    engine = IndexTTSEngine.random("nano")
    voice = complete(engine.prepare_voice(as_received(1.5)))
    options = SynthesisOptions(parameters={"steps": STEPS})
    request = SpeakRequest(TEXT, seed=unit_seed(SEED, 0), voice=voice, options=options, whole=True)
    steps = finish(engine, engine.start(request))
    whole = np.concatenate([step.pcm for step in steps if step.pcm is not None])
    return Resampler(engine.info.sample_rate_hz, F32.sample_rate_hz).push(whole, last=True)


def check(
    answers: list[tuple[str, Any]],
    engine: str,
    reason: int,
    stages: set[str],
    voice: str = "anna",
    diagnostics: bool = False,
) -> None:
    """An utterance was spoken whole by that engine, for that reason, with that voice, and its time is accounted for."""
    (started,) = messages_of(answers, "started")
    assert (started.route.engine, started.route.reason, started.voice) == (engine, reason, voice)
    assert not messages_of(answers, "rerouted") and chunks(answers)
    done = answers[-1][1]
    assert done.reason == speech_pb2.DONE_REASON_COMPLETED
    assert set(done.latency.stage_ms) == stages and all(took_ms > 0 for took_ms in done.latency.stage_ms.values())
    stepped = [set(chunk.stage_ms) for chunk in chunks(answers) if chunk.stage_ms]
    assert set().union(*stepped) == (stages if diagnostics else set())
    assert done.sample_count == len(samples(answers))
    usage = done.usage
    assert usage.speech_ms + usage.pause_ms == pytest.approx(1000 * done.sample_count / F32.sample_rate_hz, abs=1)
    assert usage.speech_ms > 500 and done.latency.ttfa_ms > 0
    assert samples(answers).std() > 0.005
    assert "VOICE_SUBSTITUTED" not in codes_of(answers)


def test_strong_emotion_is_routed_to_indextts_with_the_same_voice(run: Any) -> None:
    async def main() -> None:
        config = Config(port=0, default_engine="voxcpm", emotion_threshold=0.5)
        async with (
            serving(config, engines=engines()) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            made = await make_voice(server)
            assert sorted(one.engine for one in made.voice.engines) == ["indextts", "voxcpm"]
            assert not engine_notices(made)
            talk = await server.talk(**of_anna(diagnostics=True))
            plain = await speak(talk, "plain")
            check(plain, "voxcpm", speech_pb2.ROUTE_REASON_PLAIN, VOXCPM_STAGES, diagnostics=True)
            angry = await speak(talk, "angry", emotion=ANGRY)
            check(angry, "indextts", speech_pb2.ROUTE_REASON_STRONG_EMOTION, INDEXTTS_STAGES, diagnostics=True)
            (started,) = messages_of(angry, "started")
            assert started.emotion.weights == emotion_pb2.EmotionWeights(angry=1)
            assert "EMOTION_NOT_VOICED" not in codes_of(angry)
            weak = await speak(talk, "weak", emotion=emotion_pb2.Emotion(label="angry", intensity=0.3))
            check(weak, "voxcpm", speech_pb2.ROUTE_REASON_PLAIN, VOXCPM_STAGES, diagnostics=True)
            again = await speak(talk, "again", emotion=ANGRY)
            assert np.array_equal(samples(again, "again"), samples(angry, "angry"))
            upload = voice_pb2.UploadEmotionClipRequest(audio=sound_file(recording(1.0, seed=3)))
            clip = emotion_pb2.Emotion(clip_id=(await server.voices.UploadEmotionClip(upload)).clip_id)
            followed = await speak(talk, "clip", emotion=clip)
            check(followed, "indextts", speech_pb2.ROUTE_REASON_STRONG_EMOTION, INDEXTTS_STAGES, diagnostics=True)
            assert not np.array_equal(samples(followed), samples(angry))
            await talk.half_close()
            assert [kind for kind, _ in await talk.rest()] == ["closed"]

    run(main(), timeout_s=120.0)


def test_buffered_audio_is_the_whole_unit_and_an_interrupt_leaves_nothing(run: Any) -> None:
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
                talk = await server.talk(**of_anna(delivery=delivery))
                sounds[delivery] = samples(await speak(talk, "one"))
                await talk.half_close()
            streamed, buffered = sounds.values()
            assert streamed.shape == buffered.shape and streamed.std() > 0.005
            assert np.abs(buffered - whole_unit()).max() <= CLOSE
            talk = await server.talk(**of_anna())
            await talk.start("long", engine_parameters={"steps": STEPS}, seed=SEED)
            await talk.say("long", 8 * "Many words to say and to stop. ")
            await talk.until("audio", "long")
            await talk.interrupt("long")
            answers = await talk.until("interrupted")
            (cut,) = answers[-1][1].cuts
            assert cut.utterance_id == "long" and cut.unheard_text
            check(await speak(talk, "after"), "indextts", speech_pb2.ROUTE_REASON_PLAIN, INDEXTTS_STAGES)
            await talk.half_close()
            await talk.rest()
            assert server.jobs == 0

    run(main(), timeout_s=120.0)


def test_a_long_recording_gives_a_notice(run: Any) -> None:
    async def main() -> None:
        async with (
            serving(Config(port=0), engines={"indextts": engines()["indextts"]}) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            assert not engine_notices(await make_voice(server, "short", 15.0))
            made = await make_voice(server, "long", 16.5)
            [notice] = engine_notices(made)
            assert (notice.code, notice.engine) == (voice_pb2.VOICE_NOTICE_CODE_RECORDING_CUT, "indextts")
            assert notice.message == "of 16500 ms the first 15 s are used"
            assert [one.engine for one in made.voice.engines] == ["indextts"] and made.voice.recording_ms == 16500

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
            talk = await server.talk(**of_anna())
            upload = voice_pb2.UploadEmotionClipRequest(audio=b"RIFF....WAVE and nothing")
            status = status_of(await failed(server.voices.UploadEmotionClip(upload)))
            assert code_and_field(status) == (grpc.StatusCode.INVALID_ARGUMENT, "audio")
            assert reason_of(status) == "RECORDING_INVALID"
            await talk.start("clip", emotion=emotion_pb2.Emotion(clip_id="0" * 64))
            done = (await talk.until("done", "clip"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_REJECTED
            assert code_and_field(done.error) == (grpc.StatusCode.NOT_FOUND, "start.settings.emotion.clip_id")
            assert reason_of(done.error) == "CLIP_NOT_FOUND"
            await talk.say("long", "a" * 900)
            done = (await talk.until("done", "long"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_FAILED and "expected at most 600" in done.error.message
            assert code_and_field(done.error)[1] == "text.delta" and reason_of(done.error) == "TEXT_TOO_LONG"
            await talk.half_close()
            await talk.rest()

    run(main(), timeout_s=120.0)


def test_without_a_voice_another_engine_speaks_with_a_notice(run: Any) -> None:
    """The built-in voice is not a recording, so IndexTTS cannot use it."""

    async def main() -> None:
        async with (
            serving(Config(port=0, default_engine="voxcpm"), engines=engines()) as app,
            grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
        ):
            server = Live(app, channel, None)  # type: ignore[arg-type]
            talk = await server.talk()
            answers = await speak(talk, "angry", emotion=ANGRY)
            engines_named = [message.route.engine for kind, message in answers if kind in ("started", "rerouted")]
            assert engines_named[-1] == "voxcpm" and chunks(answers)
            assert "ENGINE_SUBSTITUTED" in codes_of(answers)
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED
            await talk.half_close()
            await talk.rest()

    run(main(), timeout_s=120.0)
