"""Settings of the stream and of utterances over real gRPC: what each does, and which level counts."""

import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2, voice_pb2
from intone.server.domain import EngineParameter, SpeakRequest
from tests.support.fakes import Script, ScriptedEngine, ScriptedState, audio_of, info
from tests.support.live_server import F32, GatedEngine, chunks, codes_of, kind_and_message, live, messages_of, samples
from tests.support.rpc_status import code_and_field, code_of, reason_of
from tests.support.voice_server import recording, upload

FILLER, SPEECH, SILENCE = speech_pb2.AUDIO_KIND_FILLER, speech_pb2.AUDIO_KIND_SPEECH, speech_pb2.AUDIO_KIND_SILENCE
PARAMETERS = (
    EngineParameter("steps", "steps of diffusion", 1, 100, 10, integer=True),
    EngineParameter("guidance", "strength of guidance", 0.0, 10.0),
)


class RecordingEngine(ScriptedEngine):
    """Keeps what it was asked for."""

    def start(self, request: SpeakRequest) -> ScriptedState:
        self.asked = [*getattr(self, "asked", []), request]
        return super().start(request)


def recording_engine(**changes):
    return RecordingEngine(info=info(changes_speed=True, voices_emotion=True, parameters=PARAMETERS, **changes))


def speech(**settings):
    return speech_pb2.SpeechSettings(**settings)


def test_settings_of_an_utterance_count_before_those_of_the_stream(run):
    engine = recording_engine()

    async def main():
        async with live(engine) as server:
            talk = await server.talk(
                defaults=speech(speed=1.5, seed=7, engine_parameters={"steps": 4, "guidance": 2.0}, engine="starter")
            )
            await talk.say("stream", "Hello.")
            await talk.start("own", speed=0.75, engine_parameters={"steps": 9}, seed=8)
            await talk.say("own", "Hello.")
            return await talk.until("done", "own")

    answers = run(main())
    first, second = engine.asked
    assert (first.options.speed, dict(first.options.parameters)) == (1.5, {"steps": 4, "guidance": 2.0})
    assert (second.options.speed, dict(second.options.parameters)) == (0.75, {"steps": 9, "guidance": 2.0})
    assert [started.seed for started in messages_of(answers, "started")] == [7, 8]
    assert {started.route.reason for started in messages_of(answers, "started")} == {speech_pb2.ROUTE_REASON_PREFERENCE}


def test_emotion_of_the_utterance_counts_before_that_of_the_stream_and_that_before_a_tag(run):
    async def main():
        async with live(recording_engine()) as server:
            talk = await server.talk(defaults=speech(emotion=emotion_pb2.Emotion(label="sad")))
            await talk.start("own", emotion=emotion_pb2.Emotion(label="angry"))
            await talk.say("own", "[happy] Hello.")
            await talk.say("stream", "[happy] Hello.")
            answers = await talk.until("done", "stream")
            other = await server.talk()
            await other.say("tag", "[happy] Hello.")
            return answers + await other.until("done")

    found = [message.emotion for message in messages_of(run(main()), "started")]
    assert [(emotion.source, emotion.weights) for emotion in found] == [
        (speech_pb2.EMOTION_SOURCE_UTTERANCE, emotion_pb2.EmotionWeights(angry=1)),
        (speech_pb2.EMOTION_SOURCE_STREAM, emotion_pb2.EmotionWeights(sad=1)),
        (speech_pb2.EMOTION_SOURCE_TAG, emotion_pb2.EmotionWeights(happy=1)),
    ]


def test_voices_of_utterances(run):
    async def main():
        async with live() as server:
            await server.voices.CreateVoice(upload(recording(), name="anna"))
            await server.voices.CreateVoice(upload(recording(), name="zoe"))
            talk = await server.talk(defaults=speech(voice="anna"))
            await talk.say("stream", "Hello.")
            await talk.start("own", voice="zoe")
            await talk.say("own", "Hello.")
            await talk.start("built in", voice="default")
            await talk.say("built in", "Hello.")
            answers = await talk.until("done", "built in")
            assert [started.voice for started in messages_of(answers, "started")] == ["anna", "zoe", "default"]

    run(main())


