"""VoiceService over gRPC: creates voices from uploaded recordings, lists and deletes them, and takes their fillers and
recordings of emotions.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from intone.proto import voice_pb2, voice_pb2_grpc
from intone.server.audio.recordings import read_recording
from intone.server.config import Config
from intone.server.domain import Filler, Recording, Voice, VoiceNotice
from intone.server.errors import CallerError, Reason
from intone.server.rpc import voice_requests
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.voice_requests import NewVoice, decoded
from intone.server.rpc.voice_responses import notice_message, voice_message
from intone.server.runtime.worker import Worker
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.emotion_clips import EmotionClips, clip_duration_ms
from intone.server.voices.enrolment import Normalize, as_spoken, normalize_on_thread, notices_of, prepare
from intone.server.voices.fillers import with_clips, without_clips
from intone.server.voices.store import VoiceStore, build_voice
from intone.server.voices.voice_name import check_name

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES = 1 << 20
"""A page ends where it would become larger, so that it is below any client's limit on the size of messages."""

MAX_FILLER_CLIPS_PER_VOICE = 256


class VoiceService(voice_pb2_grpc.VoiceServiceServicer):
    """The methods of `intone.v1.VoiceService`."""

    def __init__(
        self,
        config: Config,
        store: VoiceStore,
        workers: Mapping[str, Worker],
        clips: EmotionClips,
        background_renderer: BackgroundRenderer | None = None,
        normalize: Normalize = normalize_on_thread,
    ) -> None:
        """Set up.

        Args:
            config: settings.
            store: the voices.
            workers: the loaded engines by name.
            clips: where uploaded emotion clips are kept.
            background_renderer: renders what new voices lack; without one they stay without fillers.
            normalize: reads transcripts.
        """
        self._config, self._store, self._workers, self._clips = config, store, workers, clips
        self._background_renderer, self._normalize = background_renderer, normalize

    # ---- voices

    async def ListVoices(self, request: Any, context: Any) -> voice_pb2.ListVoicesResponse:
        """One page of the voices."""
        async with errors_as_status(context):
            request = decoded(request)
            size, after = voice_requests.page_size(request), voice_requests.page_position(request)
            voices = self._store.list()
            return self._page(size, [voice for voice in voices if after is None or _position(voice) > after])
        raise AssertionError("abort always raises")

    async def GetVoice(self, request: Any, context: Any) -> voice_pb2.GetVoiceResponse:
        """One voice."""
        async with errors_as_status(context):
            return voice_pb2.GetVoiceResponse(voice=self._message(self._named(decoded(request).name, "name")))
        raise AssertionError("abort always raises")

    async def DeleteVoice(self, request: Any, context: Any) -> voice_pb2.DeleteVoiceResponse:
        """Delete a voice."""
        async with errors_as_status(context):
            await asyncio.to_thread(self._store.delete, check_name(decoded(request).name))
            return voice_pb2.DeleteVoiceResponse()
        raise AssertionError("abort always raises")

    async def CreateVoice(self, request_iterator: AsyncIterator[Any], context: Any) -> voice_pb2.CreateVoiceResponse:
        """Create a voice from a recording."""
        async with errors_as_status(context):
            new, data = await self._upload(request_iterator)
            recording = await asyncio.to_thread(self._recording, data, new.transcript)
            try:
                voice, notices = await self._created(new, recording)
            except CallerError as error:  # engines and the store name the field without the message around it
                raise (error.under("config") if error.field in ("name", "transcript") else error) from None
            return voice_pb2.CreateVoiceResponse(
                voice=self._message(voice), notices=[notice_message(one) for one in notices]
            )
        raise AssertionError("abort always raises")

    # ---- fillers and clips

    async def AddFillers(self, request: Any, context: Any) -> voice_pb2.AddFillersResponse:
        """Add uploaded fillers to a voice."""
        async with errors_as_status(context):
            voice = self._named(decoded(request).voice, "voice")
            clips = await asyncio.to_thread(voice_requests.filler_clips, request.clips)
            given = await self._update_fillers(voice, lambda now: self._with_clips(now, clips))
            logger.info("voice %s: added %d fillers", given.name, len(clips))
            return voice_pb2.AddFillersResponse(voice=self._message(given))
        raise AssertionError("abort always raises")

    async def RemoveFillers(self, request: Any, context: Any) -> voice_pb2.RemoveFillersResponse:
        """Remove uploaded fillers from a voice."""
        async with errors_as_status(context):
            voice = self._named(decoded(request).voice, "voice")
            chosen = voice_requests.filler_filter(request)
            count = 0

            def change(now: Voice) -> Voice:
                nonlocal count
                kept = without_clips(now, chosen.emotion, chosen.language, chosen.text)
                count = len(now.fillers) - len(kept.fillers)
                return kept

            given = await self._update_fillers(voice, change)
            logger.info("voice %s: removed %d fillers", given.name, count)
            return voice_pb2.RemoveFillersResponse(voice=self._message(given), removed_count=count)
        raise AssertionError("abort always raises")

    async def UploadEmotionClip(self, request: Any, context: Any) -> voice_pb2.UploadEmotionClipResponse:
        """Keep a recording whose emotion utterances may follow."""
        async with errors_as_status(context):
            data = bytes(decoded(request).audio)
            duration_ms = await asyncio.to_thread(clip_duration_ms, data)
            clip_id = await asyncio.to_thread(self._clips.add, data)
            logger.info("emotion clip of %d bytes, %d ms, added", len(data), duration_ms)
            return voice_pb2.UploadEmotionClipResponse(clip_id=clip_id, duration_ms=duration_ms)
        raise AssertionError("abort always raises")

    # ---- parts of the methods

    def _page(self, size: int, voices: list[Voice]) -> voice_pb2.ListVoicesResponse:
        """The first of `voices` as a page: at most `size` of them, and at most `MAX_PAGE_BYTES` or one voice."""
        page = voice_pb2.ListVoicesResponse()
        page_bytes = 0
        for count, voice in enumerate(voices):
            message = self._message(voice)
            page_bytes += message.ByteSize()
            if count == size or (count and page_bytes > MAX_PAGE_BYTES):
                page.next_page_token = voice_requests.page_token(_position(voices[count - 1]))
                break
            page.voices.append(message)
        return page

    async def _created(self, new: NewVoice, recording: Recording) -> tuple[Voice, list[VoiceNotice]]:
        """The voice of an upload, or the same one that exists already; and what its maker should know."""
        made = await asyncio.to_thread(build_voice, new.name, recording, {}, time.time())
        spoken = await as_spoken(recording, next(iter(new.languages), ""), self._normalize)
        same = self._store.taken(made.name, made.content_id, new.replace)
        if same is not None:
            return same, [*spoken.notices, *notices_of(same, self._workers)]
        prepared, notices = await prepare(spoken, self._workers)
        made = dataclasses.replace(
            made, prepared=prepared, languages=new.languages, description=new.description, labels=new.labels
        )
        stored = await asyncio.to_thread(self._store.add, made, new.replace)
        if stored is made:
            logger.info("voice %s created from %d ms, for %s", made.name, recording.duration_ms, ", ".join(prepared))
            self._render(made.name)
        return stored, [*spoken.notices, *notices]

    async def _update_fillers(self, voice: Voice, change: Callable[[Voice], Voice]) -> Voice:
        """The voice with its fillers changed.

        Raises:
            CallerError: it was deleted or replaced meanwhile (VOICE_CHANGED).
        """
        given = await asyncio.to_thread(self._store.update_assets, voice, change)
        if given is None:
            message = f"{voice.name!r} was deleted or replaced meanwhile; send again"
            raise CallerError("voice", message, Reason.VOICE_CHANGED)
        self._render(given.name)
        return given

    def _render(self, name: str) -> None:
        if self._background_renderer is not None:
            self._background_renderer.voice_added(name)

    def _with_clips(self, voice: Voice, clips: list[Filler]) -> Voice:
        made = with_clips(voice, clips)
        count = sum(1 for filler in made.fillers if not filler.engine)
        if count > MAX_FILLER_CLIPS_PER_VOICE:
            message = f"the voice would have {count} clips; it takes {MAX_FILLER_CLIPS_PER_VOICE}"
            raise CallerError("clips", message, Reason.TOO_MANY_FILLERS, limit=MAX_FILLER_CLIPS_PER_VOICE)
        return made if self._background_renderer is None else self._background_renderer.loudness_matched(made)

    def _recording(self, data: bytes, transcript: str) -> Recording:
        config = self._config
        return read_recording(data, transcript, min_ms=config.min_recording_ms, max_ms=config.max_recording_ms)

    async def _upload(self, messages: AsyncIterator[Any]) -> tuple[NewVoice, bytes]:
        """What is said about a new voice, and the bytes of its recording's file."""
        new, pieces, size = None, [], 0
        limit = self._config.max_recording_bytes
        async for message in messages:
            if new is None:
                new = voice_requests.first_upload_message(decoded(message))
                self._check_possible(new)
                continue
            piece = voice_requests.later_upload_message(decoded(message))
            size += len(piece)
            if size > limit:
                text = f"has more than {limit} bytes, the maximum of this server"
                raise CallerError("audio", text, Reason.UPLOAD_TOO_LARGE, limit=limit)
            pieces.append(piece)
        if new is None:
            raise CallerError("config", "must come first, but the upload was empty", Reason.CONFIG_MISSING)
        return new, b"".join(pieces)

    def _check_possible(self, new: NewVoice) -> None:
        """Refuse, before the recording is received, what no recording could make possible."""
        self._store.taken(new.name, None, new.replace, "config.name")
        if not any(worker.info.clones_voices for worker in self._workers.values()):
            message = f"no loaded engine can clone a voice: {', '.join(self._workers)}"
            raise CallerError("", message, Reason.CLONING_UNAVAILABLE)

    def _named(self, name: str, field: str) -> Voice:
        """The voice of a name of valid form: errors repeat it, and the trailers of a call hold only a few kB."""
        return self._store.get(check_name(name, field), field)

    def _message(self, voice: Voice) -> voice_pb2.Voice:
        return voice_message(voice, self._workers)


def _position(voice: Voice) -> voice_requests.PagePosition:
    return not voice.built_in, voice.name
