"""VoiceService over gRPC: creates voices from uploaded recordings, lists and deletes them, and takes their fillers and
recordings of emotions.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from intone.proto import voice_pb2, voice_pb2_grpc
from intone.server.audio.recordings import MAX_EMOTION_CLIP_MS, MIN_EMOTION_CLIP_MS, SoundData, to_flac
from intone.server.config import Config
from intone.server.domain import Filler, Recording, Voice, VoiceNotice
from intone.server.errors import CallerError, Reason
from intone.server.rpc import voice_access, voice_requests
from intone.server.rpc.caller import principal
from intone.server.rpc.quotas import caller_of
from intone.server.rpc.rpc_errors import errors_as_status
from intone.server.rpc.uploads import Upload, Uploads
from intone.server.rpc.voice_requests import NewFiller, NewVoice, decoded, filler_of
from intone.server.rpc.voice_responses import notice_message, voice_message
from intone.server.runtime.recording_reader import RecordingReader
from intone.server.runtime.thread_pools import ThreadPools
from intone.server.runtime.worker import Worker
from intone.server.voices.background_rendering import BackgroundRenderer
from intone.server.voices.emotion_clips import EmotionClips, check_size
from intone.server.voices.enrolment import Normalize, as_spoken, normalize_on_thread, notices_of, prepare
from intone.server.voices.fillers import with_clips, without_clips
from intone.server.voices.store import VoiceStore, build_voice
from intone.server.voices.voice_name import check_name

logger = logging.getLogger(__name__)
audit = logging.getLogger("intone.server.audit")
"""Who has changed what, one line for each change."""

MAX_PAGE_BYTES = 1 << 20
"""A page ends where it would become larger, so that it is below any client's limit on the size of messages."""

VOICES_IN_A_ROW = 10
"""Of a page, before other work goes on: one with many fillers takes a quarter of a millisecond."""

MAX_FILLER_CLIPS_PER_VOICE = 256


