"""Speaking with voices over real gRPC: a deleted voice, and voices after a restart."""

from typing import Any

from grpc import StatusCode

from intone.proto import speech_pb2, voice_pb2
from tests.support.live_server import chunks, live
from tests.support.rpc_status import code_and_field, failed, status_of
from tests.support.voice_server import recording, upload


def started(answers: list[tuple[str, Any]]) -> Any:
    """The `started` message among the answers."""
    return next(message for kind, message in answers if kind == "started")


def test_list_use_and_delete(run, tmp_path):
    async def main():
        async with live(voices=str(tmp_path)) as server:
            for name in ("zoe", "anna"):
                await server.voices.CreateVoice(upload(recording(), name=name))
            listed = (await server.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices
            assert [voice.name for voice in listed] == ["default", "anna", "zoe"]
            assert listed[0].built_in and not listed[0].HasField("create_time")
            talk = await server.talk(defaults=speech_pb2.SpeechSettings(voice="zoe"))
            await talk.say("u", "Hello.", end=False)
            await talk.flush()
            answers = await talk.until("flushed")  # so the voice is in use: another call may overtake what was written
            await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name="zoe"))
            await talk.say("u", "")
            answers += await talk.until("done")
            assert started(answers).voice == "zoe" and chunks(answers)
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED
            await talk.say("v", "Hello.")
            done = (await talk.until("done"))[-1][1]
            assert code_and_field(done.error) == (StatusCode.NOT_FOUND, "config.defaults.voice")
            for name, code in (("zoe", StatusCode.NOT_FOUND), ("default", StatusCode.FAILED_PRECONDITION)):
                error = await failed(server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name=name)))
                assert code_and_field(status_of(error)) == (code, "name")
        async with live(voices=str(tmp_path), default_voice="anna") as again:
            talk = await again.talk()
            await talk.say("u", "Hello.")
            assert started(await talk.until("done")).voice == "anna"

    run(main())