def test_a_voice_that_the_only_engine_cannot_speak_with(run):
    async def main():
        async with live(ScriptedEngine(Script(needs_voice=True))) as server:
            talk = await server.talk()
            await talk.start("u", voice="default")
            await talk.say("u", "Hello.")
            answers = await talk.until("done")
            done = answers[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_FAILED and not chunks(answers)
            assert code_of(done.error) is StatusCode.FAILED_PRECONDITION
            assert reason_of(done.error) == "VOICE_UNSUPPORTED" and codes_of(answers) == ["TEXT_NOT_SPOKEN"]
            await server.voices.CreateVoice(upload(recording(), name="anna"))
            await talk.start("v", voice="anna")
            await talk.say("v", "Hello.")
            assert (await talk.until("done"))[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED

    run(main())


@pytest.mark.parametrize("level", ["stream", "utterance"])
@pytest.mark.parametrize("volume_db", [-6.0, 0.0, 12.0])
def test_volume(run, level, volume_db):
    async def main():
        async with live() as server:
            talk = await server.talk(**({"defaults": speech(volume_db=volume_db)} if level == "stream" else {}))
            await talk.start("u", **({} if level == "stream" else {"volume_db": volume_db}))
            await talk.say("u", "Hello.")
            return samples(await talk.until("done"))

    expected = audio_of("Hello.") * np.float32(10 ** (volume_db / 20))
    assert np.abs(run(main()) - expected).max() <= 1e-6


def test_volume_that_is_too_high_clips_integers_only(run):
    async def main():
        async with live() as server:
            talk = await server.talk(format=None, defaults=speech(volume_db=20.0))
            await talk.say("u", "zzzz")
            data = b"".join(chunk.data for chunk in chunks(await talk.until("done")))
            return np.frombuffer(data, "<i2")

    assert set(run(main()).tolist()) == {32767}


def test_the_language_of_an_utterance_decides_how_numbers_are_read(run):
    engine = ScriptedEngine()

    async def main():
        async with live(engine) as server:
            talk = await server.talk(defaults=speech(language="zh-CN"))
            await talk.say("stream", "5!")
            await talk.start("own", language="en")
            await talk.say("own", "5!")
            await talk.until("done", "own")

    run(main())
    assert list(dict.fromkeys(text for batch in engine.stepped for text in batch)) == ["五!", "five!"]


def test_an_engine_that_does_not_speak_the_language_says_so(run):
    async def main():
        async with live(ScriptedEngine(info=info(languages=("en",)))) as server:
            talk = await server.talk()
            await talk.start("u", language="de")
            await talk.say("u", "Hallo.")
            assert codes_of(await talk.until("done")) == ["TEXT_NOT_SPOKEN"]

    run(main())


def test_an_emotion_clip_is_used_by_its_id(run):
    engine = recording_engine()

    async def main():
        async with live(engine) as server:
            clip = voice_pb2.UploadEmotionClipRequest(audio=recording(1500))
            made = await server.voices.UploadEmotionClip(clip)
            talk = await server.talk()
            await talk.start("u", emotion=emotion_pb2.Emotion(clip_id=made.clip_id, intensity=0.75))
            await talk.say("u", "Hello.")
            await talk.until("done")
            await talk.start("v", emotion=emotion_pb2.Emotion(clip_id=made.clip_id[::-1]))
            done = (await talk.until("done"))[-1][1]
            assert code_and_field(done.error) == (StatusCode.NOT_FOUND, "start.settings.emotion.clip_id")

    run(main())
    (asked,) = engine.asked
    assert asked.emotion.clip.startswith(b"fLaC")  # as the server has decoded it
    assert asked.emotion.intensity == 0.75


# ---- fillers --------------------------------------------------------------------------------------------------------


async def with_filler(server):
    """Give the built-in voice a filler of 400 ms."""
    clip = voice_pb2.FillerClip(text="Hm!", language="en", audio=recording(400))
    await server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="default", clips=[clip]))


def kinds_of_audio(answers):
    return list(dict.fromkeys(chunk.kind for chunk in chunks(answers)))


SLOW = Script(first_s=0.8)


