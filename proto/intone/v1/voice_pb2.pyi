import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VoiceNoticeCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOICE_NOTICE_CODE_UNSPECIFIED: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_ENGINE_WITHOUT_VOICE: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_RECORDING_CUT: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_RECORDING_INCOMPLETE: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_RECORDING_ENDS_ABRUPTLY: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_RECORDING_QUIET: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_CHANNELS_CANCEL: _ClassVar[VoiceNoticeCode]
    VOICE_NOTICE_CODE_TRANSCRIPT_MISMATCH: _ClassVar[VoiceNoticeCode]

class VoiceFidelity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOICE_FIDELITY_UNSPECIFIED: _ClassVar[VoiceFidelity]
    VOICE_FIDELITY_NATIVE: _ClassVar[VoiceFidelity]
    VOICE_FIDELITY_CLONED: _ClassVar[VoiceFidelity]
    VOICE_FIDELITY_SUBSTITUTED: _ClassVar[VoiceFidelity]
VOICE_NOTICE_CODE_UNSPECIFIED: VoiceNoticeCode
VOICE_NOTICE_CODE_ENGINE_WITHOUT_VOICE: VoiceNoticeCode
VOICE_NOTICE_CODE_RECORDING_CUT: VoiceNoticeCode
VOICE_NOTICE_CODE_RECORDING_INCOMPLETE: VoiceNoticeCode
VOICE_NOTICE_CODE_RECORDING_ENDS_ABRUPTLY: VoiceNoticeCode
VOICE_NOTICE_CODE_RECORDING_QUIET: VoiceNoticeCode
VOICE_NOTICE_CODE_CHANNELS_CANCEL: VoiceNoticeCode
VOICE_NOTICE_CODE_TRANSCRIPT_MISMATCH: VoiceNoticeCode
VOICE_FIDELITY_UNSPECIFIED: VoiceFidelity
VOICE_FIDELITY_NATIVE: VoiceFidelity
VOICE_FIDELITY_CLONED: VoiceFidelity
VOICE_FIDELITY_SUBSTITUTED: VoiceFidelity

class ListVoicesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListVoicesResponse(_message.Message):
    __slots__ = ("voices", "next_page_token")
    VOICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    voices: _containers.RepeatedCompositeFieldContainer[Voice]
    next_page_token: str
    def __init__(self, voices: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetVoiceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetVoiceResponse(_message.Message):
    __slots__ = ("voice",)
    VOICE_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ...) -> None: ...

class CreateVoiceRequest(_message.Message):
    __slots__ = ("config", "audio")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    config: VoiceConfig
    audio: bytes
    def __init__(self, config: _Optional[_Union[VoiceConfig, _Mapping]] = ..., audio: _Optional[bytes] = ...) -> None: ...

class VoiceConfig(_message.Message):
    __slots__ = ("name", "transcript", "replace", "languages", "description", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    transcript: str
    replace: bool
    languages: _containers.RepeatedScalarFieldContainer[str]
    description: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., transcript: _Optional[str] = ..., replace: bool = ..., languages: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateVoiceResponse(_message.Message):
    __slots__ = ("voice", "notices")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    notices: _containers.RepeatedCompositeFieldContainer[VoiceNotice]
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ..., notices: _Optional[_Iterable[_Union[VoiceNotice, _Mapping]]] = ...) -> None: ...

class VoiceNotice(_message.Message):
    __slots__ = ("code", "message", "engine")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    code: VoiceNoticeCode
    message: str
    engine: str
    def __init__(self, code: _Optional[_Union[VoiceNoticeCode, str]] = ..., message: _Optional[str] = ..., engine: _Optional[str] = ...) -> None: ...

class AddFillersRequest(_message.Message):
    __slots__ = ("voice", "clips")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    voice: str
    clips: _containers.RepeatedCompositeFieldContainer[FillerClip]
    def __init__(self, voice: _Optional[str] = ..., clips: _Optional[_Iterable[_Union[FillerClip, _Mapping]]] = ...) -> None: ...

