"""VoiceService over gRPC: creates voices from uploaded recordings, lists and deletes them, adds fillers to them."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from intone.proto import emotion_pb2, voice_pb2, voice_pb2_grpc
from intone.server.audio.recordings import read_recording
from intone.server.config import Config
from intone.server.domain import EMOTIONS, Filler, Recording, Voice
from intone.server.errors import CallerError, Fault
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.runtime.worker import Worker
from intone.server.text.characters import check_text
from intone.server.voices import fillers
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.enrolment import prepare
from intone.server.voices.fillers import with_clips
from intone.server.voices.store import VoiceStore, build_voice, check_name

logger = logging.getLogger(__name__)

MAX_TRANSCRIPT_CHARACTERS = 1000
MAX_FILLER_CLIPS = 32
MAX_FILLER_CLIPS_PER_VOICE = 256
MAX_FILLER_CHARACTERS = 40
MAX_FILLER_CLIP_BYTES = 1 << 20
MIN_FILLER_CLIP_MS, MAX_FILLER_CLIP_MS = 100, 3000

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,4}")
_LABELS = {name: emotion_pb2.EmotionLabel.Value(f"EMOTION_LABEL_{name.upper()}") for name in ("neutral", *EMOTIONS)}
_EMOTIONS = {number: name for name, number in _LABELS.items()} | {emotion_pb2.EMOTION_LABEL_UNSPECIFIED: "neutral"}


class VoiceService(voice_pb2_grpc.VoiceServiceServicer):
    """The methods of `intone.v1.VoiceService`."""

    def __init__(
        self,
        config: Config,
        store: VoiceStore,
        workers: Mapping[str, Worker],
        background_renderer: BackgroundRenderer | None = None,
    ) -> None:
        """`background_renderer` renders what new voices lack; without one they stay without fillers."""
        self._config, self._store, self._workers = config, store, workers
        self._background_renderer = background_renderer

    async def ListVoices(self, request: Any, context: Any) -> voice_pb2.ListVoicesResponse:
        """Every voice."""
        return voice_pb2.ListVoicesResponse(voices=[self._message(voice) for voice in self._store.list()])

    async def GetVoice(self, request: Any, context: Any) -> voice_pb2.GetVoiceResponse:
        """One voice."""
        async with errors_as_status(context):
            return voice_pb2.GetVoiceResponse(voice=self._message(self._store.get(_named(request))))
        raise AssertionError("abort always raises")

    async def DeleteVoice(self, request: Any, context: Any) -> voice_pb2.DeleteVoiceResponse:
        """Delete a voice."""
        async with errors_as_status(context):
            await asyncio.to_thread(self._store.delete, _named(request))
            return voice_pb2.DeleteVoiceResponse()
        raise AssertionError("abort always raises")

    async def CreateVoice(self, request_iterator: AsyncIterator[Any], context: Any) -> voice_pb2.CreateVoiceResponse:
        """Create a voice from a recording."""
        async with errors_as_status(context):
            config, data = await self._upload(request_iterator)
            recording = await asyncio.to_thread(self._recording, data, config.transcript)
            try:
                prepared, warnings = await prepare(recording, self._workers)
                voice = build_voice(config.name, recording, prepared, time.time())
                await asyncio.to_thread(self._store.add, voice, config.replace)
            except CallerError as error:  # engines and the store name the field without the message around it
                raise (error.under("config") if error.field in ("name", "transcript") else error) from None
            logger.info(
                "voice %s created from %d ms, for %s",
                voice.name,
                recording.duration_ms,
                ", ".join(prepared),
            )
            if self._background_renderer is not None:
                self._background_renderer.voice_added(voice.name)
            return voice_pb2.CreateVoiceResponse(voice=self._message(voice), warnings=warnings)
        raise AssertionError("abort always raises")

    async def AddFillers(self, request: Any, context: Any) -> voice_pb2.AddFillersResponse:
        """Add uploaded fillers to a voice."""
        async with errors_as_status(context):
            voice = self._store.get(_named(request))
            if not 1 <= len(request.clips) <= MAX_FILLER_CLIPS:
                raise CallerError("clips", f"has {len(request.clips)} clips; it takes 1 to {MAX_FILLER_CLIPS}")
            clips = await asyncio.to_thread(_read_clips, request.clips)
            given = await asyncio.to_thread(self._store.update_assets, voice, lambda now: self._with_clips(now, clips))
            if given is None:
                self._store.get(voice.name)
                raise CallerError("name", f"{voice.name!r} was replaced meanwhile; send again", Fault.PRECONDITION)
            logger.info("voice %s: added %d fillers", voice.name, len(clips))
            if self._background_renderer is not None:
                self._background_renderer.voice_added(voice.name)
            return voice_pb2.AddFillersResponse(voice=self._message(given))
        raise AssertionError("abort always raises")

    def _with_clips(self, voice: Voice, clips: list[Filler]) -> Voice:
        made = with_clips(voice, clips)
        count = sum(1 for filler in made.fillers if not filler.engine)
        if count > MAX_FILLER_CLIPS_PER_VOICE:
            message = f"the voice would have {count} clips; it takes {MAX_FILLER_CLIPS_PER_VOICE}"
            raise CallerError("clips", message, Fault.QUOTA_EXCEEDED)
        return made if self._background_renderer is None else self._background_renderer.loudness_matched(made)

    def _recording(self, data: bytes, transcript: str) -> Recording:
        config = self._config
        return read_recording(data, transcript, min_ms=config.min_recording_ms, max_ms=config.max_recording_ms)

    async def _upload(self, messages: AsyncIterator[Any]) -> tuple[voice_pb2.VoiceConfig, bytes]:
        """The config and the bytes of the recording's file."""
        config, pieces, size = None, [], 0
        async for message in messages:
            kind = _decoded(message).WhichOneof("request")
            if config is None:
                if kind != "config":
                    raise CallerError("config", f"must come first, but {kind or 'an empty message'} did")
                config = self._checked(message.config)
            elif kind != "audio":
                raise CallerError(kind or "request", "only `audio` may follow the config")
            else:
                size += len(message.audio)
                if size > self._config.max_recording_bytes:
                    message = f"has more than {self._config.max_recording_bytes} bytes, the maximum of this server"
                    raise CallerError("audio", message, Fault.QUOTA_EXCEEDED)
                pieces.append(message.audio)
        if config is None:
            raise CallerError("config", "must come first, but the upload was empty")
        return config, b"".join(pieces)

    def _checked(self, config: voice_pb2.VoiceConfig) -> voice_pb2.VoiceConfig:
        """The config, checked before the recording is received."""
        check_name(config.name, "config.name")
        check_text(config.transcript, "config.transcript", MAX_TRANSCRIPT_CHARACTERS)
        taken = {voice.name: voice for voice in self._store.list()}.get(config.name)
        if taken is not None and taken.built_in:
            raise CallerError("config.name", f"{config.name!r} is built in", Fault.PRECONDITION)
        if taken is not None and not config.replace:
            message = f"a voice named {config.name!r} exists already; set `replace` to replace it"
            raise CallerError("config.name", message, Fault.EXISTS)
        if not any(worker.info.clones_voices for worker in self._workers.values()):
            message = f"no loaded engine can clone a voice: {', '.join(self._workers)}"
            raise CallerError("", message, Fault.PRECONDITION)
        return config

    def _message(self, voice: Voice) -> voice_pb2.Voice:
        """The wire message of a voice."""
        message = voice_pb2.Voice(name=voice.name, built_in=voice.built_in, content_id=voice.content_id)
        message.fillers.extend(_filler_message(filler) for filler in voice.fillers)
        if voice.recording is None:
            message.engines.extend(self._workers)
            return message
        message.engines.extend(
            name for name, worker in self._workers.items() if voice.prepared_for(name, worker.fingerprint) is not None
        )
        message.recording_ms = voice.recording.duration_ms
        message.transcript = voice.recording.transcript
        created = Timestamp()
        created.FromMilliseconds(round(1000 * voice.created_s))
        message.create_time.CopyFrom(created)
        return message


