from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmotionLabel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMOTION_LABEL_UNSPECIFIED: _ClassVar[EmotionLabel]
    EMOTION_LABEL_NEUTRAL: _ClassVar[EmotionLabel]
    EMOTION_LABEL_HAPPY: _ClassVar[EmotionLabel]
    EMOTION_LABEL_ANGRY: _ClassVar[EmotionLabel]
    EMOTION_LABEL_SAD: _ClassVar[EmotionLabel]
    EMOTION_LABEL_AFRAID: _ClassVar[EmotionLabel]
    EMOTION_LABEL_DISGUSTED: _ClassVar[EmotionLabel]
    EMOTION_LABEL_MELANCHOLIC: _ClassVar[EmotionLabel]
    EMOTION_LABEL_SURPRISED: _ClassVar[EmotionLabel]
    EMOTION_LABEL_CALM: _ClassVar[EmotionLabel]
EMOTION_LABEL_UNSPECIFIED: EmotionLabel
EMOTION_LABEL_NEUTRAL: EmotionLabel
EMOTION_LABEL_HAPPY: EmotionLabel
EMOTION_LABEL_ANGRY: EmotionLabel
EMOTION_LABEL_SAD: EmotionLabel
EMOTION_LABEL_AFRAID: EmotionLabel
EMOTION_LABEL_DISGUSTED: EmotionLabel
EMOTION_LABEL_MELANCHOLIC: EmotionLabel
EMOTION_LABEL_SURPRISED: EmotionLabel
EMOTION_LABEL_CALM: EmotionLabel

class Emotion(_message.Message):
    __slots__ = ("label", "vector", "description", "clip", "intensity")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    label: EmotionLabel
    vector: EmotionVector
    description: str
    clip: ReferenceClip
    intensity: float
    def __init__(self, label: _Optional[_Union[EmotionLabel, str]] = ..., vector: _Optional[_Union[EmotionVector, _Mapping]] = ..., description: _Optional[str] = ..., clip: _Optional[_Union[ReferenceClip, _Mapping]] = ..., intensity: _Optional[float] = ...) -> None: ...

class EmotionVector(_message.Message):
    __slots__ = ("weights",)
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, weights: _Optional[_Iterable[float]] = ...) -> None: ...

class ReferenceClip(_message.Message):
    __slots__ = ("audio",)
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    def __init__(self, audio: _Optional[bytes] = ...) -> None: ...
