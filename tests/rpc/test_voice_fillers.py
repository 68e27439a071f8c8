"""Uploaded fillers over real gRPC: stored as they are, refused by field, matched to the voice's loudness, removed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import voice_pb2
from intone.server.config import Config
from intone.server.domain import Filler, Level, Voice
from intone.server.rpc.caller import ANYBODY, set_principal
from intone.server.rpc.voice_requests import MAX_FILLER_CLIP_BYTES
from intone.server.rpc.voice_service import MAX_FILLER_CLIPS_PER_VOICE, VoiceService
from intone.server.runtime.recording_reader import RecordingReader
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.emotion_clips import EmotionClips
from intone.server.voices.loudness import loudness_db
from intone.server.voices.store import VoiceStore
from tests.support.fakes import ScriptedWorker
from tests.support.rpc_status import LONE_SURROGATE, code_and_field, failed, reason_of, status_of
from tests.support.voice_server import recording, upload, voice_server

INVALID = StatusCode.INVALID_ARGUMENT


def clip(duration_ms: int = 400, **changes: Any) -> voice_pb2.FillerClip:
    """A clip of a tone."""
    given = {"text": "Hm!", "language": "en", "audio": recording(duration_ms)}
    return voice_pb2.FillerClip(**{**given, **changes})


def adding(*clips: voice_pb2.FillerClip, voice: str = "default") -> voice_pb2.AddFillersRequest:
    """The request that adds these."""
    return voice_pb2.AddFillersRequest(voice=voice, clips=clips)


def test_clips_are_stored(run, tmp_path):
    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            await server.voices.CreateVoice(upload(recording()))
            for name in ("anna", "default"):
                flac = recording(2000, format="FLAC")
                clips = (clip(), clip(text="Ach.", emotion="sad", language="de-AT", audio=flac))
                made = (await server.voices.AddFillers(adding(*clips, voice=name))).voice
                assert made == (await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name=name))).voice
                assert [(one.text, one.emotion, one.language, one.engine) for one in made.fillers] == [
                    ("Hm!", "neutral", "en", ""),
                    ("Ach.", "sad", "de-AT", ""),
                ]
                assert [one.duration_ms for one in made.fillers] == pytest.approx([400, 2000], abs=10)
        async with voice_server(voices=str(tmp_path)) as again:
            listed = (await again.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices
            assert [(voice.name, len(voice.fillers)) for voice in listed] == [("default", 2), ("anna", 2)]

    run(main())


def test_a_clip_replaces_one_with_the_same_text(run):
    async def main():
        async with voice_server() as server:
            await server.voices.AddFillers(adding(clip(300), clip(300, text="Oh.")))
            made = (await server.voices.AddFillers(adding(clip(900)))).voice
            assert [(one.text, round(one.duration_ms, -2)) for one in made.fillers] == [("Oh.", 300), ("Hm!", 900)]

    run(main())


CLICK = np.zeros(32_000, np.int16)
CLICK[:50] = 10_000
BAD_CLIPS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no text": ({"text": ""}, "text", "VALUE_MISSING"),
    "blank text": ({"text": " "}, "text", "VALUE_MISSING"),
    "long text": ({"text": "x" * 41}, "text", "VALUE_OUT_OF_RANGE"),
    "a control character": ({"text": "a\0"}, "text", "TEXT_INVALID"),
    "an emotion of tomorrow": ({"emotion": "cross"}, "emotion", "VALUE_UNKNOWN"),
    "no language": ({"language": ""}, "language", "VALUE_MISSING"),
    "a language's name": ({"language": "English"}, "language", "VALUE_INVALID"),
    "no audio": ({"audio": b""}, "audio", "RECORDING_INVALID"),
    "not audio": ({"audio": b"no sound at all"}, "audio", "RECORDING_INVALID"),
    "too short": ({"audio": recording(99)}, "audio", "RECORDING_INVALID"),
    "too long": ({"audio": recording(3001)}, "audio", "RECORDING_INVALID"),
    "silent": ({"audio": recording(2000)[:44] + bytes(64_000)}, "audio", "RECORDING_INVALID"),
    "a click": ({"audio": recording(2000)[:44] + CLICK.tobytes()}, "audio", "RECORDING_INVALID"),
    "too many bytes": ({"audio": recording(2000) + bytes(MAX_FILLER_CLIP_BYTES)}, "audio", "UPLOAD_TOO_LARGE"),
}


@pytest.mark.parametrize(("changes", "field", "reason"), BAD_CLIPS.values(), ids=BAD_CLIPS)
def test_a_clip_that_cannot_be_used(run, changes, field, reason):
    async def main():
        async with voice_server() as server:
            clips = (clip(text="One."), clip(text="Two."), clip(**changes))
            status = status_of(await failed(server.voices.AddFillers(adding(*clips))))
            code = StatusCode.RESOURCE_EXHAUSTED if reason == "UPLOAD_TOO_LARGE" else INVALID
            assert (*code_and_field(status), reason_of(status)) == (code, f"clips[2].{field}", reason)
            found = await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="default"))
            assert not found.voice.fillers, "then none of them is used"

    run(main())


def test_limits_on_the_number_of_clips(run):
    async def main():
        async with voice_server() as server:
            audio = recording(100, rate_hz=8000)
            for count, reason in ((0, "VALUE_MISSING"), (33, "VALUE_OUT_OF_RANGE")):
                clips = [clip(text=f"{n}.", audio=audio) for n in range(count)]
                status = status_of(await failed(server.voices.AddFillers(adding(*clips))))
                assert (*code_and_field(status), reason_of(status)) == (INVALID, "clips", reason)
            error = await failed(server.voices.AddFillers(adding(clip(), clip(500))))
            assert code_and_field(status_of(error)) == (INVALID, "clips[1].text") and "clips[0]" in (
                error.details() or ""
            )
            both = (clip(), clip(emotion="angry"))
            assert len((await server.voices.AddFillers(adding(*both))).voice.fillers) == 2
            for start in range(2, MAX_FILLER_CLIPS_PER_VOICE, 32):
                count = min(32, MAX_FILLER_CLIPS_PER_VOICE - start)
                clips = [clip(text=f"{start + n}.", audio=audio) for n in range(count)]
                made = (await server.voices.AddFillers(adding(*clips))).voice
            assert len(made.fillers) == MAX_FILLER_CLIPS_PER_VOICE
            error = await failed(server.voices.AddFillers(adding(clip(text="One more."))))
            assert code_and_field(status_of(error)) == (StatusCode.RESOURCE_EXHAUSTED, "clips")
            assert reason_of(status_of(error)) == "TOO_MANY_FILLERS"

    run(main())


def removing(voice: str = "default", **chosen: str) -> voice_pb2.RemoveFillersRequest:
    """The request that removes these."""
    return voice_pb2.RemoveFillersRequest(voice=voice, **chosen)


SAD_AT = {"text": "Ach.", "emotion": "sad", "language": "de-AT"}
REMOVALS: dict[str, tuple[dict[str, str], set[str]]] = {
    "all": ({}, set()),
    "one emotion": ({"emotion": "sad"}, {"Hm!", "Oh!", "Na."}),
    "one language": ({"language": "en"}, {"Ach.", "Na."}),
    "a language in any region": ({"language": "DE"}, {"Hm!", "Oh!"}),
    "a language in one region": ({"language": "de-at"}, {"Hm!", "Oh!", "Na."}),
    "one text": ({"text": "Oh!"}, {"Hm!", "Ach.", "Na."}),
    "all that one says": (SAD_AT, {"Hm!", "Oh!", "Na."}),
    "none": ({**SAD_AT, "text": "Oh!"}, {"Hm!", "Oh!", "Ach.", "Na."}),
}


@pytest.mark.parametrize(("chosen", "left"), REMOVALS.values(), ids=REMOVALS)
def test_clips_are_removed(run, tmp_path, chosen, left):
    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            clips = (clip(), clip(text="Oh!"), clip(**SAD_AT), clip(text="Na.", language="de"))
            await server.voices.AddFillers(adding(*clips))
            rendered = Filler("Hm!", "sad", "de-AT", np.ones(800, np.float32), 16_000, (50,), "starter", "1")
            store, default = server.store, server.store.get("default")
            store.update_assets(default, lambda now: replace(now, fillers=(*now.fillers, rendered)))
            answer = await server.voices.RemoveFillers(removing(**chosen))
            assert answer.removed_count == 4 - len(left)
            assert {one.text for one in answer.voice.fillers if not one.engine} == left
            assert [one.text for one in answer.voice.fillers if one.engine] == ["Hm!"], "rendered ones are not clips"
        async with voice_server(voices=str(tmp_path)) as again:
            found = await again.voices.GetVoice(voice_pb2.GetVoiceRequest(name="default"))
            assert found.voice == answer.voice

    run(main())


BAD_FILTERS = {
    "emotion": ({"emotion": "cross"}, "emotion", "VALUE_UNKNOWN"),
    "language": ({"language": "d"}, "language", "VALUE_INVALID"),
    "text": ({"text": "x" * 41}, "text", "VALUE_OUT_OF_RANGE"),
    "voice": ({"voice": ""}, "voice", "VALUE_MISSING"),
}


@pytest.mark.parametrize(("request_fields", "field", "reason"), BAD_FILTERS.values(), ids=BAD_FILTERS)
def test_filters_that_match_no_clip_of_any_voice(run, request_fields, field, reason):
    async def main():
        async with voice_server() as server:
            status = status_of(await failed(server.voices.RemoveFillers(removing(**request_fields))))
            assert (*code_and_field(status), reason_of(status)) == (INVALID, field, reason)
            status = status_of(await failed(server.voices.RemoveFillers(removing("nobody"))))
            found = (*code_and_field(status), reason_of(status))
            assert found == (StatusCode.NOT_FOUND, "voice", "VOICE_NOT_FOUND")

    run(main())


def test_removed_clips_are_rendered_by_the_server_again(run, thread_pools):
    class Woken:
        names: list[str] = []

        def voice_added(self, name: str) -> None:
            self.names.append(name)

        def loudness_matched(self, voice: Voice) -> Voice:
            return voice

    async def main():
        set_principal(ANYBODY)
        store, renderer = VoiceStore(), Woken()
        service = VoiceService(Config(port=0), store, {}, EmotionClips(4 << 20), thread_pools, renderer)  # type: ignore[arg-type]
        await service.AddFillers(adding(clip()), None)
        await service.RemoveFillers(removing(), None)
        assert renderer.names == ["default"] * 2 and not store.get("default").fillers

    run(main())


def test_clips_for_a_voice_that_does_not_exist(run):
    async def main():
        async with voice_server() as server:
            for name, code in (("nobody", StatusCode.NOT_FOUND), ("", INVALID), ("../x", INVALID)):
                assert code_and_field(
                    status_of(await failed(server.voices.AddFillers(adding(clip(), voice=name))))
                ) == (
                    code,
                    "voice",
                )
            raw = server.channel.unary_unary("/intone.v1.VoiceService/AddFillers")
            surrogate = adding(clip(text="@@@")).SerializeToString().replace(b"@@@", LONE_SURROGATE)
            assert (await failed(raw(surrogate))).code() is INVALID

    run(main())


def test_clips_are_matched_to_the_loudness_of_the_voice(run, thread_pools):
    """If the level of plain speech is known. Rendered fillers of the same emotion and language are removed."""

    class Nobody:
        def learn(self, *unit: Any) -> None:
            raise AssertionError("nothing is spoken here")

    async def main():
        set_principal(ANYBODY)
        store, workers = VoiceStore(), {"starter": ScriptedWorker()}
        background_renderer = BackgroundRenderer(store, workers, "starter", Nobody(), thread_pools)  # type: ignore[arg-type]
        service = VoiceService(Config(port=0), store, workers, EmotionClips(4 << 20), thread_pools, background_renderer)  # type: ignore[arg-type]
        voice = store.get("default")
        store.update_assets(voice, lambda now: replace(now, levels={"starter": Level("scripted-1", -28.0)}))
        made = (await service.AddFillers(adding(clip(), clip(700, text="Oh!")), None)).voice
        assert len(made.fillers) == 2
        for filler in store.get("default").fillers:
            assert loudness_db(filler.samples, filler.sample_rate_hz) == pytest.approx(-28.0, abs=0.1)

    run(main())


def test_a_voice_that_is_deleted_while_its_clips_are_read(run, monkeypatch):
    async def main():
        async with voice_server() as server:
            await server.voices.CreateVoice(upload(recording()))
            read = RecordingReader.read

            async def slowly(self, files, **limits):
                server.store.delete("anna")
                return await read(self, files, **limits)

            monkeypatch.setattr(RecordingReader, "read", slowly)
            status = status_of(await failed(server.voices.AddFillers(adding(clip(), voice="anna"))))
            assert code_and_field(status) == (StatusCode.FAILED_PRECONDITION, "voice")
            assert reason_of(status) == "VOICE_CHANGED"

    run(main())
