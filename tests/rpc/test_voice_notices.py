"""What the maker of a voice learns over real gRPC: how engines support it, and what is wrong with its recording."""

import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import voice_pb2
from intone.server.domain import PreparedVoice, Recording, VoiceNotice, VoiceNoticeCode
from intone.server.engines.pieces import VoicePieces
from intone.server.errors import EngineError
from tests.support.fakes import ScriptedEngine, info
from tests.support.rpc_status import code_and_field, failed, reason_of, status_of
from tests.support.sound_files import encoded, speechlike, with_sizes
from tests.support.voice_server import recording, upload, voice_server

INVALID = StatusCode.INVALID_ARGUMENT


def test_an_engine_that_needs_the_transcript(run):
    async def main():
        async with voice_server() as server:
            error = await failed(server.voices.CreateVoice(upload(recording(), transcript="")))
            assert code_and_field(status_of(error)) == (INVALID, "config.transcript")

    run(main())


def test_without_an_engine_that_clones_voices(run):
    async def main():
        async with voice_server(ScriptedEngine(info=info(clones_voices=False))) as server:
            error = await failed(server.voices.CreateVoice(upload(recording())))
            assert error.code() is StatusCode.FAILED_PRECONDITION and "no loaded engine" in (error.details() or "")
            assert reason_of(status_of(error)) == "CLONING_UNAVAILABLE"

    run(main())


class CuttingEngine(ScriptedEngine):
    """Uses only part of a recording."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        yield
        cut = VoiceNotice(VoiceNoticeCode.RECORDING_CUT, "of 2000 ms the first 1 s are used")
        return PreparedVoice(self.fingerprint, {}, notices=(cut,))


class FailingEngine(ScriptedEngine):
    """Prepares no voice."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        raise EngineError("voxcpm", "out of memory")


def test_engines_and_notices(run):
    async def main():
        engines = (
            CuttingEngine(info=info("indextts")),
            FailingEngine(info=info("voxcpm")),
            ScriptedEngine(info=info("starter", clones_voices=False)),
        )
        without = voice_pb2.VOICE_NOTICE_CODE_ENGINE_WITHOUT_VOICE
        cut = voice_pb2.VoiceNotice(
            code=voice_pb2.VOICE_NOTICE_CODE_RECORDING_CUT,
            message="of 2000 ms the first 1 s are used",
            engine="indextts",
        )
        async with voice_server(*engines) as server:
            for _ in range(2):  # the second time it exists
                made = await server.voices.CreateVoice(upload(recording()))
                assert [(one.engine, one.fidelity) for one in made.voice.engines] == [
                    ("indextts", voice_pb2.VOICE_FIDELITY_CLONED),
                    ("voxcpm", voice_pb2.VOICE_FIDELITY_SUBSTITUTED),
                    ("starter", voice_pb2.VOICE_FIDELITY_SUBSTITUTED),
                ]
                assert made.notices[0] == cut
                assert [(one.code, one.engine) for one in made.notices[1:]] == [
                    (without, "voxcpm"),
                    (without, "starter"),
                ]
                assert all(one.message for one in made.notices)
            built_in = (await server.voices.GetVoice(voice_pb2.GetVoiceRequest(name="default"))).voice
            assert {one.fidelity for one in built_in.engines} == {voice_pb2.VOICE_FIDELITY_NATIVE}

    run(main())


class AttentiveEngine(ScriptedEngine):
    """Keeps the transcript that it prepares."""

    def prepare_voice(self, recording: Recording) -> VoicePieces:
        yield
        return PreparedVoice(self.fingerprint, {}, recording.transcript)


@pytest.mark.parametrize(
    ("written", "spoken", "languages"),
    [
        ("It's 5 PM 🎉", "It's five P M", []),
        ("我有3个苹果。", "我有三个苹果。", []),
        ("Hello there, you.", "Hello there, you.", ["en"]),
        ("🎉", "", []),
    ],
)
def test_engines_get_the_transcript_as_it_is_spoken(run, written, spoken, languages):
    async def main():
        async with voice_server(AttentiveEngine(info=info("voxcpm"))) as server:
            made = await server.voices.CreateVoice(upload(recording(), transcript=written, languages=languages))
            assert made.voice.transcript == written and not made.notices
            assert server.store.get("anna").prepared["voxcpm"].text == spoken

    run(main())


OPPOSITE = np.stack([speechlike(16_000, 2), -speechlike(16_000, 2)], axis=1)
NOTICED: dict[str, tuple[bytes, str, list[str]]] = {
    "too much said": (recording(2000), "word " * 180, ["TRANSCRIPT_MISMATCH"]),
    "too little said": (recording(30_000), "Hi.", ["TRANSCRIPT_MISMATCH"]),
    "fast": (recording(2000), "word " * 11, []),
    "slow": (recording(2000), "Hi all.", []),
    "Mandarin": (recording(2000), "今天天气很好，我们走吧", []),
    "too much Mandarin": (recording(2000), "今天天气很好" * 6, ["TRANSCRIPT_MISMATCH"]),
    "digits that take long": (recording(2000), "5551234567 5551234567", ["TRANSCRIPT_MISMATCH"]),
    "opposite phase": (encoded(OPPOSITE, 16_000), "some of the words", ["CHANNELS_CANCEL"]),
    "cut off": (encoded(OPPOSITE[:29_000, 0], 16_000), "some of the words", ["RECORDING_ENDS_ABRUPTLY"]),
    "quiet": (encoded(OPPOSITE[:, 0] / 1000, 16_000), "some of the words", ["RECORDING_QUIET"]),
    "incomplete": (with_sizes(recording(2000), 64_000 + 1600, 64_036), "some of the words", ["RECORDING_INCOMPLETE"]),
}


@pytest.mark.parametrize(("data", "transcript", "codes"), NOTICED.values(), ids=NOTICED)
def test_recordings_that_are_taken_with_a_notice(run, data, transcript, codes):
    async def main():
        async with voice_server() as server:
            for _ in range(2):  # the second time it exists
                made = await server.voices.CreateVoice(upload(data, transcript=transcript))
                found = [voice_pb2.VoiceNoticeCode.Name(one.code) for one in made.notices]
                assert found == [f"VOICE_NOTICE_CODE_{code}" for code in codes]
                assert all(one.message and not one.engine for one in made.notices)

    run(main())


def test_every_notice_has_a_code_on_the_wire():
    wire = {name.removeprefix("VOICE_NOTICE_CODE_") for name in voice_pb2.VoiceNoticeCode.DESCRIPTOR.values_by_name}
    assert {code.name for code in VoiceNoticeCode} == wire - {"UNSPECIFIED"}
