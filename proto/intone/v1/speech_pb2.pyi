from google.rpc import status_pb2 as _status_pb2
from intone.v1 import audio_pb2 as _audio_pb2
from intone.v1 import emotion_pb2 as _emotion_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_STREAMED: _ClassVar[Delivery]
    DELIVERY_BUFFERED: _ClassVar[Delivery]

class FillerPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILLER_POLICY_UNSPECIFIED: _ClassVar[FillerPolicy]
    FILLER_POLICY_AUTO: _ClassVar[FillerPolicy]
    FILLER_POLICY_OFF: _ClassVar[FillerPolicy]
    FILLER_POLICY_EAGER: _ClassVar[FillerPolicy]

class EmotionSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMOTION_SOURCE_UNSPECIFIED: _ClassVar[EmotionSource]
    EMOTION_SOURCE_NONE: _ClassVar[EmotionSource]
    EMOTION_SOURCE_UTTERANCE: _ClassVar[EmotionSource]
    EMOTION_SOURCE_STREAM: _ClassVar[EmotionSource]
    EMOTION_SOURCE_TAG: _ClassVar[EmotionSource]
    EMOTION_SOURCE_TEXT: _ClassVar[EmotionSource]

class RouteReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROUTE_REASON_UNSPECIFIED: _ClassVar[RouteReason]
    ROUTE_REASON_PLAIN: _ClassVar[RouteReason]
    ROUTE_REASON_STRONG_EMOTION: _ClassVar[RouteReason]
    ROUTE_REASON_PREFERENCE: _ClassVar[RouteReason]
    ROUTE_REASON_NOT_LOADED: _ClassVar[RouteReason]
    ROUTE_REASON_FAILING: _ClassVar[RouteReason]
    ROUTE_REASON_LANGUAGE: _ClassVar[RouteReason]
    ROUTE_REASON_POLICY: _ClassVar[RouteReason]
    ROUTE_REASON_BUSY: _ClassVar[RouteReason]

class AudioKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_KIND_UNSPECIFIED: _ClassVar[AudioKind]
    AUDIO_KIND_SPEECH: _ClassVar[AudioKind]
    AUDIO_KIND_FILLER: _ClassVar[AudioKind]
    AUDIO_KIND_SILENCE: _ClassVar[AudioKind]

class DoneReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DONE_REASON_UNSPECIFIED: _ClassVar[DoneReason]
    DONE_REASON_COMPLETED: _ClassVar[DoneReason]
    DONE_REASON_REJECTED: _ClassVar[DoneReason]
    DONE_REASON_FAILED: _ClassVar[DoneReason]

class WarningCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_CODE_UNSPECIFIED: _ClassVar[WarningCode]
    WARNING_CODE_ENGINE_SUBSTITUTED: _ClassVar[WarningCode]
    WARNING_CODE_UNTRAINED_WEIGHTS: _ClassVar[WarningCode]
    WARNING_CODE_EMOTION_NOT_VOICED: _ClassVar[WarningCode]
    WARNING_CODE_FILLER_UNAVAILABLE: _ClassVar[WarningCode]
    WARNING_CODE_VOICE_SUBSTITUTED: _ClassVar[WarningCode]
    WARNING_CODE_TEXT_NOT_SPOKEN: _ClassVar[WarningCode]
    WARNING_CODE_UTTERANCE_ENDED: _ClassVar[WarningCode]
    WARNING_CODE_AUDIO_CUT: _ClassVar[WarningCode]
    WARNING_CODE_DRAINING: _ClassVar[WarningCode]
    WARNING_CODE_ENGINE_FAILED: _ClassVar[WarningCode]
    WARNING_CODE_SPEED_UNCHANGED: _ClassVar[WarningCode]
    WARNING_CODE_EMOTION_APPROXIMATED: _ClassVar[WarningCode]
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_STREAMED: Delivery
DELIVERY_BUFFERED: Delivery
FILLER_POLICY_UNSPECIFIED: FillerPolicy
FILLER_POLICY_AUTO: FillerPolicy
FILLER_POLICY_OFF: FillerPolicy
FILLER_POLICY_EAGER: FillerPolicy
EMOTION_SOURCE_UNSPECIFIED: EmotionSource
EMOTION_SOURCE_NONE: EmotionSource
EMOTION_SOURCE_UTTERANCE: EmotionSource
EMOTION_SOURCE_STREAM: EmotionSource
EMOTION_SOURCE_TAG: EmotionSource
EMOTION_SOURCE_TEXT: EmotionSource
ROUTE_REASON_UNSPECIFIED: RouteReason
ROUTE_REASON_PLAIN: RouteReason
ROUTE_REASON_STRONG_EMOTION: RouteReason
ROUTE_REASON_PREFERENCE: RouteReason
ROUTE_REASON_NOT_LOADED: RouteReason
ROUTE_REASON_FAILING: RouteReason
ROUTE_REASON_LANGUAGE: RouteReason
ROUTE_REASON_POLICY: RouteReason
ROUTE_REASON_BUSY: RouteReason
AUDIO_KIND_UNSPECIFIED: AudioKind
AUDIO_KIND_SPEECH: AudioKind
AUDIO_KIND_FILLER: AudioKind
AUDIO_KIND_SILENCE: AudioKind
DONE_REASON_UNSPECIFIED: DoneReason
DONE_REASON_COMPLETED: DoneReason
DONE_REASON_REJECTED: DoneReason
DONE_REASON_FAILED: DoneReason
WARNING_CODE_UNSPECIFIED: WarningCode
WARNING_CODE_ENGINE_SUBSTITUTED: WarningCode
WARNING_CODE_UNTRAINED_WEIGHTS: WarningCode
WARNING_CODE_EMOTION_NOT_VOICED: WarningCode
WARNING_CODE_FILLER_UNAVAILABLE: WarningCode
WARNING_CODE_VOICE_SUBSTITUTED: WarningCode
WARNING_CODE_TEXT_NOT_SPOKEN: WarningCode
WARNING_CODE_UTTERANCE_ENDED: WarningCode
WARNING_CODE_AUDIO_CUT: WarningCode
WARNING_CODE_DRAINING: WarningCode
WARNING_CODE_ENGINE_FAILED: WarningCode
WARNING_CODE_SPEED_UNCHANGED: WarningCode
WARNING_CODE_EMOTION_APPROXIMATED: WarningCode

class StreamSynthesizeRequest(_message.Message):
    __slots__ = ("config", "text", "flush", "cancel", "progress")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    text: TextInput
    flush: Flush
    cancel: Cancel
    progress: PlaybackProgress
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., text: _Optional[_Union[TextInput, _Mapping]] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., progress: _Optional[_Union[PlaybackProgress, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("format", "voice", "emotion", "engine", "delivery", "filler", "lead_limit_ms", "options", "normalize")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    FILLER_FIELD_NUMBER: _ClassVar[int]
    LEAD_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    format: _audio_pb2.AudioFormat
    voice: str
    emotion: _emotion_pb2.Emotion
    engine: str
    delivery: Delivery
    filler: FillerPolicy
    lead_limit_ms: int
    options: SynthesisOptions
    normalize: bool
    def __init__(self, format: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., voice: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.Emotion, _Mapping]] = ..., engine: _Optional[str] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., filler: _Optional[_Union[FillerPolicy, str]] = ..., lead_limit_ms: _Optional[int] = ..., options: _Optional[_Union[SynthesisOptions, _Mapping]] = ..., normalize: bool = ...) -> None: ...

class SynthesisOptions(_message.Message):
    __slots__ = ("steps", "guidance", "seed", "min_audio_ms", "max_audio_ms", "speed")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MIN_AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    steps: int
    guidance: float
    seed: int
    min_audio_ms: int
    max_audio_ms: int
    speed: float
    def __init__(self, steps: _Optional[int] = ..., guidance: _Optional[float] = ..., seed: _Optional[int] = ..., min_audio_ms: _Optional[int] = ..., max_audio_ms: _Optional[int] = ..., speed: _Optional[float] = ...) -> None: ...

