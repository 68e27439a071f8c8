"""VoiceService over real gRPC: uploads, names, refused uploads and their errors."""

import struct
from typing import Any

import pytest
from grpc import StatusCode

from intone.proto import voice_pb2
from tests.support.rpc_status import LONE_SURROGATE, code_and_field, failed, reason_of, refusal, status_of, values_of
from tests.support.voice_server import recording, upload, voice_server

INVALID = StatusCode.INVALID_ARGUMENT
SECONDS_2 = 2000


def get(name: str) -> voice_pb2.GetVoiceRequest:
    return voice_pb2.GetVoiceRequest(name=name)


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
        async with voice_server() as server:
            made = await server.voices.CreateVoice(upload(data, piece=piece))
            voice = made.voice
            assert (voice.name, voice.built_in) == ("anna", False)
            assert [(one.engine, one.fidelity) for one in voice.engines] == [
                ("starter", voice_pb2.VOICE_FIDELITY_CLONED)
            ]
            assert voice.transcript == "the words of it" and voice.recording_ms == pytest.approx(SECONDS_2, abs=1)
            assert len(voice.content_id) == 64 and voice.create_time.seconds > 1_600_000_000
            assert not made.notices
            assert (await server.voices.GetVoice(get("anna"))).voice == voice

    run(main())


DETAILS: dict[str, Any] = {
    "languages": ["de", "zh-Hant-TW"],
    "description": "Warm, low,\nunhurried. 温暖",
    "labels": {"team": "x" * 256, "k" * 64: ""},
}


def test_what_is_said_about_a_voice_is_kept(run, tmp_path):
    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            made = (await server.voices.CreateVoice(upload(recording(), **DETAILS))).voice
            assert (list(made.languages), made.description, dict(made.labels)) == tuple(DETAILS.values())
            await server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="anna", clips=[FILLER]))
        async with voice_server(voices=str(tmp_path)) as again:
            found = (await again.voices.GetVoice(get("anna"))).voice
            assert len(found.fillers) == 1
            del found.fillers[:]
            assert found == made

    run(main())


FILLER = voice_pb2.FillerClip(text="Hm.", language="en", audio=recording(400))

BAD_DETAILS = {
    "a language's name": ({"languages": ["en", "English"]}, "languages[1]", "VALUE_INVALID"),
    "an empty language": ({"languages": [""]}, "languages[0]", "VALUE_MISSING"),
    "17 languages": ({"languages": ["en"] * 17}, "languages", "VALUE_OUT_OF_RANGE"),
    "a long description": ({"description": "x" * 501}, "description", "VALUE_OUT_OF_RANGE"),
    "a control character": ({"description": "a\0"}, "description", "TEXT_INVALID"),
    "17 labels": ({"labels": {str(n): "" for n in range(17)}}, "labels", "VALUE_OUT_OF_RANGE"),
    "an empty key": ({"labels": {"": "x"}}, "labels", "VALUE_MISSING"),
    "a long key": ({"labels": {"x" * 65: ""}}, "labels", "VALUE_OUT_OF_RANGE"),
    "a long value": ({"labels": {"x": "x" * 257}}, "labels", "VALUE_OUT_OF_RANGE"),
    "a long transcript": ({"transcript": "x" * 1001}, "transcript", "VALUE_OUT_OF_RANGE"),
    "a null in the transcript": ({"transcript": "a\0"}, "transcript", "TEXT_INVALID"),
}


@pytest.mark.parametrize(("config", "field", "reason"), BAD_DETAILS.values(), ids=BAD_DETAILS)
def test_what_cannot_be_said_about_a_voice(run, config, field, reason):
    async def main():
        async with voice_server() as server:
            found = await refusal(server.voices.CreateVoice(upload(recording(), **config)))
            assert found == (INVALID, f"config.{field}", reason)

    run(main())


