"""Uploads of emotion clips over real gRPC, and utterances that follow them."""

import hashlib
import io

import numpy as np
import pytest
import soundfile
from grpc import StatusCode

from intone.proto import emotion_pb2, speech_pb2, voice_pb2
from intone.server.domain import Emotion
from intone.server.errors import Reason
from intone.server.events import Done
from intone.server.voices.emotion_clips import MAX_EMOTION_CLIP_BYTES
from tests.support.fakes import ScriptedEngine, info
from tests.support.live_server import live
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of, values_of
from tests.support.voice_server import recording, voice_server


def request(audio: bytes) -> voice_pb2.UploadEmotionClipRequest:
    return voice_pb2.UploadEmotionClipRequest(audio=audio)


def emotional() -> ScriptedEngine:
    return ScriptedEngine(info=info(voices_emotion=True))


@pytest.mark.parametrize("how", [{}, {"format": "FLAC"}, {"format": "OGG"}], ids=str)
def test_upload(run, how):
    async def main():
        async with voice_server(emotional()) as server:
            data = recording(1500, **how)
            for _ in range(2):
                made = await server.voices.UploadEmotionClip(request(data))
                assert made.clip_id == hashlib.sha256(data).hexdigest() and made.duration_ms == 1500
            kept = server.clips.get(made.clip_id, "emotion.clip_id")
            assert kept.startswith(b"fLaC")  # made by the server, whatever was uploaded
            samples, given = (soundfile.read(io.BytesIO(one))[0] for one in (kept, data))
            assert np.abs(samples - given).max() < 1e-6

    run(main())


REFUSED = {
    "nothing": (b"", StatusCode.INVALID_ARGUMENT, "RECORDING_INVALID"),
    "not audio": (b"no sound at all", StatusCode.INVALID_ARGUMENT, "RECORDING_INVALID"),
    "too short": (recording(499), StatusCode.INVALID_ARGUMENT, "RECORDING_INVALID"),
    "too long": (recording(30_001), StatusCode.INVALID_ARGUMENT, "RECORDING_INVALID"),
    "too many bytes": (bytes(MAX_EMOTION_CLIP_BYTES + 1), StatusCode.RESOURCE_EXHAUSTED, "UPLOAD_TOO_LARGE"),
}


@pytest.mark.parametrize(("data", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_clip_that_cannot_be_used(run, data, code, reason):
    async def main():
        async with voice_server(emotional()) as server:
            status = status_of(await failed(server.voices.UploadEmotionClip(request(data))))
            assert (*code_and_field(status), reason_of(status)) == (code, "audio", reason)
            if reason == "UPLOAD_TOO_LARGE":
                assert values_of(status) == {"limit": str(MAX_EMOTION_CLIP_BYTES)}

    run(main())


def settings(clip_id: str) -> speech_pb2.SpeechSettings:
    return speech_pb2.SpeechSettings(emotion=emotion_pb2.Emotion(clip_id=clip_id))


def test_a_stream_that_follows_a_clip(run):
    async def main():
        async with live(emotional()) as server:
            made = await server.voices.UploadEmotionClip(request(recording(1500)))
            talk = await server.talk(defaults=settings(made.clip_id))
            await talk.say("u", "Hello.")
            done = (await talk.until("done"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_COMPLETED

    run(main())


def test_a_clip_that_the_server_does_not_have(run):
    async def main():
        async with live() as server:
            talk = server.open()
            await talk.send(config=speech_pb2.StreamConfig(defaults=settings("0" * 64)))
            status = status_of(await talk.failure())
            found = (*code_and_field(status), reason_of(status))
            assert found == (StatusCode.NOT_FOUND, "config.defaults.emotion.clip_id", "CLIP_NOT_FOUND")

    run(main())


def test_where_no_engine_voices_emotion_clips_are_refused(run):
    async def main():
        async with live() as server:
            status = status_of(await failed(server.voices.UploadEmotionClip(request(recording(1500)))))
            assert reason_of(status) == "UNSUPPORTED" and "no loaded engine voices emotion" in status.message

    run(main())


def test_an_utterance_with_a_clip_where_no_engine_voices_emotion(talk):
    async def body(t):
        t.start("u", emotion=Emotion(intensity=1.0, clip_id="0" * 64))
        t.text("u", "Hello.", end=True)
        await t.finish()
        (done,) = t.of(Done)
        assert done.error.field == "start.settings.emotion.clip_id" and done.error.reason is Reason.UNSUPPORTED

    talk(body)


def test_a_clip_that_is_forgotten_before_it_is_spoken(run):
    """Utterances that wait hold no recordings: they name them."""

    async def main():
        async with live(emotional(), max_emotion_clip_bytes=2 << 20, wait_ms=60_000) as server:
            made = await server.voices.UploadEmotionClip(request(recording(1500)))
            talk = await server.talk(defaults=settings(made.clip_id))
            await talk.say("u", "Hello.", end=False)
            noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 20).astype(np.float32)
            for start in range(4):
                file = io.BytesIO()
                soundfile.write(file, np.roll(noise, start), 16_000, format="WAV", subtype="PCM_16")
                await server.voices.UploadEmotionClip(request(file.getvalue()))
            await talk.say("u", " And more.", end=True)
            answers = await talk.until("done")
            done = answers[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_FAILED
            assert code_and_field(done.error) == (StatusCode.NOT_FOUND, "config.defaults.emotion.clip_id")

    run(main())