class TextInput(_message.Message):
    __slots__ = ("utterance_id", "delta", "emotion", "end_of_utterance", "voice", "options")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    END_OF_UTTERANCE_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    delta: str
    emotion: _emotion_pb2.Emotion
    end_of_utterance: bool
    voice: str
    options: SynthesisOptions
    def __init__(self, utterance_id: _Optional[str] = ..., delta: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.Emotion, _Mapping]] = ..., end_of_utterance: bool = ..., voice: _Optional[str] = ..., options: _Optional[_Union[SynthesisOptions, _Mapping]] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ("flush_id",)
    FLUSH_ID_FIELD_NUMBER: _ClassVar[int]
    flush_id: str
    def __init__(self, flush_id: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("utterance_id", "played_ms")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    PLAYED_MS_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    played_ms: int
    def __init__(self, utterance_id: _Optional[str] = ..., played_ms: _Optional[int] = ...) -> None: ...

class PlaybackProgress(_message.Message):
    __slots__ = ("played_ms",)
    PLAYED_MS_FIELD_NUMBER: _ClassVar[int]
    played_ms: int
    def __init__(self, played_ms: _Optional[int] = ...) -> None: ...

class StreamSynthesizeResponse(_message.Message):
    __slots__ = ("started", "audio", "flushed", "interrupted", "done", "warning", "error", "rerouted")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    FLUSHED_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REROUTED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    audio: AudioChunk
    flushed: Flushed
    interrupted: Interrupted
    done: Done
    warning: Warning
    error: Error
    rerouted: Rerouted
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioChunk, _Mapping]] = ..., flushed: _Optional[_Union[Flushed, _Mapping]] = ..., interrupted: _Optional[_Union[Interrupted, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., warning: _Optional[_Union[Warning, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., rerouted: _Optional[_Union[Rerouted, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("utterance_id", "engine", "route_reason", "route_explanation", "emotion", "format", "voice", "seed", "emotion_source", "emotion_explanation", "emotion_intensity")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTE_EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EMOTION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EMOTION_INTENSITY_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    engine: str
    route_reason: RouteReason
    route_explanation: str
    emotion: _emotion_pb2.EmotionVector
    format: _audio_pb2.AudioFormat
    voice: str
    seed: int
    emotion_source: EmotionSource
    emotion_explanation: str
    emotion_intensity: float
    def __init__(self, utterance_id: _Optional[str] = ..., engine: _Optional[str] = ..., route_reason: _Optional[_Union[RouteReason, str]] = ..., route_explanation: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.EmotionVector, _Mapping]] = ..., format: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., voice: _Optional[str] = ..., seed: _Optional[int] = ..., emotion_source: _Optional[_Union[EmotionSource, str]] = ..., emotion_explanation: _Optional[str] = ..., emotion_intensity: _Optional[float] = ...) -> None: ...

class Rerouted(_message.Message):
    __slots__ = ("utterance_id", "engine", "route_reason", "route_explanation", "emotion", "emotion_source", "emotion_explanation", "emotion_intensity", "text_span")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_REASON_FIELD_NUMBER: _ClassVar[int]
    ROUTE_EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    EMOTION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    EMOTION_INTENSITY_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    engine: str
    route_reason: RouteReason
    route_explanation: str
    emotion: _emotion_pb2.EmotionVector
    emotion_source: EmotionSource
    emotion_explanation: str
    emotion_intensity: float
    text_span: TextSpan
    def __init__(self, utterance_id: _Optional[str] = ..., engine: _Optional[str] = ..., route_reason: _Optional[_Union[RouteReason, str]] = ..., route_explanation: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.EmotionVector, _Mapping]] = ..., emotion_source: _Optional[_Union[EmotionSource, str]] = ..., emotion_explanation: _Optional[str] = ..., emotion_intensity: _Optional[float] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ...) -> None: ...

class AudioChunk(_message.Message):
    __slots__ = ("utterance_id", "sequence", "offset_samples", "kind", "data", "engine", "text_span", "stage_ms", "filler")
    class StageMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    STAGE_MS_FIELD_NUMBER: _ClassVar[int]
    FILLER_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    sequence: int
    offset_samples: int
    kind: AudioKind
    data: bytes
    engine: str
    text_span: TextSpan
    stage_ms: _containers.ScalarMap[str, float]
    filler: str
    def __init__(self, utterance_id: _Optional[str] = ..., sequence: _Optional[int] = ..., offset_samples: _Optional[int] = ..., kind: _Optional[_Union[AudioKind, str]] = ..., data: _Optional[bytes] = ..., engine: _Optional[str] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ..., stage_ms: _Optional[_Mapping[str, float]] = ..., filler: _Optional[str] = ...) -> None: ...

class TextSpan(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Flushed(_message.Message):
    __slots__ = ("flush_id",)
    FLUSH_ID_FIELD_NUMBER: _ClassVar[int]
    flush_id: str
    def __init__(self, flush_id: _Optional[str] = ...) -> None: ...

class Interrupted(_message.Message):
    __slots__ = ("utterance_id", "heard_text", "unheard_text", "heard_ms", "report")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    HEARD_TEXT_FIELD_NUMBER: _ClassVar[int]
    UNHEARD_TEXT_FIELD_NUMBER: _ClassVar[int]
    HEARD_MS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    heard_text: str
    unheard_text: str
    heard_ms: int
    report: LatencyReport
    def __init__(self, utterance_id: _Optional[str] = ..., heard_text: _Optional[str] = ..., unheard_text: _Optional[str] = ..., heard_ms: _Optional[int] = ..., report: _Optional[_Union[LatencyReport, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("utterance_id", "reason", "error", "report")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    reason: DoneReason
    error: _status_pb2.Status
    report: LatencyReport
    def __init__(self, utterance_id: _Optional[str] = ..., reason: _Optional[_Union[DoneReason, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., report: _Optional[_Union[LatencyReport, _Mapping]] = ...) -> None: ...

class LatencyReport(_message.Message):
    __slots__ = ("ttfa_ms", "filler_ttfa_ms", "queue_ms", "rtf", "audio_ms", "filler_ms", "synthesis_ms", "stage_ms", "units", "covered_ms", "predicted_ttfa_ms", "pause_ms", "fillers")
    class StageMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TTFA_MS_FIELD_NUMBER: _ClassVar[int]
    FILLER_TTFA_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    RTF_FIELD_NUMBER: _ClassVar[int]
    AUDIO_MS_FIELD_NUMBER: _ClassVar[int]
    FILLER_MS_FIELD_NUMBER: _ClassVar[int]
    SYNTHESIS_MS_FIELD_NUMBER: _ClassVar[int]
    STAGE_MS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    COVERED_MS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_TTFA_MS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_MS_FIELD_NUMBER: _ClassVar[int]
    FILLERS_FIELD_NUMBER: _ClassVar[int]
    ttfa_ms: float
    filler_ttfa_ms: float
    queue_ms: float
    rtf: float
    audio_ms: float
    filler_ms: float
    synthesis_ms: float
    stage_ms: _containers.ScalarMap[str, float]
    units: int
    covered_ms: float
    predicted_ttfa_ms: float
    pause_ms: float
    fillers: int
    def __init__(self, ttfa_ms: _Optional[float] = ..., filler_ttfa_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., rtf: _Optional[float] = ..., audio_ms: _Optional[float] = ..., filler_ms: _Optional[float] = ..., synthesis_ms: _Optional[float] = ..., stage_ms: _Optional[_Mapping[str, float]] = ..., units: _Optional[int] = ..., covered_ms: _Optional[float] = ..., predicted_ttfa_ms: _Optional[float] = ..., pause_ms: _Optional[float] = ..., fillers: _Optional[int] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("code", "message", "utterance_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    code: WarningCode
    message: str
    utterance_id: str
    def __init__(self, code: _Optional[_Union[WarningCode, str]] = ..., message: _Optional[str] = ..., utterance_id: _Optional[str] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("utterance_id", "status")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    status: _status_pb2.Status
    def __init__(self, utterance_id: _Optional[str] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class SynthesizeRequest(_message.Message):
    __slots__ = ("text", "config")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    text: str
    config: StreamConfig
    def __init__(self, text: _Optional[str] = ..., config: _Optional[_Union[StreamConfig, _Mapping]] = ...) -> None: ...

class SynthesizeResponse(_message.Message):
    __slots__ = ("started", "audio", "warning", "done", "rerouted")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    REROUTED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    audio: AudioChunk
    warning: Warning
    done: Done
    rerouted: Rerouted
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioChunk, _Mapping]] = ..., warning: _Optional[_Union[Warning, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., rerouted: _Optional[_Union[Rerouted, _Mapping]] = ...) -> None: ...

class AnalyzeEmotionRequest(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class AnalyzeEmotionResponse(_message.Message):
    __slots__ = ("emotion", "label", "intensity", "explanation")
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    emotion: _emotion_pb2.EmotionVector
    label: _emotion_pb2.EmotionLabel
    intensity: float
    explanation: str
    def __init__(self, emotion: _Optional[_Union[_emotion_pb2.EmotionVector, _Mapping]] = ..., label: _Optional[_Union[_emotion_pb2.EmotionLabel, str]] = ..., intensity: _Optional[float] = ..., explanation: _Optional[str] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "engines", "default_voice", "default_sample_rate_hz", "limits", "open_streams", "emotion_analyzer")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VOICE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    OPEN_STREAMS_FIELD_NUMBER: _ClassVar[int]
    EMOTION_ANALYZER_FIELD_NUMBER: _ClassVar[int]
    version: str
    engines: _containers.RepeatedCompositeFieldContainer[EngineInfo]
    default_voice: str
    default_sample_rate_hz: int
    limits: ServerLimits
    open_streams: int
    emotion_analyzer: str
    def __init__(self, version: _Optional[str] = ..., engines: _Optional[_Iterable[_Union[EngineInfo, _Mapping]]] = ..., default_voice: _Optional[str] = ..., default_sample_rate_hz: _Optional[int] = ..., limits: _Optional[_Union[ServerLimits, _Mapping]] = ..., open_streams: _Optional[int] = ..., emotion_analyzer: _Optional[str] = ...) -> None: ...

class EngineInfo(_message.Message):
    __slots__ = ("name", "model", "sample_rate_hz", "languages", "trained", "clones_voices", "voices_emotion", "healthy", "device", "changes_speed", "predicted_ttfa_ms", "load")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    CLONES_VOICES_FIELD_NUMBER: _ClassVar[int]
    VOICES_EMOTION_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_SPEED_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_TTFA_MS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    sample_rate_hz: int
    languages: _containers.RepeatedScalarFieldContainer[str]
    trained: bool
    clones_voices: bool
    voices_emotion: bool
    healthy: bool
    device: str
    changes_speed: bool
    predicted_ttfa_ms: float
    load: int
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., languages: _Optional[_Iterable[str]] = ..., trained: bool = ..., clones_voices: bool = ..., voices_emotion: bool = ..., healthy: bool = ..., device: _Optional[str] = ..., changes_speed: bool = ..., predicted_ttfa_ms: _Optional[float] = ..., load: _Optional[int] = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ("max_text_characters", "max_utterance_characters", "max_open_utterances", "max_streams", "default_lead_limit_ms", "max_recording_bytes", "min_recording_ms", "max_recording_ms")
    MAX_TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_UTTERANCE_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_LEAD_LIMIT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    max_text_characters: int
    max_utterance_characters: int
    max_open_utterances: int
    max_streams: int
    default_lead_limit_ms: int
    max_recording_bytes: int
    min_recording_ms: int
    max_recording_ms: int
    def __init__(self, max_text_characters: _Optional[int] = ..., max_utterance_characters: _Optional[int] = ..., max_open_utterances: _Optional[int] = ..., max_streams: _Optional[int] = ..., default_lead_limit_ms: _Optional[int] = ..., max_recording_bytes: _Optional[int] = ..., min_recording_ms: _Optional[int] = ..., max_recording_ms: _Optional[int] = ...) -> None: ...