REFUSED = {
    "empty": b"",
    "a header without samples": recording(0),
    "truncated": recording()[:-10_000],
    "truncated in its header": recording()[:20],
    "100 ms": recording(100),
    "not audio": b"this is no recording at all, whatever the name says " * 100,
    "zeros": bytes(100_000),
    "silent": recording()[:44] + bytes(64_000),
    "not a number": recording(subtype="FLOAT")[:-4] + struct.pack("<f", float("nan")),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_recording_that_cannot_be_used(run, data):
    async def main():
        async with voice_server() as server:
            assert await refusal(server.voices.CreateVoice(upload(data))) == (INVALID, "audio", "RECORDING_INVALID")
            page = await server.voices.ListVoices(voice_pb2.ListVoicesRequest())
            assert [voice.name for voice in page.voices] == ["default"]

    run(main())


def test_a_recording_of_ten_minutes_is_too_long(run):
    async def main():
        async with voice_server() as server:
            data = recording(600_000, rate_hz=8000, subtype="PCM_U8")
            error = await failed(server.voices.CreateVoice(upload(data, piece=1 << 20)))
            assert code_and_field(status_of(error)) == (INVALID, "audio") and "60000 ms" in (error.details() or "")

    run(main())


def test_upload_over_the_byte_limit_is_ended_early(run):
    async def main():
        async with voice_server(max_recording_bytes=1 << 16) as server:
            status = status_of(await failed(server.voices.CreateVoice(upload(bytes(1 << 20), piece=4096))))
            assert code_and_field(status) == (StatusCode.RESOURCE_EXHAUSTED, "audio")
            assert (reason_of(status), values_of(status)) == ("UPLOAD_TOO_LARGE", {"limit": "65536"})
            exact = recording(1500)[: 1 << 16]
            assert len(exact) <= 1 << 16 and (await server.voices.CreateVoice(upload(exact))).voice.name == "anna"

    run(main())


# ---- names

BAD_NAMES = [" ", "a b", "../etc", ".hidden", "-x", "😀", "a\n", "a\u200b", "a" * 65, "a" * 100_000, "\U00020000" * 64]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name[:8]) + str(len(name)))
def test_bad_names(run, name):
    async def main():
        async with voice_server() as server:
            expected = (INVALID, "config.name", "VALUE_INVALID")
            assert await refusal(server.voices.CreateVoice(upload(recording(), name=name))) == expected
            for field, call in (
                ("name", server.voices.GetVoice(get(name))),
                ("name", server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name))),
                ("voice", server.voices.AddFillers(voice_pb2.AddFillersRequest(voice=name, clips=[FILLER]))),
                ("voice", server.voices.RemoveFillers(voice_pb2.RemoveFillersRequest(voice=name))),
            ):
                assert await refusal(call) == (INVALID, field, "VALUE_INVALID")

    run(main())


def test_a_missing_name(run):
    async def main():
        async with voice_server() as server:
            assert await refusal(server.voices.GetVoice(get(""))) == (INVALID, "name", "VALUE_MISSING")

    run(main())


@pytest.mark.parametrize("name", ["小明", "Zoë", "Анна_2", "हिन्दी", "٣"])
def test_names_of_any_script(run, tmp_path, name):
    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            assert (await server.voices.CreateVoice(upload(recording(), name=name))).voice.name == name
        async with voice_server(voices=str(tmp_path)) as again:
            assert (await again.voices.GetVoice(get(name))).voice.name == name
            await again.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name))
        assert not list(tmp_path.iterdir())

    run(main())


def test_composed_and_decomposed_names_are_the_same(run):
    async def main():
        async with voice_server() as server:
            made = (await server.voices.CreateVoice(upload(recording(), name="Zoe\u0308"))).voice
            assert made.name == "Zo\u00eb"
            for name in ("Zoe\u0308", "Zo\u00eb"):
                assert (await server.voices.GetVoice(get(name))).voice == made

    run(main())


def test_names_that_are_taken(run):
    async def main():
        async with voice_server() as server:
            first = (await server.voices.CreateVoice(upload(recording()))).voice
            expected = (StatusCode.ALREADY_EXISTS, "config.name", "VOICE_EXISTS")
            for other in (upload(recording(3000)), upload(recording(), transcript="other words")):
                assert await refusal(server.voices.CreateVoice(other)) == expected
            second = (await server.voices.CreateVoice(upload(recording(3000), replace=True))).voice
            assert second.recording_ms == 3000 and second.content_id != first.content_id
            for replace in (False, True):
                found = await refusal(server.voices.CreateVoice(upload(recording(), name="default", replace=replace)))
                assert found == (StatusCode.FAILED_PRECONDITION, "config.name", "VOICE_BUILT_IN")

    run(main())


