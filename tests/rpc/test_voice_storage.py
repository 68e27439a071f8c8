"""Voices on a disk that is full or cannot be written, over real gRPC: a clear status, and nothing is lost."""

import errno

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.proto import voice_pb2
from intone.server.storage import atomic_write
from tests.support.rpc_status import code_of, details, failed, reason_of, status_of
from tests.support.voice_server import recording, upload, voice_server

CLIP = voice_pb2.FillerClip(text="Hm!", language="en", audio=recording(400))


async def voices_of(server) -> list[voice_pb2.Voice]:
    return list((await server.voices.ListVoices(voice_pb2.ListVoicesRequest())).voices)


@pytest.mark.parametrize(
    ("number", "code", "reason", "words"),
    [
        (errno.ENOSPC, StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL", "the server's disk is full: nothing was changed"),
        (errno.EDQUOT, StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL", "the server's disk is full: nothing was changed"),
        (errno.EROFS, StatusCode.INTERNAL, "STORAGE_FAILED", "the server cannot write its folder of voices (broken)"),
        (errno.EIO, StatusCode.INTERNAL, "STORAGE_FAILED", "the server cannot write its folder of voices (broken)"),
    ],
)
@pytest.mark.parametrize("at", ["_flush", "commit"])
def test_a_write_that_fails(run, tmp_path, monkeypatch, number, code, reason, words, at):
    """In the middle of a file, or when it is to take the place of the old one."""

    def fail(*_):
        raise OSError(number, "broken", str(tmp_path))

    async def main():
        async with voice_server(voices=str(tmp_path)) as server:
            await server.voices.CreateVoice(upload(recording(), name="anna"))
            await server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="anna", clips=[CLIP]))
            before, files = await voices_of(server), {path.name: path.read_bytes() for path in tmp_path.iterdir()}
            with monkeypatch.context() as patch:
                patch.setattr(atomic_write if at == "_flush" else atomic_write.Replacement, at, fail)
                other = voice_pb2.FillerClip(text="Oh!", language="en", audio=recording(400))
                for change in (
                    server.voices.CreateVoice(upload(recording(), name="bob")),
                    server.voices.CreateVoice(upload(recording(1500), name="anna", replace=True)),
                    server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="anna", clips=[other])),
                    server.voices.AddFillers(voice_pb2.AddFillersRequest(voice="default", clips=[other])),
                    server.voices.RemoveFillers(voice_pb2.RemoveFillersRequest(voice="anna")),
                ):
                    status = status_of(await failed(change))
                    assert (code_of(status), reason_of(status)) == (code, reason)
                    assert words in status.message and str(tmp_path) not in status.message
                    if reason == "STORAGE_FULL":
                        retry = details(status, error_details_pb2.RetryInfo)
                        assert retry.retry_delay.ToTimedelta().total_seconds() > 0
                assert await voices_of(server) == before
                assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
            await server.voices.CreateVoice(upload(recording(), name="bob"))
            await server.voices.DeleteVoice(voice_pb2.DeleteVoiceRequest(name="bob"))
        async with voice_server(voices=str(tmp_path)) as server:
            assert await voices_of(server) == before

    run(main())