@pytest.mark.parametrize(
    ("of_stream", "own", "filled"),
    [
        (None, None, True),
        (speech_pb2.FILLER_POLICY_OFF, None, False),
        (speech_pb2.FILLER_POLICY_OFF, speech_pb2.FILLER_POLICY_AUTO, True),
        (None, speech_pb2.FILLER_POLICY_OFF, False),
    ],
)
def test_a_filler_covers_a_long_wait_where_it_is_wanted(run, of_stream, own, filled):
    async def main():
        async with live(ScriptedEngine(SLOW)) as server:
            await with_filler(server)
            talk = await server.talk(**({} if of_stream is None else {"defaults": speech(filler=of_stream)}))
            await talk.start("u", **({} if own is None else {"filler": own}))
            await talk.say("u", "Hello.")
            return await talk.until("done")

    answers = run(main())
    done = answers[-1][1]
    assert kinds_of_audio(answers) == ([FILLER, SILENCE, SPEECH] if filled else [SPEECH])
    texts = [chunk.filler_text for chunk in chunks(answers) if chunk.filler_text]
    assert texts == (["Hm!"] if filled else []) and done.usage.filler_count == len(texts)
    assert (done.usage.filler_ms > 100) == done.latency.HasField("filler_ttfa_ms") == filled
    assert done.usage.speech_ms == 300 and done.latency.ttfa_ms > 800
    total_ms = done.usage.speech_ms + done.usage.filler_ms + done.usage.pause_ms
    assert abs(total_ms - done.sample_count / 16) <= 2
    if filled:
        assert chunks(answers)[0].filler_text == "Hm!"
        assert [chunk.filler_text for chunk in chunks(answers)[1:] if chunk.filler_text] == []


def test_a_filler_covers_the_wait_for_late_text_where_it_is_asked_for(run):
    async def main():
        async with live() as server:
            await with_filler(server)
            talk = await server.talk()
            await talk.start("u", cover_after_ms=200)
            answers = await talk.until("audio")
            assert answers[-1][1].filler_text == "Hm!"
            await talk.say("u", "The answer.")
            answers += await talk.until("done")
            await talk.start("silent")
            await talk.flush("f")  # answered at once: nothing is played for it
            await talk.say("silent", "Hello.")
            return answers, await talk.until("done", "silent")

    answers, silent = run(main())
    assert kinds_of_audio(answers)[0] == FILLER and kinds_of_audio(answers)[-1] == SPEECH
    assert kinds_of_audio(silent) == [SPEECH]
    assert answers[-1][1].usage.filler_count == 1


def test_offline_no_filler_is_played_and_no_audio_waits(run):
    """Three waits that would each be covered on a live stream."""

    async def main():
        async with live(ScriptedEngine(SLOW)) as server:
            await with_filler(server)
            request = speech_pb2.SynthesizeRequest(text="Hello.", config=speech_pb2.StreamConfig(format=F32))
            single = [kind_and_message(answer) async for answer in server.speech.Synthesize(request)]
            request.config.service_class = speech_pb2.SERVICE_CLASS_LIVE
            as_live = [kind_and_message(answer) async for answer in server.speech.Synthesize(request)]
            talk = await server.talk(service_class=speech_pb2.SERVICE_CLASS_OFFLINE)
            await talk.start("u", filler=speech_pb2.FILLER_POLICY_EAGER)
            await talk.say("u", "Hello.")
            return single, as_live, await talk.until("done")

    single, as_live, stream = run(main())
    assert kinds_of_audio(single) == kinds_of_audio(stream) == [SPEECH] and FILLER in kinds_of_audio(as_live)
    assert codes_of(single) == codes_of(stream) == []


# ---- diagnostics ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("diagnostics", [False, True])
def test_times_of_engine_steps_come_on_request(run, diagnostics):
    async def main():
        async with live(ScriptedEngine(Script(step_s=0.01))) as server:
            talk = await server.talk(diagnostics=diagnostics)
            await talk.say("u", "Hello there.")
            return await talk.until("done")

    answers = run(main())
    stages = [dict(chunk.stage_ms) for chunk in chunks(answers) if chunk.stage_ms]
    assert stages == ([{"synthesis": 10.0}] * 3 if diagnostics else [])
    assert dict(answers[-1][1].latency.stage_ms) == {"synthesis": pytest.approx(30.0)}


def test_the_load_of_an_engine_is_told(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "Hello.")
                await talk.until("started")
                (told,) = (await server.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())).engines
                assert told.load == 1
            finally:
                engine.open()
            await talk.until("done")

    run(main())
