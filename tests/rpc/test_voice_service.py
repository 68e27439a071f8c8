"""Voices over real gRPC: uploads, refused uploads and their errors, and speaking with a voice."""

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
from grpc import StatusCode

from intone.proto import speech_pb2, voice_pb2
from tests.support.fakes import ScriptedEngine, info
from tests.support.live_server import LONE_SURROGATE, chunks, code_and_field, failed, live, status_of

INVALID = StatusCode.INVALID_ARGUMENT
SECONDS_2 = 2000


def recording(duration_ms: int = SECONDS_2, rate_hz: int = 16_000, channels: int = 1, **how: Any) -> bytes:
    """A sound file of a tone."""
    time_s = np.arange(duration_ms * rate_hz // 1000) / rate_hz
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s)
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone] * channels, axis=1), rate_hz, **{"format": "WAV", **how})
    return file.getvalue()


def upload(
    data: bytes, name: str = "anna", transcript: str = "the words", piece: int = 65_536, **config: Any
) -> Iterator:
    """The messages of an upload."""
    yield voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name=name, transcript=transcript, **config))
    for start in range(0, len(data), piece):
        yield voice_pb2.CreateVoiceRequest(audio=data[start : start + piece])


GOOD = {
    "16 bits": recording(),
    "8 bits": recording(subtype="PCM_U8"),
    "float": recording(subtype="FLOAT"),
    "stereo": recording(channels=2),
    "48 kHz": recording(rate_hz=48_000),
    "FLAC": recording(format="FLAC"),
    "Ogg": recording(format="OGG", subtype="VORBIS"),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("piece", [1000, 1 << 20])
def test_upload(run, data, piece):
    async def main():
        async with live() as server:
            made = await server.voices.CreateVoice(upload(data, piece=piece))
            voice = made.voice
            assert (voice.name, voice.built_in, list(voice.engines)) == ("anna", False, ["starter"])
            assert voice.transcript == "the words" and voice.recording_ms == pytest.approx(SECONDS_2, abs=1)
            assert len(voice.content_id) == 64 and voice.create_time.seconds > 1_600_000_000
            assert not made.warnings
            found = await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="anna"))
            assert found.voice == voice

    run(main())


REFUSED = {
    "empty": (b"", "audio"),
    "a header without samples": (recording(0), "audio"),
    "truncated": (recording()[:-1000], "audio"),
    "truncated in its header": (recording()[:20], "audio"),
    "100 ms": (recording(100), "audio"),
    "not audio": (b"this is no recording at all, whatever the name says " * 100, "audio"),
    "zeros": (bytes(100_000), "audio"),
    "silent": (recording()[:44] + bytes(64_000), "audio"),
    "not a number": (recording(subtype="FLOAT")[:-4] + struct.pack("<f", float("nan")), "audio"),
}


@pytest.mark.parametrize(("data", "field"), REFUSED.values(), ids=REFUSED)
def test_recording_that_cannot_be_used(run, data, field):
    async def main():
        async with live() as server:
            error = await failed(server.voices.CreateVoice(upload(data)))
            assert code_and_field(status_of(error)) == (INVALID, field)
            assert [voice.name for voice in (await server.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices] == [
                "default"
            ]

    run(main())


def test_a_recording_of_ten_minutes_is_too_long(run):
    async def main():
        async with live() as server:
            data = recording(600_000, rate_hz=8000, subtype="PCM_U8")
            error = await failed(server.voices.CreateVoice(upload(data, piece=1 << 20)))
            assert code_and_field(status_of(error)) == (INVALID, "audio") and "60000 ms" in (error.details() or "")

    run(main())


def test_upload_over_the_byte_limit_is_ended_early(run):
    async def main():
        async with live(max_recording_bytes=1 << 16) as server:
            error = await failed(server.voices.CreateVoice(upload(bytes(1 << 20), piece=4096)))
            assert code_and_field(status_of(error)) == (StatusCode.RESOURCE_EXHAUSTED, "audio")
            assert "65536" in (error.details() or "")
            exact = recording(1500)[: 1 << 16]
            assert len(exact) <= 1 << 16 and (await server.voices.CreateVoice(upload(exact))).voice.name == "anna"

    run(main())


BAD_NAMES = ["", " ", "a b", "../etc", ".hidden", "-x", "ünal", "a" * 65, "a\n", "a" * 100_000]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:8]) + str(len(name)))
def test_bad_names(run, name):
    async def main():
        async with live() as server:
            error = await failed(server.voices.CreateVoice(upload(GOOD["16 bits"], name=name)))
            assert code_and_field(status_of(error)) == (INVALID, "config.name")
            for call in (
                server.voices.GetVoice(voice_pb2.GetVoiceRequest(name=name)),
                server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name)),
            ):
                assert code_and_field(status_of(await failed(call))) == (INVALID, "name")

    run(main())