def test_the_same_recording_again(run):
    """A client that lost the answer may send it again. Only with `replace` is it a new voice."""

    async def main():
        async with voice_server() as server:
            first = (await server.voices.CreateVoice(upload(recording(), description="one"))).voice
            for data in (recording(), recording(channels=2), recording(format="WAVEX")):
                assert (await server.voices.CreateVoice(upload(data, description="two"))).voice == first
            replaced = (await server.voices.CreateVoice(upload(recording(), description="two", replace=True))).voice
            assert (replaced.content_id, replaced.description) == (first.content_id, "two")

    run(main())


@pytest.mark.parametrize("same", [True, False])
def test_two_uploads_of_one_name_at_once(run, same):
    async def main():
        async with voice_server() as server:
            first, second = (server.voices.CreateVoice() for _ in range(2))
            for call, data in ((first, recording()), (second, recording(2000 if same else 3000))):
                for message in upload(data):
                    await call.write(message)
            await first.done_writing()
            made = (await first).voice
            await second.done_writing()
            if same:
                assert (await second).voice == made
            else:
                assert await refusal(second) == (StatusCode.ALREADY_EXISTS, "config.name", "VOICE_EXISTS")

    run(main())


# ---- messages

CONFIG = voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="x"))
AUDIO = voice_pb2.CreateVoiceRequest(audio=b"RIFF")
EMPTY = voice_pb2.CreateVoiceRequest()
OF_TOMORROW = voice_pb2.CreateVoiceRequest.FromString(b"\xfa\x06\x00")  # field 111, empty
ORDERS = {
    "nothing": ([], INVALID, "config", "CONFIG_MISSING"),
    "audio first": ([AUDIO, CONFIG], INVALID, "config", "CONFIG_MISSING"),
    "an empty message first": ([EMPTY], INVALID, "config", "CONFIG_MISSING"),
    "two configs": ([CONFIG, CONFIG], INVALID, "config", "CONFIG_REPEATED"),
    "an empty message later": ([CONFIG, EMPTY], INVALID, "request", "VALUE_MISSING"),
    "a message of tomorrow": ([CONFIG, OF_TOMORROW], StatusCode.UNIMPLEMENTED, "request", "UNSUPPORTED"),
    "config alone": ([CONFIG], INVALID, "audio", "RECORDING_INVALID"),
}


@pytest.mark.parametrize(("messages", "code", "field", "reason"), ORDERS.values(), ids=ORDERS)
def test_messages_out_of_order(run, messages, code, field, reason):
    async def main():
        async with voice_server() as server:
            assert await refusal(server.voices.CreateVoice(iter(messages))) == (code, field, reason)

    run(main())


UNARY = ("ListVoices", "GetVoice", "AddFillers", "RemoveFillers", "DeleteVoice", "UploadEmotionClip")


@pytest.mark.parametrize("method", [*UNARY, "CreateVoice"])
def test_garbage(run, method):
    async def main():
        async with voice_server() as server:
            path = f"/intone.v1.VoiceService/{method}"
            for data in (b"\xff\xff", b"\x0a\x7f"):
                if method == "CreateVoice":
                    error = await failed(server.channel.stream_unary(path)(iter([data])))
                else:
                    error = await failed(server.channel.unary_unary(path)(data))
                assert error.code() is INVALID and "not valid protobuf" in (error.details() or "")
                assert reason_of(status_of(error)) == "MESSAGE_MALFORMED"

    run(main())


def test_strings_that_are_not_utf8(run):
    async def main():
        async with voice_server() as server:
            expected = (INVALID, "config.transcript", "MESSAGE_MALFORMED")
            surrogate = voice_pb2.CreateVoiceRequest(config=voice_pb2.VoiceConfig(name="anna", transcript="@@@"))
            data = surrogate.SerializeToString().replace(b"@@@", LONE_SURROGATE)
            raw = server.channel.stream_unary("/intone.v1.VoiceService/CreateVoice")
            assert await refusal(raw(iter([data]))) == expected
            data = get("@@@").SerializeToString().replace(b"@@@", LONE_SURROGATE)
            raw = server.channel.unary_unary("/intone.v1.VoiceService/GetVoice")
            assert await refusal(raw(data)) == (INVALID, "name", "MESSAGE_MALFORMED")

    run(main())