class VoiceService(voice_pb2_grpc.VoiceServiceServicer):
    """The methods of `intone.v1.VoiceService`."""

    def __init__(
        self,
        config: Config,
        store: VoiceStore,
        workers: Mapping[str, Worker],
        clips: EmotionClips,
        pools: ThreadPools,
        background_renderer: BackgroundRenderer | None = None,
        normalize: Normalize = normalize_on_thread,
    ) -> None:
        """Set up.

        Args:
            config: settings.
            store: the voices.
            workers: the loaded engines by name.
            clips: where uploaded emotion clips are kept.
            pools: threads for what takes long.
            background_renderer: renders what new voices lack; without one they stay without fillers.
            normalize: reads transcripts.
        """
        self._config, self._store, self._workers, self._clips = config, store, workers, clips
        self._background_renderer, self._normalize, self._pools = background_renderer, normalize, pools
        self._reader = RecordingReader(config, pools.decoding)
        self._uploads = Uploads(config, pools.disk, self._check_possible)
        self._preparing = asyncio.Lock()
        self._saving: set[asyncio.Task[Voice]] = set()

    def drain(self) -> None:
        """Refuse new uploads, and end those that are still being received."""
        self._uploads.drain()

    def close(self) -> None:
        """End what is under way in other processes."""
        self._reader.close()

    # ---- voices

    async def ListVoices(self, request: Any, context: Any) -> voice_pb2.ListVoicesResponse:
        """One page of the voices."""
        async with errors_as_status(context):
            request = decoded(request)
            size, after = voice_requests.page_size(request), voice_requests.page_position(request)
            voices = [voice for voice in self._store.list() if voice_access.sees(principal(), voice)]
            return await self._page(size, [voice for voice in voices if after is None or _position(voice) > after])
        raise AssertionError("abort always raises")

    async def GetVoice(self, request: Any, context: Any) -> voice_pb2.GetVoiceResponse:
        """One voice."""
        async with errors_as_status(context):
            return voice_pb2.GetVoiceResponse(voice=self._message(self._named(decoded(request).name, "name")))
        raise AssertionError("abort always raises")

    async def DeleteVoice(self, request: Any, context: Any) -> voice_pb2.DeleteVoiceResponse:
        """Delete a voice."""
        async with errors_as_status(context):
            voice = self._named(decoded(request).name, "name")
            await self._pools.disk.run(self._store.delete, voice.name, voice_access.changing(principal(), "name"))
            _audit("deleted", voice)
            return voice_pb2.DeleteVoiceResponse()
        raise AssertionError("abort always raises")

    async def ShareVoice(self, request: Any, context: Any) -> voice_pb2.ShareVoiceResponse:
        """Say who else may speak with a voice."""
        async with errors_as_status(context):
            voice = self._changeable(decoded(request).name, "name")
            names = voice_requests.shared_with(request)
            if not voice.owner:
                message = f"{voice.name!r} belongs to nobody in particular: everybody may speak with it"
                raise CallerError("name", message)
            given = await self._updated(voice, lambda now: dataclasses.replace(now, shared_with=names), "name")
            _audit(f"shared with {len(names)} callers", given)
            return voice_pb2.ShareVoiceResponse(voice=self._message(given))
        raise AssertionError("abort always raises")

    async def CreateVoice(self, request_iterator: AsyncIterator[Any], context: Any) -> voice_pb2.CreateVoiceResponse:
        """Create a voice from a recording."""
        async with errors_as_status(context):
            async with self._uploads.received(request_iterator, caller_of(context)) as upload:
                recording = await self._recording(upload)
                try:
                    voice, notices = await self._created(upload.new, recording)
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
            voice = self._changeable(decoded(request).voice, "voice")
            clips = await self._fillers(voice_requests.new_fillers(request.clips))
            given = await self._update_fillers(voice, lambda now: self._with_clips(now, clips))
            _audit(f"added {len(clips)} fillers to", given)
            return voice_pb2.AddFillersResponse(voice=self._message(given))
        raise AssertionError("abort always raises")

    async def RemoveFillers(self, request: Any, context: Any) -> voice_pb2.RemoveFillersResponse:
        """Remove uploaded fillers from a voice."""
        async with errors_as_status(context):
            voice = self._changeable(decoded(request).voice, "voice")
            chosen = voice_requests.filler_filter(request)
            count = 0

            def change(now: Voice) -> Voice:
                nonlocal count
                kept = without_clips(now, chosen.emotion, chosen.language, chosen.text)
                count = len(now.fillers) - len(kept.fillers)
                return kept

            given = await self._update_fillers(voice, change)
            _audit(f"removed {count} fillers from", given)
            return voice_pb2.RemoveFillersResponse(voice=self._message(given), removed_count=count)
        raise AssertionError("abort always raises")

    async def UploadEmotionClip(self, request: Any, context: Any) -> voice_pb2.UploadEmotionClipResponse:
        """Keep a recording whose emotion utterances may follow."""
        async with errors_as_status(context):
            data = bytes(decoded(request).audio)
            check_size(data)
            if not any(worker.info.voices_emotion for worker in self._workers.values()):
                message = "no loaded engine voices emotion, so that none can follow a recording"
                raise CallerError("", message, Reason.UNSUPPORTED)
            owner = caller_of(context)
            (clip,) = await self._reader.read([SoundData(data)], min_ms=MIN_EMOTION_CLIP_MS, max_ms=MAX_EMOTION_CLIP_MS)
            # Decoded only here: engines are given a file that this server has made.
            clip_id = await self._pools.decoding.run(lambda: self._clips.add(data, to_flac(clip), owner))
            duration_ms = clip.duration_ms
            logger.info("emotion clip of %d bytes, %d ms, added", len(data), duration_ms)
            return voice_pb2.UploadEmotionClipResponse(clip_id=clip_id, duration_ms=duration_ms)
        raise AssertionError("abort always raises")

    # ---- parts of the methods

    async def _page(self, size: int, voices: list[Voice]) -> voice_pb2.ListVoicesResponse:
        """The first of `voices` as a page: at most `size` of them, and at most `MAX_PAGE_BYTES` or one voice."""
        page = voice_pb2.ListVoicesResponse()
        page_bytes = 0
        for count, voice in enumerate(voices):
            if count % VOICES_IN_A_ROW == 0:
                await asyncio.sleep(0)
            message = self._message(voice)
            page_bytes += message.ByteSize()
            if count == size or (count and page_bytes > MAX_PAGE_BYTES):
                page.next_page_token = voice_requests.page_token(_position(voices[count - 1]))
                break
            page.voices.append(message)
        return page

    async def _created(self, new: NewVoice, recording: Recording) -> tuple[Voice, list[VoiceNotice]]:
        """The voice of an upload, or the same one that exists already; and what its maker should know."""
        made = await self._pools.decoding.run(build_voice, new.name, recording, {}, time.time())
        spoken = await as_spoken(recording, next(iter(new.languages), ""), self._normalize)
        permitted = voice_access.naming(principal(), new.replace, "name")
        same = self._store.taken(made.name, made.content_id, new.replace, permitted=permitted)
        if same is not None:
            return same, [*spoken.notices, *notices_of(same, self._workers)]
        async with self._preparing:  # one at a time, since preparing competes with speech
            prepared, notices = await prepare(spoken, self._workers)
        made = dataclasses.replace(
            made,
            prepared=prepared,
            languages=new.languages,
            description=new.description,
            labels=new.labels,
            owner=voice_access.owner_of_new(principal()),
        )
        saving = asyncio.create_task(self._saved(made, new.replace), name=f"saving voice {made.name}")
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)
        return await asyncio.shield(saving), [*spoken.notices, *notices]  # a caller that leaves does not stop it

    async def _saved(self, made: Voice, replace: bool) -> Voice:
        """The voice as it is stored, with what follows from it being there."""
        permitted = voice_access.naming(principal(), replace, "name")
        stored = await self._pools.disk.run(self._store.add, made, replace, permitted)
        if stored.created_s == made.created_s:  # else the same one was there
            _audit("created", stored)
            self._render(stored.name)
        return stored

    async def _update_fillers(self, voice: Voice, change: Callable[[Voice], Voice]) -> Voice:
        """The voice with its fillers changed, as `_updated`."""
        given = await self._updated(voice, change, "voice")
        self._render(given.name)
        return given

    async def _updated(self, voice: Voice, change: Callable[[Voice], Voice], field: str) -> Voice:
        """The voice with a change.

        Raises:
            CallerError: it was deleted or replaced meanwhile (VOICE_CHANGED).
        """
        given = await self._pools.disk.run(self._store.update_assets, voice, change)
        if given is None:
            message = f"{voice.name!r} was deleted or replaced meanwhile; send again"
            raise CallerError(field, message, Reason.VOICE_CHANGED)
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

    async def _recording(self, upload: Upload) -> Recording:
        config, data = self._config, await self._pools.disk.run(upload.read)
        limits = {"min_ms": config.min_recording_ms, "max_ms": config.max_recording_ms}
        (recording,) = await self._reader.read([SoundData(data, transcript=upload.new.transcript)], **limits)
        return recording

    async def _fillers(self, new: Sequence[NewFiller]) -> list[Filler]:
        limits = {"min_ms": voice_requests.MIN_FILLER_CLIP_MS, "max_ms": voice_requests.MAX_FILLER_CLIP_MS}
        recordings = await self._reader.read([one.sound for one in new], **limits)
        return await self._pools.decoding.run(lambda: list(map(filler_of, new, recordings)))

    def _check_possible(self, new: NewVoice) -> None:
        """Refuse, before the recording is received, what no recording could make possible."""
        who = principal()
        permitted = voice_access.naming(who, new.replace, "config.name")
        self._store.taken(new.name, None, new.replace, "config.name", permitted)
        self._store.check_room(new.name, voice_access.owner_of_new(who))
        if not any(worker.info.clones_voices for worker in self._workers.values()):
            message = f"no loaded engine can clone a voice: {', '.join(self._workers)}"
            raise CallerError("", message, Reason.CLONING_UNAVAILABLE)

    def _named(self, name: str, field: str) -> Voice:
        """The voice of a name of valid form: errors repeat it, and the trailers of a call hold only a few kB."""
        return voice_access.find(self._store, check_name(name, field), principal(), field)

    def _changeable(self, name: str, field: str) -> Voice:
        """The voice of a name, which the caller may change."""
        voice = self._named(name, field)
        voice_access.changing(principal(), field)(voice)
        return voice

    def _message(self, voice: Voice) -> voice_pb2.Voice:
        return voice_message(voice, self._workers, private=voice_access.owns(principal(), voice))


def _position(voice: Voice) -> voice_requests.PagePosition:
    return not voice.built_in, voice.name


def _audit(done: str, voice: Voice) -> None:
    """Log who has changed a voice."""
    audit.info("%s %s voice %s", principal().name or "anonymous", done, voice.name)