def test_names_that_are_taken(run):
    async def main():
        async with live() as server:
            first = (await server.voices.CreateVoice(upload(GOOD["16 bits"]))).voice
            error = await failed(server.voices.CreateVoice(upload(GOOD["stereo"])))
            assert code_and_field(status_of(error)) == (StatusCode.ALREADY_EXISTS, "config.name")
            second = (await server.voices.CreateVoice(upload(recording(3000), replace=True))).voice
            assert second.recording_ms == 3000 and second.content_id != first.content_id
            for replace in (False, True):
                error = await failed(server.voices.CreateVoice(upload(GOOD["FLAC"], name="default", replace=replace)))
                assert code_and_field(status_of(error)) == (StatusCode.FAILED_PRECONDITION, "config.name")

    run(main())


def test_two_uploads_of_one_name_at_once(run):
    async def main():
        async with live() as server:
            first, second = (server.voices.CreateVoice() for _ in range(2))
            for call in (first, second):
                for message in upload(GOOD["16 bits"]):
                    await call.write(message)
            await first.done_writing()
            assert (await first).voice.name == "anna"
            await second.done_writing()
            assert code_and_field(status_of(await failed(second))) == (StatusCode.ALREADY_EXISTS, "config.name")

    run(main())


CONFIG = voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="x"))
AUDIO = voice_pb2.CreateVoiceRequest(audio=b"RIFF")
ORDERS = {
    "nothing": ([], INVALID, "config"),
    "audio first": ([AUDIO, CONFIG], INVALID, "config"),
    "an empty message first": ([voice_pb2.CreateVoiceRequest()], INVALID, "config"),
    "two configs": ([CONFIG, CONFIG], INVALID, "config"),
    "an empty message later": ([CONFIG, voice_pb2.CreateVoiceRequest()], INVALID, "request"),
    "config alone": ([CONFIG], INVALID, "audio"),
}


@pytest.mark.parametrize(("messages", "code", "field"), ORDERS.values(), ids=ORDERS)
def test_messages_out_of_order(run, messages, code, field):
    async def main():
        async with live() as server:
            error = await failed(server.voices.CreateVoice(iter(messages)))
            assert code_and_field(status_of(error)) == (code, field)

    run(main())


def test_garbage_and_bad_transcripts(run):
    async def main():
        async with live() as server:
            raw = server.channel.stream_unary("/intone.v1.VoiceService/CreateVoice")
            for data in (b"\xff\xff", b"\x0a\x7f"):
                error = await failed(raw(iter([data])))
                assert error.code() is INVALID and "not valid protobuf" in (error.details() or "")
            surrogate = voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="@@@"))
            data = surrogate.SerializeToString().replace(b"@@@", LONE_SURROGATE)
            assert code_and_field(status_of(await failed(raw(iter([data]))))) == (INVALID, "config.transcript")
            for transcript in ("x" * 1001, "a\0"):
                error = await failed(server.voices.CreateVoice(upload(GOOD["16 bits"], transcript=transcript)))
                assert code_and_field(status_of(error)) == (INVALID, "config.transcript")

    run(main())


def test_an_engine_that_needs_the_transcript(run):
    async def main():
        async with live() as server:
            error = await failed(server.voices.CreateVoice(upload(GOOD["16 bits"], transcript="")))
            assert code_and_field(status_of(error)) == (INVALID, "config.transcript")

    run(main())


def test_without_an_engine_that_clones_voices(run):
    async def main():
        async with live(ScriptedEngine(info=info(clones_voices=False))) as server:
            error = await failed(server.voices.CreateVoice(upload(GOOD["16 bits"])))
            assert error.code() is StatusCode.FAILED_PRECONDITION and "no loaded engine" in (error.details() or "")

    run(main())


def test_list_use_and_delete(run, tmp_path):
    async def main():
        async with live(voices=str(tmp_path)) as server:
            for name in ("zoe", "anna"):
                await server.voices.CreateVoice(upload(GOOD["16 bits"], name=name))
            listed = (await server.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices
            assert [voice.name for voice in listed] == ["default", "anna", "zoe"]
            assert listed[0].built_in and not listed[0].HasField("create_time")
            talk = await server.talk(voice="zoe")
            await talk.say("u", "Hello.", end=False)
            await talk.flush()
            answers = await talk.until("flushed")  # so the voice is in use: another call may overtake what was written
            await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name="zoe"))
            await talk.say("u", "")
            answers += await talk.until("done")
            assert answers[0][1].voice == "zoe" and chunks(answers)
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED
            await talk.say("v", "Hello.")
            done = (await talk.until("done"))[-1][1]
            assert code_and_field(done.error) == (StatusCode.NOT_FOUND, "text.voice")
            for name, code in (("zoe", StatusCode.NOT_FOUND), ("default", StatusCode.FAILED_PRECONDITION)):
                error = await failed(server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name)))
                assert code_and_field(status_of(error)) == (code, "name")
        async with live(voices=str(tmp_path), default_voice="anna") as again:
            talk = await again.talk()
            await talk.say("u", "Hello.")
            assert (await talk.until("done"))[0][1].voice == "anna"

    run(main())
