"""Uploaded fillers over real gRPC: stored as they are, refused by field, matched to the voice's loudness."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile
from grpc import StatusCode

from intone.proto import emotion_pb2, voice_pb2
from intone.server.config import Config
from intone.server.domain import Level
from intone.server.rpc.voice_service import MAX_FILLER_CLIP_BYTES, MAX_FILLER_CLIPS_PER_VOICE, VoiceService
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.loudness import loudness_db
from intone.server.voices.store import VoiceStore
from tests.support.fakes import ScriptedWorker
from tests.support.live_server import LONE_SURROGATE, code_and_field, failed, live, status_of

INVALID = StatusCode.INVALID_ARGUMENT


def recording(duration_ms: int, rate_hz: int = 16_000, **how: Any) -> bytes:
    """A sound file of a tone."""
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 220 * time_s), rate_hz, **{"format": "WAV", **how})
    return file.getvalue()


def upload() -> Iterator[voice_pb2.CreateVoiceRequest]:
    """The messages that create a voice."""
    yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="the words"))
    yield voice_pb2.CreateVoiceRequest(audio=recording(2000))


def clip(duration_ms: int = 400, **changes: Any) -> voice_pb2.FillerClip:
    """A clip of a tone."""
    given = {"text": "Hm!", "language": "en", "audio": recording(duration_ms)}
    return voice_pb2.FillerClip(**{**given, **changes})


def adding(*clips: voice_pb2.FillerClip, name: str = "default") -> voice_pb2.AddFillersRequest:
    """The request that adds these."""
    return voice_pb2.AddFillersRequest(name=name, clips=clips)


def test_clips_are_stored(run, tmp_path):
    async def main():
        sad = emotion_pb2.EMOTION_LABEL_SAD
        async with live(voices=str(tmp_path)) as server:
            await server.voices.CreateVoice(upload())
            for name in ("anna", "default"):
                flac = recording(2000, format="FLAC")
                clips = (clip(), clip(text="Ach.", emotion=sad, language="de-AT", audio=flac))
                made = (await server.voices.AddFillers(adding(*clips, name=name))).voice
                assert made == (await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name=name))).voice
                neutral = emotion_pb2.EMOTION_LABEL_NEUTRAL
                assert [(one.text, one.emotion, one.language, one.engine) for one in made.fillers] == [
                    ("Hm!", neutral, "en", ""),
                    ("Ach.", sad, "de-AT", ""),
                ]
                assert [one.duration_ms for one in made.fillers] == pytest.approx([400, 2000], abs=10)
        async with live(voices=str(tmp_path)) as again:
            listed = (await again.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices
            assert [(voice.name, len(voice.fillers)) for voice in listed] == [("default", 2), ("anna", 2)]

    run(main())


def test_a_clip_replaces_one_with_the_same_text(run):
    async def main():
        async with live() as server:
            await server.voices.AddFillers(adding(clip(300), clip(300, text="Oh.")))
            made = (await server.voices.AddFillers(adding(clip(900)))).voice
            assert [(one.text, round(one.duration_ms, -2)) for one in made.fillers] == [("Oh.", 300), ("Hm!", 900)]

    run(main())


BAD_CLIPS = {
    "no text": ({"text": ""}, "text"),
    "blank text": ({"text": " "}, "text"),
    "long text": ({"text": "x" * 41}, "text"),
    "a control character": ({"text": "a\0"}, "text"),
    "an emotion of tomorrow": ({"emotion": 99}, "emotion"),
    "no language": ({"language": ""}, "language"),
    "a language's name": ({"language": "English"}, "language"),
    "no audio": ({"audio": b""}, "audio"),
    "not audio": ({"audio": b"no sound at all"}, "audio"),
    "too short": ({"audio": recording(99)}, "audio"),
    "too long": ({"audio": recording(3001)}, "audio"),
    "silent": ({"audio": recording(2000)[:44] + bytes(64_000)}, "audio"),
    "a click": ({"audio": recording(2000)[:144] + bytes(63_900)}, "audio"),
    "too many bytes": ({"audio": recording(2000) + bytes(MAX_FILLER_CLIP_BYTES)}, "audio"),
}


@pytest.mark.parametrize(("changes", "field"), BAD_CLIPS.values(), ids=BAD_CLIPS)
def test_a_clip_that_cannot_be_used(run, changes, field):
    async def main():
        async with live() as server:
            clips = (clip(text="One."), clip(text="Two."), clip(**changes))
            error = await failed(server.voices.AddFillers(adding(*clips)))
            assert code_and_field(status_of(error)) == (INVALID, f"clips[2].{field}")
            found = await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="default"))
            assert not found.voice.fillers, "then none of them is used"

    run(main())


def test_limits_on_the_number_of_clips(run):
    async def main():
        async with live() as server:
            audio = recording(100, rate_hz=8000)
            for count in (0, 33):
                clips = [clip(text=f"{n}.", audio=audio) for n in range(count)]
                assert code_and_field(status_of(await failed(server.voices.AddFillers(adding(*clips))))) == (
                    INVALID,
                    "clips",
                )
            error = await failed(server.voices.AddFillers(adding(clip(), clip(500))))
            assert code_and_field(status_of(error)) == (INVALID, "clips[1].text") and "clips[0]" in (
                error.details() or ""
            )
            both = (clip(), clip(emotion=emotion_pb2.EMOTION_LABEL_ANGRY))
            assert len((await server.voices.AddFillers(adding(*both))).voice.fillers) == 2
            for start in range(2, MAX_FILLER_CLIPS_PER_VOICE, 32):
                count = min(32, MAX_FILLER_CLIPS_PER_VOICE - start)
                clips = [clip(text=f"{start + n}.", audio=audio) for n in range(count)]
                made = (await server.voices.AddFillers(adding(*clips))).voice
            assert len(made.fillers) == MAX_FILLER_CLIPS_PER_VOICE
            error = await failed(server.voices.AddFillers(adding(clip(text="One more."))))
            assert code_and_field(status_of(error)) == (StatusCode.RESOURCE_EXHAUSTED, "clips")

    run(main())


def test_clips_for_a_voice_that_does_not_exist(run):
    async def main():
        async with live() as server:
            for name, code in (("nobody", StatusCode.NOT_FOUND), ("", INVALID), ("../x", INVALID)):
                assert code_and_field(status_of(await failed(server.voices.AddFillers(adding(clip(), name=name))))) == (
                    code,
                    "name",
                )
            raw = server.channel.unary_unary("/intone.v1.VoiceService/AddFillers")
            surrogate = adding(clip(text="@@@")).SerializeToString().replace(b"@@@", LONE_SURROGATE)
            assert (await failed(raw(surrogate))).code() is INVALID

    run(main())


def test_clips_are_matched_to_the_loudness_of_the_voice(run):
    """If the level of plain speech is known. Rendered fillers of the same emotion and language are removed."""

    class Nobody:
        def learn(self, *unit: Any) -> None:
            raise AssertionError("nothing is spoken here")

    async def main():
        store, workers = VoiceStore(), {"starter": ScriptedWorker()}
        background_renderer = BackgroundRenderer(store, workers, "starter", Nobody())  # type: ignore[arg-type]
        service = VoiceService(Config(port=0), store, workers, background_renderer)  # type: ignore[arg-type]
        voice = store.get("default")
        store.update_assets(voice, lambda now: replace(now, levels={"starter": Level("scripted-1", -28.0)}))
        made = (await service.AddFillers(adding(clip(), clip(700, text="Oh!")), None)).voice
        assert len(made.fillers) == 2
        for filler in store.get("default").fillers:
            assert loudness_db(filler.samples, filler.sample_rate_hz) == pytest.approx(-28.0, abs=0.1)

    run(main())