def _read_clips(clips: Sequence[voice_pb2.FillerClip]) -> list[Filler]:
    """Uploaded clips as fillers.

    Raises:
        CallerError: a clip cannot be used; names it, such as `clips[2].audio`.
    """
    made: list[Filler] = []
    said: dict[tuple[str, str, str], int] = {}
    for index, clip in enumerate(clips):
        try:
            filler = _read_clip(clip)
            first = said.setdefault((filler.text, filler.emotion, filler.language), index)
            if first != index:
                message = f"repeats clips[{first}] with the same emotion and language"
                raise CallerError("text", message)
        except CallerError as error:
            raise error.under(f"clips[{index}]") from None
        made.append(filler)
    return made


def _read_clip(clip: voice_pb2.FillerClip) -> Filler:
    check_text(clip.text, "text", MAX_FILLER_CHARACTERS)
    if not clip.text.strip():
        raise CallerError("text", f"is blank; it takes 1 to {MAX_FILLER_CHARACTERS} characters")
    if clip.emotion not in _EMOTIONS:
        raise CallerError("emotion", f"is {clip.emotion}, which is unknown to this server")
    if not _LANGUAGE.fullmatch(clip.language):
        raise CallerError("language", 'is not a BCP 47 code such as "en" or "zh-CN"')
    if len(clip.audio) > MAX_FILLER_CLIP_BYTES:
        message = f"has {len(clip.audio)} bytes; at most {MAX_FILLER_CLIP_BYTES} are taken"
        raise CallerError("audio", message, Fault.TOO_LARGE)
    recording = read_recording(clip.audio, "", min_ms=MIN_FILLER_CLIP_MS, max_ms=MAX_FILLER_CLIP_MS)
    filler = fillers.make_filler(
        clip.text, _EMOTIONS[clip.emotion], clip.language, recording.samples, recording.sample_rate_hz
    )
    if filler is None:
        raise CallerError("audio", f"holds less than {fillers.MIN_FILLER_MS} ms of sound")
    return filler


def _filler_message(filler: Filler) -> voice_pb2.Filler:
    return voice_pb2.Filler(
        text=filler.text,
        emotion=_LABELS[filler.emotion],
        language=filler.language,
        duration_ms=round(filler.duration_ms),
        engine=filler.engine,
    )


def _named(request: Any) -> str:
    """The name in a request, of valid form: errors repeat it, and the trailers of a call hold only a few kB."""
    name = str(_decoded(request).name)
    check_name(name)
    return name


def _decoded(message: Any) -> Any:
    if isinstance(message, Undecodable):
        raise message.error
    return message
