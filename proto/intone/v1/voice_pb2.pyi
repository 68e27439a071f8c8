import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from intone.v1 import emotion_pb2 as _emotion_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListVoicesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVoicesResponse(_message.Message):
    __slots__ = ("voices",)
    VOICES_FIELD_NUMBER: _ClassVar[int]
    voices: _containers.RepeatedCompositeFieldContainer[Voice]
    def __init__(self, voices: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ...) -> None: ...

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
    __slots__ = ("name", "transcript", "replace")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    transcript: str
    replace: bool
    def __init__(self, name: _Optional[str] = ..., transcript: _Optional[str] = ..., replace: bool = ...) -> None: ...

class CreateVoiceResponse(_message.Message):
    __slots__ = ("voice", "warnings")
    VOICE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    voice: Voice
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, voice: _Optional[_Union[Voice, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class AddFillersRequest(_message.Message):
    __slots__ = ("name", "clips")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    clips: _containers.RepeatedCompositeFieldContainer[FillerClip]
    def __init__(self, name: _Optional[str] = ..., clips: _Optional[_Iterable[_Union[FillerClip, _Mapping]]] = ...) -> None: ...

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
    emotion: _emotion_pb2.EmotionLabel
    language: str
    audio: bytes
    def __init__(self, text: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.EmotionLabel, str]] = ..., language: _Optional[str] = ..., audio: _Optional[bytes] = ...) -> None: ...

class DeleteVoiceRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteVoiceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Voice(_message.Message):
    __slots__ = ("name", "built_in", "engines", "recording_ms", "transcript", "create_time", "content_id", "fillers")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BUILT_IN_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ID_FIELD_NUMBER: _ClassVar[int]
    FILLERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    built_in: bool
    engines: _containers.RepeatedScalarFieldContainer[str]
    recording_ms: int
    transcript: str
    create_time: _timestamp_pb2.Timestamp
    content_id: str
    fillers: _containers.RepeatedCompositeFieldContainer[Filler]
    def __init__(self, name: _Optional[str] = ..., built_in: bool = ..., engines: _Optional[_Iterable[str]] = ..., recording_ms: _Optional[int] = ..., transcript: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content_id: _Optional[str] = ..., fillers: _Optional[_Iterable[_Union[Filler, _Mapping]]] = ...) -> None: ...

class Filler(_message.Message):
    __slots__ = ("text", "emotion", "language", "duration_ms", "engine")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    text: str
    emotion: _emotion_pb2.EmotionLabel
    language: str
    duration_ms: int
    engine: str
    def __init__(self, text: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.EmotionLabel, str]] = ..., language: _Optional[str] = ..., duration_ms: _Optional[int] = ..., engine: _Optional[str] = ...) -> None: ...