class AddFillersResponse(_message.Message):
    __slots__ = ("voice",)
    VOICE_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ...) -> None: ...

class FillerClip(_message.Message):
    __slots__ = ("text", "emotion", "language", "audio")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    text: str
    emotion: str
    language: str
    audio: bytes
    def __init__(self, text: _Optional[str] = ..., emotion: _Optional[str] = ..., language: _Optional[str] = ..., audio: _Optional[bytes] = ...) -> None: ...

class RemoveFillersRequest(_message.Message):
    __slots__ = ("voice", "emotion", "language", "text")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    voice: str
    emotion: str
    language: str
    text: str
    def __init__(self, voice: _Optional[str] = ..., emotion: _Optional[str] = ..., language: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class RemoveFillersResponse(_message.Message):
    __slots__ = ("voice", "removed_count")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    removed_count: int
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ..., removed_count: _Optional[int] = ...) -> None: ...

class ShareVoiceRequest(_message.Message):
    __slots__ = ("name", "shared_with")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARED_WITH_FIELD_NUMBER: _ClassVar[int]
    name: str
    shared_with: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., shared_with: _Optional[_Iterable[str]] = ...) -> None: ...

class ShareVoiceResponse(_message.Message):
    __slots__ = ("voice",)
    VOICE_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ...) -> None: ...

class DeleteVoiceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteVoiceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UploadEmotionClipRequest(_message.Message):
    __slots__ = ("audio",)
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    def __init__(self, audio: _Optional[bytes] = ...) -> None: ...

class UploadEmotionClipResponse(_message.Message):
    __slots__ = ("clip_id", "duration_ms")
    CLIP_ID_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    clip_id: str
    duration_ms: int
    def __init__(self, clip_id: _Optional[str] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class Voice(_message.Message):
    __slots__ = ("name", "built_in", "engines", "recording_ms", "transcript", "create_time", "content_id", "fillers", "languages", "description", "labels", "owner", "shared_with")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUILT_IN_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ID_FIELD_NUMBER: _ClassVar[int]
    FILLERS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SHARED_WITH_FIELD_NUMBER: _ClassVar[int]
    name: str
    built_in: bool
    engines: _containers.RepeatedCompositeFieldContainer[EngineSupport]
    recording_ms: int
    transcript: str
    create_time: _timestamp_pb2.Timestamp
    content_id: str
    fillers: _containers.RepeatedCompositeFieldContainer[Filler]
    languages: _containers.RepeatedScalarFieldContainer[str]
    description: str
    labels: _containers.ScalarMap[str, str]
    owner: str
    shared_with: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., built_in: bool = ..., engines: _Optional[_Iterable[_Union[EngineSupport, _Mapping]]] = ..., recording_ms: _Optional[int] = ..., transcript: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content_id: _Optional[str] = ..., fillers: _Optional[_Iterable[_Union[Filler, _Mapping]]] = ..., languages: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., owner: _Optional[str] = ..., shared_with: _Optional[_Iterable[str]] = ...) -> None: ...

class EngineSupport(_message.Message):
    __slots__ = ("engine", "fidelity")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    FIDELITY_FIELD_NUMBER: _ClassVar[int]
    engine: str
    fidelity: VoiceFidelity
    def __init__(self, engine: _Optional[str] = ..., fidelity: _Optional[_Union[VoiceFidelity, str]] = ...) -> None: ...

class Filler(_message.Message):
    __slots__ = ("text", "emotion", "language", "duration_ms", "engine")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    text: str
    emotion: str
    language: str
    duration_ms: int
    engine: str
    def __init__(self, text: _Optional[str] = ..., emotion: _Optional[str] = ..., language: _Optional[str] = ..., duration_ms: _Optional[int] = ..., engine: _Optional[str] = ...) -> None: ...
