"""Lists, creates and deletes the voices of a server."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from intone.client.call_status import CallStatus
from intone.client.connection import RPC_TIMEOUT_S
from intone.client.errors import from_rpc_error
from intone.proto import voice_pb2, voice_pb2_grpc

_UPLOAD_CHUNK_BYTES = 64 * 1024

Metadata = Sequence[tuple[str, str]]


class Voices:
    """The voices of a server, at `SpeechClient.voices`. Every method raises `IntoneCallError` if its call fails."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = voice_pb2_grpc.VoiceServiceStub(channel)
        self._metadata = metadata

    async def list(self) -> list[voice_pb2.Voice]:
        """List all voices: built-in ones first, then by name."""
        return [*(await self._ask(self._stub.ListVoices, voice_pb2.ListVoicesRequest())).voices]

    async def get(self, name: str) -> voice_pb2.Voice:
        """Get a voice by its name."""
        return (await self._ask(self._stub.GetVoice, voice_pb2.GetVoiceRequest(name=name))).voice  # type: ignore[no-any-return]

    async def delete(self, name: str) -> None:
        """Delete a voice. Utterances that already use it are finished with it."""
        await self._ask(self._stub.DeleteVoice, voice_pb2.DeleteVoiceRequest(name=name))

    async def add_fillers(self, name: str, clips: Sequence[voice_pb2.FillerClip]) -> voice_pb2.Voice:
        """Add recorded fillers to a voice. They replace those for the same emotion and language."""
        request = voice_pb2.AddFillersRequest(name=name, clips=clips)
        return (await self._ask(self._stub.AddFillers, request)).voice  # type: ignore[no-any-return]

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=RPC_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def create(
        self,
        recording: Path,
        name: str,
        *,
        transcript: str = "",
        replace: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> voice_pb2.CreateVoiceResponse:
        """Create a voice from a recording.

        Args:
            recording: a WAV, FLAC or Ogg file with one speaker.
            transcript: the text spoken in the recording. It makes the voice more similar to the recording.
            replace: replace an existing voice of that name instead of failing with ALREADY_EXISTS.
            progress: called with (bytes sent, total bytes) during the upload.

        Returns:
            The voice, and warnings about what could not be done.

        Raises:
            OSError: the file cannot be read.
        """
        config = voice_pb2.VoiceConfig(name=name, transcript=transcript, replace=replace)
        with (
            recording.open("rb") as file,
            closing(_upload(file, recording.stat().st_size, config, progress)) as requests,
        ):
            call = self._stub.CreateVoice(requests, metadata=self._metadata)
            status = CallStatus(call)
            try:
                return await call  # type: ignore[no-any-return]
            except grpc.aio.AioRpcError as error:
                await status.settle()  # if the server refuses during the upload, `error` may be that of a write
                raise status.failure() or from_rpc_error(error) from error


def _upload(
    file: BinaryIO, size_bytes: int, config: voice_pb2.VoiceConfig, progress: Callable[[int, int], None] | None
) -> Generator[voice_pb2.CreateVoiceRequest, None, None]:
    yield voice_pb2.CreateVoiceRequest(config=config)
    sent_bytes = 0
    while chunk := file.read(_UPLOAD_CHUNK_BYTES):
        yield voice_pb2.CreateVoiceRequest(audio=chunk)
        sent_bytes += len(chunk)
        if progress is not None:
            progress(sent_bytes, size_bytes)
