"""The voices of a server: their description, and the calls that list, make and change them."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from intone.client.call_status import CallStatus
from intone.client.errors import from_rpc_error
from intone.client.messages import from_message
from intone.client.rpc import Rpc
from intone.proto import voice_pb2, voice_pb2_grpc

_UPLOAD_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class EngineSupport:
    """How an engine speaks with a voice: `fidelity` is "native", "cloned" or "substituted" (by the engine's own)."""

    engine: str
    fidelity: str


@dataclass(frozen=True, slots=True)
class Filler:
    """An interjection of a voice. `engine` rendered it; empty for an uploaded clip."""

    text: str
    emotion: str
    language: str
    duration_ms: int
    engine: str


@dataclass(frozen=True, slots=True)
class FillerClip:
    """A recorded interjection to upload.

    Attributes:
        text: what it says, 1 to 40 characters.
        language: BCP 47 code.
        audio: a WAV, FLAC, Ogg or MP3 file of 0.1 to 3 s, at most 1 MiB.
        emotion: name of an emotion weight, or "neutral".
    """

    text: str
    language: str
    audio: bytes
    emotion: str = "neutral"


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice.

    Attributes:
        built_in: it cannot be deleted or replaced.
        recording_ms: length of the recording; None for a built-in voice.
        transcript: words spoken in the recording; empty if they were not given, or if the voice is another's.
        create_time: when it was made, in UTC; None for a built-in voice.
        content_id: SHA-256 of recording and transcript: the same voice on two servers has the same id.
        owner: name of the caller to whom it belongs; empty if everybody may speak with it.
        shared_with: names of others who may speak with it; empty for a voice of somebody else.
    """

    name: str
    built_in: bool
    engines: tuple[EngineSupport, ...]
    recording_ms: int | None
    transcript: str
    create_time: datetime | None
    content_id: str
    fillers: tuple[Filler, ...]
    languages: tuple[str, ...]
    description: str
    labels: Mapping[str, str]
    owner: str
    shared_with: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VoiceNotice:
    """Something about a new voice: `code` such as "recording_cut"; `engine` is empty if it is about the recording."""

    code: str
    message: str
    engine: str


@dataclass(frozen=True, slots=True)
class CreatedVoice:
    """A new voice, and what could not be done."""

    voice: Voice
    notices: tuple[VoiceNotice, ...]


@dataclass(frozen=True, slots=True)
class RemovedFillers:
    """A voice after fillers were removed, and how many."""

    voice: Voice
    removed_count: int


@dataclass(frozen=True, slots=True)
class EmotionClip:
    """An uploaded recording whose emotion utterances may follow: `Emotion(clip_id=…)`."""

    clip_id: str
    duration_ms: int


_KINDS: dict[str, type] = {kind.__name__: kind for kind in (EngineSupport, Filler, Voice, VoiceNotice)}


class AsyncVoices:
    """The voices of a server, at `AsyncSpeechClient.voices`. Every method raises `IntoneError` if its call fails."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._stub = voice_pb2_grpc.VoiceServiceStub(rpc.channel)

    async def list(self) -> list[Voice]:
        """List all voices that this caller may speak with: built-in ones first, then by name."""
        voices: list[Voice] = []
        token = ""
        while True:
            page = await self._rpc.ask(self._stub.ListVoices, voice_pb2.ListVoicesRequest(page_token=token))
            voices += (_voice(voice) for voice in page.voices)
            token = page.next_page_token
            if not token:
                return voices

    async def get(self, name: str) -> Voice:
        """Get a voice by its name; `NotFound` if there is none."""
        return _voice((await self._rpc.ask(self._stub.GetVoice, voice_pb2.GetVoiceRequest(name=name))).voice)

    async def delete(self, name: str) -> None:
        """Delete a voice. Utterances that already use it are finished with it.

        `NotFound` for voices of others, `PermissionDenied` for those that everybody may speak with.
        """
        await self._rpc.ask(self._stub.DeleteVoice, voice_pb2.DeleteVoiceRequest(name=name))

    async def add_fillers(self, voice: str, clips: Sequence[FillerClip]) -> Voice:
        """Add 1 to 32 recorded fillers. They replace those that the server renders for the same emotion and language.

        Returns:
            The voice.
        """
        messages = [
            voice_pb2.FillerClip(text=clip.text, emotion=clip.emotion, language=clip.language, audio=clip.audio)
            for clip in clips
        ]
        request = voice_pb2.AddFillersRequest(voice=voice, clips=messages)
        return _voice((await self._rpc.upload(self._stub.AddFillers, request)).voice)

    async def remove_fillers(
        self, voice: str, *, emotion: str = "", language: str = "", text: str = ""
    ) -> RemovedFillers:
        """Remove uploaded fillers: those that match everything that is given; all if nothing is."""
        request = voice_pb2.RemoveFillersRequest(voice=voice, emotion=emotion, language=language, text=text)
        answer = await self._rpc.ask(self._stub.RemoveFillers, request)
        return from_message(RemovedFillers, answer, _KINDS)

    async def share(self, name: str, shared_with: Sequence[str]) -> Voice:
        """Say who may see a voice of one's own and speak with it.

        Args:
            name: of the voice.
            shared_with: names of callers, as in `Voice.owner`, in place of those before; empty to share it no more.

        Returns:
            The voice.
        """
        request = voice_pb2.ShareVoiceRequest(name=name, shared_with=shared_with)
        return _voice((await self._rpc.ask(self._stub.ShareVoice, request)).voice)

    async def upload_emotion_clip(self, clip: Path | str | bytes) -> EmotionClip:
        """Upload a recording whose emotion utterances may follow.

        Args:
            clip: a WAV, FLAC, Ogg or MP3 file with 0.5 to 30 s of speech, or its bytes.

        Raises:
            OSError: the file cannot be read.
        """
        audio = clip if isinstance(clip, bytes) else await asyncio.to_thread(Path(clip).read_bytes)
        request = voice_pb2.UploadEmotionClipRequest(audio=audio)
        return from_message(EmotionClip, await self._rpc.upload(self._stub.UploadEmotionClip, request), _KINDS)

    async def create(
        self,
        recording: Path,
        name: str,
        *,
        transcript: str = "",
        replace: bool = False,
        languages: Sequence[str] = (),
        description: str = "",
        labels: Mapping[str, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CreatedVoice:
        """Create a voice from a recording.

        Args:
            recording: a WAV, FLAC, Ogg or MP3 file with one speaker.
            name: 1 to 64 letters and digits of any script, "-", "_" and "."; a letter or digit first.
            transcript: the text spoken in the recording. It makes the voice more similar to the recording.
            replace: replace an existing voice of that name instead of failing with `AlreadyExists`.
            languages: BCP 47 codes of the languages for which the voice is meant, at most 16.
            description: what the voice is like, at most 500 characters.
            labels: at most 16 of your own.
            progress: called with (bytes sent, total bytes) during the upload.

        Raises:
            OSError: the file cannot be read.
            FailedPrecondition: there are as many voices, or bytes of them, as there may be (TOO_MANY_VOICES).
            Overloaded: as many recordings are being uploaded as may be (UPLOADS_EXHAUSTED).
        """
        config = voice_pb2.VoiceConfig(
            name=name,
            transcript=transcript,
            replace=replace,
            languages=languages,
            description=description,
            labels=labels,
        )
        answer = await self._rpc.retried(lambda: self._create(config, recording, progress))
        return from_message(CreatedVoice, answer, _KINDS)

    async def _create(
        self, config: voice_pb2.VoiceConfig, recording: Path, progress: Callable[[int, int], None] | None
    ) -> Any:
        upload = _Upload(await asyncio.to_thread(recording.open, "rb"), config, progress)
        call = self._stub.CreateVoice(
            upload.requests(), metadata=self._rpc.metadata, timeout=self._rpc.upload_timeout_s
        )
        status = CallStatus(call)
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            await status.settle()  # if the server refuses during the upload, `error` may be that of a write
            raise status.failure() or from_rpc_error(error) from error
        except asyncio.CancelledError:
            if upload.failure is not None:  # gRPC cancels a call whose requests end so
                raise upload.failure from None
            raise


def _voice(message: Any) -> Voice:
    return from_message(Voice, message, _KINDS)


class _Upload:
    """The requests that create a voice, and why they ended early (`failure`), which gRPC tells nobody."""

    def __init__(
        self, file: BinaryIO, config: voice_pb2.VoiceConfig, progress: Callable[[int, int], None] | None
    ) -> None:
        self._file, self._config, self._progress = file, config, progress
        self.failure: Exception | None = None

    async def requests(self) -> AsyncGenerator[voice_pb2.CreateVoiceRequest, None]:
        """The config, then the file in pieces, read outside of the event loop. Closes the file."""
        try:
            size_bytes, sent_bytes = os.fstat(self._file.fileno()).st_size, 0
            yield voice_pb2.CreateVoiceRequest(config=self._config)
            while chunk := await asyncio.to_thread(self._file.read, _UPLOAD_CHUNK_BYTES):
                yield voice_pb2.CreateVoiceRequest(audio=chunk)
                sent_bytes += len(chunk)
                if self._progress is not None:
                    self._progress(sent_bytes, size_bytes)
        except Exception as failure:
            self.failure = failure
            raise
        finally:
            self._file.close()
