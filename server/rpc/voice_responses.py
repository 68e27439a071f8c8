"""Converts voices and what belongs to them to messages for clients."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from intone.proto import voice_pb2
from intone.server.domain import Filler, Voice, VoiceNotice
from intone.server.runtime.worker import Worker


def voice_message(voice: Voice, workers: Mapping[str, Worker], *, private: bool) -> voice_pb2.Voice:
    """A voice, with how each loaded engine speaks with it. If `private`, with its transcript and who shares it."""
    message = voice_pb2.Voice(
        name=voice.name,
        built_in=voice.built_in,
        content_id=voice.content_id,
        engines=[_support(voice, name, worker) for name, worker in workers.items()],
        fillers=[_filler(filler) for filler in voice.fillers],
        languages=voice.languages,
        description=voice.description,
        labels=voice.labels,
        owner=voice.owner,
    )
    message.shared_with.extend(voice.shared_with if private else ())
    if voice.recording is not None:
        message.recording_ms = voice.recording.duration_ms
        message.transcript = voice.recording.transcript if private else ""
        created = Timestamp()
        created.FromMilliseconds(round(1000 * voice.created_s))
        message.create_time.CopyFrom(created)
    return message


def notice_message(notice: VoiceNotice) -> voice_pb2.VoiceNotice:
    """A notice about a voice."""
    code = voice_pb2.VoiceNoticeCode.Value(f"VOICE_NOTICE_CODE_{notice.code.name}")
    return voice_pb2.VoiceNotice(code=code, message=notice.message, engine=notice.engine)


def _support(voice: Voice, engine: str, worker: Worker) -> voice_pb2.EngineSupport:
    if not voice.spoken_by(engine, worker.fingerprint):
        fidelity = voice_pb2.VOICE_FIDELITY_SUBSTITUTED
    elif voice.built_in:
        fidelity = voice_pb2.VOICE_FIDELITY_NATIVE
    else:
        fidelity = voice_pb2.VOICE_FIDELITY_CLONED
    return voice_pb2.EngineSupport(engine=engine, fidelity=fidelity)


def _filler(filler: Filler) -> voice_pb2.Filler:
    return voice_pb2.Filler(
        text=filler.text,
        emotion=filler.emotion,
        language=filler.language,
        duration_ms=round(filler.duration_ms),
        engine=filler.engine,
    )
