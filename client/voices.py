"""The voices of a server: list, make, remove. Knows files and progress, nothing of speech."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from intone.client.connection import ANSWER_S
from intone.client.ending import Ending
from intone.client.errors import from_rpc_error
from intone.proto import voice_pb2, voice_pb2_grpc

_PIECE_BYTES = 64 * 1024

Metadata = Sequence[tuple[str, str]]


class Voices:
    """Voices of one server; found at `SpeechClient.voices`. Every method raises `IntoneCallError`."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._stub = voice_pb2_grpc.VoiceServiceStub(channel)
        self._metadata = metadata

    async def list(self) -> list[voice_pb2.Voice]:
        """Every voice: built-in ones first, then by name."""
        return [*(await self._ask(self._stub.ListVoices, voice_pb2.ListVoicesRequest())).voices]

    async def get(self, name: str) -> voice_pb2.Voice:
        """One voice, by name."""
        return (await self._ask(self._stub.GetVoice, voice_pb2.GetVoiceRequest(name=name))).voice  # type: ignore[no-any-return]

    async def delete(self, name: str) -> None:
        """Delete a voice; utterances that already use it finish with it."""
        await self._ask(self._stub.DeleteVoice, voice_pb2.DeleteVoiceRequest(name=name))

    async def add_fillers(self, name: str, clips: Sequence[voice_pb2.FillerClip]) -> voice_pb2.Voice:
        """Give a voice interjections of its own, in place of those for the same emotion and language."""
        request = voice_pb2.AddFillersRequest(name=name, clips=clips)
        return (await self._ask(self._stub.AddFillers, request)).voice  # type: ignore[no-any-return]

    async def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=ANSWER_S)
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
        """Make a voice from a WAV, FLAC or Ogg file.

        Args:
            transcript: the words spoken in the recording; with them the likeness is closest.
            replace: take the place of a voice of that name instead of failing.
            progress: told (bytes sent, bytes in all) as the upload goes on.

        Returns:
            The voice, and in words what could not be done.

        Raises:
            OSError: the file cannot be read.
        """
        config = voice_pb2.VoiceConfig(name=name, transcript=transcript, replace=replace)
        with recording.open("rb") as file, closing(_upload(file, recording.stat().st_size, config, progress)) as pieces:
            call = self._stub.CreateVoice(pieces, metadata=self._metadata)
            ending = Ending(call)
            try:
                return await call  # type: ignore[no-any-return]
            except grpc.aio.AioRpcError as error:
                await ending.settle()  # a refusal meets an upload on its way: the error may be that of a write
                raise ending.failure() or from_rpc_error(error) from error


def _upload(
    file: BinaryIO, size_bytes: int, config: voice_pb2.VoiceConfig, progress: Callable[[int, int], None] | None
) -> Generator[voice_pb2.CreateVoiceRequest, None, None]:
    yield voice_pb2.CreateVoiceRequest(config=config)
    sent_bytes = 0
    while piece := file.read(_PIECE_BYTES):
        yield voice_pb2.CreateVoiceRequest(audio=piece)
        sent_bytes += len(piece)
        if progress is not None:
            progress(sent_bytes, size_bytes)
