from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Emotion(_message.Message):
    __slots__ = ("label", "weights", "description", "clip_id", "intensity")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CLIP_ID_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    weights: EmotionWeights
    description: str
    clip_id: str
    intensity: float
    def __init__(self, label: _Optional[str] = ..., weights: _Optional[_Union[EmotionWeights, _Mapping]] = ..., description: _Optional[str] = ..., clip_id: _Optional[str] = ..., intensity: _Optional[float] = ...) -> None: ...

class EmotionWeights(_message.Message):
    __slots__ = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
    HAPPY_FIELD_NUMBER: _ClassVar[int]
    ANGRY_FIELD_NUMBER: _ClassVar[int]
    SAD_FIELD_NUMBER: _ClassVar[int]
    AFRAID_FIELD_NUMBER: _ClassVar[int]
    DISGUSTED_FIELD_NUMBER: _ClassVar[int]
    MELANCHOLIC_FIELD_NUMBER: _ClassVar[int]
    SURPRISED_FIELD_NUMBER: _ClassVar[int]
    CALM_FIELD_NUMBER: _ClassVar[int]
    happy: float
    angry: float
    sad: float
    afraid: float
    disgusted: float
    melancholic: float
    surprised: float
    calm: float
    def __init__(self, happy: _Optional[float] = ..., angry: _Optional[float] = ..., sad: _Optional[float] = ..., afraid: _Optional[float] = ..., disgusted: _Optional[float] = ..., melancholic: _Optional[float] = ..., surprised: _Optional[float] = ..., calm: _Optional[float] = ...) -> None: ...
