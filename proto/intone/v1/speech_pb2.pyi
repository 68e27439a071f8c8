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

class Switch(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SWITCH_UNSPECIFIED: _ClassVar[Switch]
    SWITCH_ON: _ClassVar[Switch]
    SWITCH_OFF: _ClassVar[Switch]

class FillerPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILLER_POLICY_UNSPECIFIED: _ClassVar[FillerPolicy]
    FILLER_POLICY_AUTO: _ClassVar[FillerPolicy]
    FILLER_POLICY_OFF: _ClassVar[FillerPolicy]
    FILLER_POLICY_EAGER: _ClassVar[FillerPolicy]

class TextFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TEXT_FORMAT_UNSPECIFIED: _ClassVar[TextFormat]
    TEXT_FORMAT_PLAIN: _ClassVar[TextFormat]
    TEXT_FORMAT_TAGS: _ClassVar[TextFormat]
    TEXT_FORMAT_SSML: _ClassVar[TextFormat]

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_STREAMED: _ClassVar[Delivery]
    DELIVERY_BUFFERED: _ClassVar[Delivery]

class ServiceClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVICE_CLASS_UNSPECIFIED: _ClassVar[ServiceClass]
    SERVICE_CLASS_LIVE: _ClassVar[ServiceClass]
    SERVICE_CLASS_OFFLINE: _ClassVar[ServiceClass]

class TimingKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIMING_KIND_UNSPECIFIED: _ClassVar[TimingKind]
    TIMING_KIND_ESTIMATED: _ClassVar[TimingKind]
    TIMING_KIND_ALIGNED: _ClassVar[TimingKind]

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

class EmotionSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMOTION_SOURCE_UNSPECIFIED: _ClassVar[EmotionSource]
    EMOTION_SOURCE_NONE: _ClassVar[EmotionSource]
    EMOTION_SOURCE_UTTERANCE: _ClassVar[EmotionSource]
    EMOTION_SOURCE_STREAM: _ClassVar[EmotionSource]
    EMOTION_SOURCE_TAG: _ClassVar[EmotionSource]
    EMOTION_SOURCE_TEXT: _ClassVar[EmotionSource]

class AudioKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIO_KIND_UNSPECIFIED: _ClassVar[AudioKind]
    AUDIO_KIND_SPEECH: _ClassVar[AudioKind]
    AUDIO_KIND_FILLER: _ClassVar[AudioKind]
    AUDIO_KIND_SILENCE: _ClassVar[AudioKind]

class TimingSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIMING_SOURCE_UNSPECIFIED: _ClassVar[TimingSource]
    TIMING_SOURCE_ESTIMATED: _ClassVar[TimingSource]
    TIMING_SOURCE_ALIGNED: _ClassVar[TimingSource]

class DoneReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DONE_REASON_UNSPECIFIED: _ClassVar[DoneReason]
    DONE_REASON_COMPLETED: _ClassVar[DoneReason]
    DONE_REASON_EMPTY: _ClassVar[DoneReason]
    DONE_REASON_INTERRUPTED: _ClassVar[DoneReason]
    DONE_REASON_REJECTED: _ClassVar[DoneReason]
    DONE_REASON_FAILED: _ClassVar[DoneReason]

class HeardSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEARD_SOURCE_UNSPECIFIED: _ClassVar[HeardSource]
    HEARD_SOURCE_REPORTED: _ClassVar[HeardSource]
    HEARD_SOURCE_EXTRAPOLATED: _ClassVar[HeardSource]
    HEARD_SOURCE_ESTIMATED: _ClassVar[HeardSource]

class NoticeCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_CODE_UNSPECIFIED: _ClassVar[NoticeCode]
    NOTICE_CODE_ENGINE_SUBSTITUTED: _ClassVar[NoticeCode]
    NOTICE_CODE_UNTRAINED_WEIGHTS: _ClassVar[NoticeCode]
    NOTICE_CODE_EMOTION_NOT_VOICED: _ClassVar[NoticeCode]
    NOTICE_CODE_FILLER_UNAVAILABLE: _ClassVar[NoticeCode]
    NOTICE_CODE_VOICE_SUBSTITUTED: _ClassVar[NoticeCode]
    NOTICE_CODE_TEXT_NOT_SPOKEN: _ClassVar[NoticeCode]
    NOTICE_CODE_UTTERANCE_ENDED: _ClassVar[NoticeCode]
    NOTICE_CODE_AUDIO_CUT: _ClassVar[NoticeCode]
    NOTICE_CODE_ENGINE_FAILED: _ClassVar[NoticeCode]
    NOTICE_CODE_SPEED_UNCHANGED: _ClassVar[NoticeCode]
    NOTICE_CODE_EMOTION_APPROXIMATED: _ClassVar[NoticeCode]
    NOTICE_CODE_TEXT_TIMEOUT: _ClassVar[NoticeCode]
    NOTICE_CODE_SETTINGS_IGNORED: _ClassVar[NoticeCode]
    NOTICE_CODE_PLAYBACK_STALLED: _ClassVar[NoticeCode]
    NOTICE_CODE_FEATURE_UNAVAILABLE: _ClassVar[NoticeCode]
    NOTICE_CODE_PRONUNCIATION_APPROXIMATED: _ClassVar[NoticeCode]
    NOTICE_CODE_CUE_NOT_PERFORMED: _ClassVar[NoticeCode]
    NOTICE_CODE_STREAM_THROTTLED: _ClassVar[NoticeCode]
SWITCH_UNSPECIFIED: Switch
SWITCH_ON: Switch
SWITCH_OFF: Switch
FILLER_POLICY_UNSPECIFIED: FillerPolicy
FILLER_POLICY_AUTO: FillerPolicy
FILLER_POLICY_OFF: FillerPolicy
FILLER_POLICY_EAGER: FillerPolicy
TEXT_FORMAT_UNSPECIFIED: TextFormat
TEXT_FORMAT_PLAIN: TextFormat
TEXT_FORMAT_TAGS: TextFormat
TEXT_FORMAT_SSML: TextFormat
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_STREAMED: Delivery
DELIVERY_BUFFERED: Delivery
SERVICE_CLASS_UNSPECIFIED: ServiceClass
SERVICE_CLASS_LIVE: ServiceClass
SERVICE_CLASS_OFFLINE: ServiceClass
TIMING_KIND_UNSPECIFIED: TimingKind
TIMING_KIND_ESTIMATED: TimingKind
TIMING_KIND_ALIGNED: TimingKind
ROUTE_REASON_UNSPECIFIED: RouteReason
ROUTE_REASON_PLAIN: RouteReason
ROUTE_REASON_STRONG_EMOTION: RouteReason
ROUTE_REASON_PREFERENCE: RouteReason
ROUTE_REASON_NOT_LOADED: RouteReason
ROUTE_REASON_FAILING: RouteReason
ROUTE_REASON_LANGUAGE: RouteReason
ROUTE_REASON_POLICY: RouteReason
ROUTE_REASON_BUSY: RouteReason
EMOTION_SOURCE_UNSPECIFIED: EmotionSource
EMOTION_SOURCE_NONE: EmotionSource
EMOTION_SOURCE_UTTERANCE: EmotionSource
EMOTION_SOURCE_STREAM: EmotionSource
EMOTION_SOURCE_TAG: EmotionSource
EMOTION_SOURCE_TEXT: EmotionSource
AUDIO_KIND_UNSPECIFIED: AudioKind
AUDIO_KIND_SPEECH: AudioKind
AUDIO_KIND_FILLER: AudioKind
AUDIO_KIND_SILENCE: AudioKind
TIMING_SOURCE_UNSPECIFIED: TimingSource
TIMING_SOURCE_ESTIMATED: TimingSource
TIMING_SOURCE_ALIGNED: TimingSource
DONE_REASON_UNSPECIFIED: DoneReason
DONE_REASON_COMPLETED: DoneReason
DONE_REASON_EMPTY: DoneReason
DONE_REASON_INTERRUPTED: DoneReason
DONE_REASON_REJECTED: DoneReason
DONE_REASON_FAILED: DoneReason
HEARD_SOURCE_UNSPECIFIED: HeardSource
HEARD_SOURCE_REPORTED: HeardSource
HEARD_SOURCE_EXTRAPOLATED: HeardSource
HEARD_SOURCE_ESTIMATED: HeardSource
NOTICE_CODE_UNSPECIFIED: NoticeCode
NOTICE_CODE_ENGINE_SUBSTITUTED: NoticeCode
NOTICE_CODE_UNTRAINED_WEIGHTS: NoticeCode
NOTICE_CODE_EMOTION_NOT_VOICED: NoticeCode
NOTICE_CODE_FILLER_UNAVAILABLE: NoticeCode
NOTICE_CODE_VOICE_SUBSTITUTED: NoticeCode
NOTICE_CODE_TEXT_NOT_SPOKEN: NoticeCode
NOTICE_CODE_UTTERANCE_ENDED: NoticeCode
NOTICE_CODE_AUDIO_CUT: NoticeCode
NOTICE_CODE_ENGINE_FAILED: NoticeCode
NOTICE_CODE_SPEED_UNCHANGED: NoticeCode
NOTICE_CODE_EMOTION_APPROXIMATED: NoticeCode
NOTICE_CODE_TEXT_TIMEOUT: NoticeCode
NOTICE_CODE_SETTINGS_IGNORED: NoticeCode
NOTICE_CODE_PLAYBACK_STALLED: NoticeCode
NOTICE_CODE_FEATURE_UNAVAILABLE: NoticeCode
NOTICE_CODE_PRONUNCIATION_APPROXIMATED: NoticeCode
NOTICE_CODE_CUE_NOT_PERFORMED: NoticeCode
NOTICE_CODE_STREAM_THROTTLED: NoticeCode

class SpeechSettings(_message.Message):
    __slots__ = ("voice", "language", "emotion", "engine", "filler", "text_format", "normalization", "pronunciations", "speed", "volume_db", "seed", "engine_parameters")
    class EngineParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VOICE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    FILLER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: _ClassVar[int]
    PRONUNCIATIONS_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    VOLUME_DB_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ENGINE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    voice: str
    language: str
    emotion: _emotion_pb2.Emotion
    engine: str
    filler: FillerPolicy
    text_format: TextFormat
    normalization: Switch
    pronunciations: _containers.RepeatedCompositeFieldContainer[Pronunciation]
    speed: float
    volume_db: float
    seed: int
    engine_parameters: _containers.ScalarMap[str, float]
    def __init__(self, voice: _Optional[str] = ..., language: _Optional[str] = ..., emotion: _Optional[_Union[_emotion_pb2.Emotion, _Mapping]] = ..., engine: _Optional[str] = ..., filler: _Optional[_Union[FillerPolicy, str]] = ..., text_format: _Optional[_Union[TextFormat, str]] = ..., normalization: _Optional[_Union[Switch, str]] = ..., pronunciations: _Optional[_Iterable[_Union[Pronunciation, _Mapping]]] = ..., speed: _Optional[float] = ..., volume_db: _Optional[float] = ..., seed: _Optional[int] = ..., engine_parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Pronunciation(_message.Message):
    __slots__ = ("word", "ipa", "pinyin", "spoken_as", "language")
    WORD_FIELD_NUMBER: _ClassVar[int]
    IPA_FIELD_NUMBER: _ClassVar[int]
    PINYIN_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_AS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    word: str
    ipa: str
    pinyin: str
    spoken_as: str
    language: str
    def __init__(self, word: _Optional[str] = ..., ipa: _Optional[str] = ..., pinyin: _Optional[str] = ..., spoken_as: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class StreamSynthesizeRequest(_message.Message):
    __slots__ = ("config", "text", "flush", "interrupt", "playback", "start", "finish", "resume", "leave")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FLUSH_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    PLAYBACK_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    text: TextInput
    flush: Flush
    interrupt: Interrupt
    playback: PlaybackProgress
    start: StartUtterance
    finish: Finish
    resume: Resume
    leave: Leave
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., text: _Optional[_Union[TextInput, _Mapping]] = ..., flush: _Optional[_Union[Flush, _Mapping]] = ..., interrupt: _Optional[_Union[Interrupt, _Mapping]] = ..., playback: _Optional[_Union[PlaybackProgress, _Mapping]] = ..., start: _Optional[_Union[StartUtterance, _Mapping]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("stream_id", "resume_token", "received_count")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    resume_token: str
    received_count: int
    def __init__(self, stream_id: _Optional[str] = ..., resume_token: _Optional[str] = ..., received_count: _Optional[int] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("format", "defaults", "max_lead_ms", "delivery", "service_class", "timings", "diagnostics", "chunk_ms", "playback_delay_ms", "labels", "resumable")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    MAX_LEAD_MS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_MS_FIELD_NUMBER: _ClassVar[int]
    PLAYBACK_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    format: _audio_pb2.AudioFormat
    defaults: SpeechSettings
    max_lead_ms: int
    delivery: Delivery
    service_class: ServiceClass
    timings: TimingKind
    diagnostics: bool
    chunk_ms: int
    playback_delay_ms: int
    labels: _containers.ScalarMap[str, str]
    resumable: bool
    def __init__(self, format: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., defaults: _Optional[_Union[SpeechSettings, _Mapping]] = ..., max_lead_ms: _Optional[int] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., service_class: _Optional[_Union[ServiceClass, str]] = ..., timings: _Optional[_Union[TimingKind, str]] = ..., diagnostics: bool = ..., chunk_ms: _Optional[int] = ..., playback_delay_ms: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., resumable: bool = ...) -> None: ...

class StartUtterance(_message.Message):
    __slots__ = ("utterance_id", "settings", "text_timeout_ms", "cover_after_ms")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TEXT_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    COVER_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    settings: SpeechSettings
    text_timeout_ms: int
    cover_after_ms: int
    def __init__(self, utterance_id: _Optional[str] = ..., settings: _Optional[_Union[SpeechSettings, _Mapping]] = ..., text_timeout_ms: _Optional[int] = ..., cover_after_ms: _Optional[int] = ...) -> None: ...

class TextInput(_message.Message):
    __slots__ = ("utterance_id", "delta", "end_of_utterance", "text_offset")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    END_OF_UTTERANCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    delta: str
    end_of_utterance: bool
    text_offset: int
    def __init__(self, utterance_id: _Optional[str] = ..., delta: _Optional[str] = ..., end_of_utterance: bool = ..., text_offset: _Optional[int] = ...) -> None: ...

class Flush(_message.Message):
    __slots__ = ("flush_id", "utterance_id")
    FLUSH_ID_FIELD_NUMBER: _ClassVar[int]
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    flush_id: str
    utterance_id: str
    def __init__(self, flush_id: _Optional[str] = ..., utterance_id: _Optional[str] = ...) -> None: ...

class Interrupt(_message.Message):
    __slots__ = ("interrupt_id", "utterance_ids", "played")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    UTTERANCE_IDS_FIELD_NUMBER: _ClassVar[int]
    PLAYED_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    utterance_ids: _containers.RepeatedScalarFieldContainer[str]
    played: _audio_pb2.AudioPosition
    def __init__(self, interrupt_id: _Optional[str] = ..., utterance_ids: _Optional[_Iterable[str]] = ..., played: _Optional[_Union[_audio_pb2.AudioPosition, _Mapping]] = ...) -> None: ...

class PlaybackProgress(_message.Message):
    __slots__ = ("played",)
    PLAYED_FIELD_NUMBER: _ClassVar[int]
    played: _audio_pb2.AudioPosition
    def __init__(self, played: _Optional[_Union[_audio_pb2.AudioPosition, _Mapping]] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamSynthesizeResponse(_message.Message):
    __slots__ = ("configured", "started", "audio", "timing", "rerouted", "flushed", "done", "interrupted", "notice", "request_refused", "going_away", "closed", "resumed")
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REROUTED_FIELD_NUMBER: _ClassVar[int]
    FLUSHED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_REFUSED_FIELD_NUMBER: _ClassVar[int]
    GOING_AWAY_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    configured: Configured
    started: Started
    audio: AudioChunk
    timing: Timing
    rerouted: Rerouted
    flushed: Flushed
    done: Done
    interrupted: Interrupted
    notice: Notice
    request_refused: RequestRefused
    going_away: GoingAway
    closed: Closed
    resumed: Resumed
    def __init__(self, configured: _Optional[_Union[Configured, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioChunk, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., rerouted: _Optional[_Union[Rerouted, _Mapping]] = ..., flushed: _Optional[_Union[Flushed, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., interrupted: _Optional[_Union[Interrupted, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., request_refused: _Optional[_Union[RequestRefused, _Mapping]] = ..., going_away: _Optional[_Union[GoingAway, _Mapping]] = ..., closed: _Optional[_Union[Closed, _Mapping]] = ..., resumed: _Optional[_Union[Resumed, _Mapping]] = ...) -> None: ...

class Configured(_message.Message):
    __slots__ = ("stream_id", "format", "defaults", "limits", "features", "server_version", "resume_token", "resume_ms")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESUME_MS_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    format: _audio_pb2.AudioFormat
    defaults: SpeechSettings
    limits: StreamLimits
    features: _containers.RepeatedScalarFieldContainer[str]
    server_version: str
    resume_token: str
    resume_ms: int
    def __init__(self, stream_id: _Optional[str] = ..., format: _Optional[_Union[_audio_pb2.AudioFormat, _Mapping]] = ..., defaults: _Optional[_Union[SpeechSettings, _Mapping]] = ..., limits: _Optional[_Union[StreamLimits, _Mapping]] = ..., features: _Optional[_Iterable[str]] = ..., server_version: _Optional[str] = ..., resume_token: _Optional[str] = ..., resume_ms: _Optional[int] = ...) -> None: ...

class Resumed(_message.Message):
    __slots__ = ("received_count",)
    RECEIVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    received_count: int
    def __init__(self, received_count: _Optional[int] = ...) -> None: ...

class StreamLimits(_message.Message):
    __slots__ = ("max_text_characters", "max_utterance_characters", "max_open_utterances", "idle_timeout_ms", "text_timeout_ms", "max_lead_ms", "max_clip_bytes", "max_message_bytes")
    MAX_TEXT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_UTTERANCE_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    MAX_OPEN_UTTERANCES_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TEXT_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_LEAD_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIP_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_text_characters: int
    max_utterance_characters: int
    max_open_utterances: int
    idle_timeout_ms: int
    text_timeout_ms: int
    max_lead_ms: int
    max_clip_bytes: int
    max_message_bytes: int
    def __init__(self, max_text_characters: _Optional[int] = ..., max_utterance_characters: _Optional[int] = ..., max_open_utterances: _Optional[int] = ..., idle_timeout_ms: _Optional[int] = ..., text_timeout_ms: _Optional[int] = ..., max_lead_ms: _Optional[int] = ..., max_clip_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("utterance_id", "route", "emotion", "voice", "seed")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    route: Route
    emotion: ResolvedEmotion
    voice: str
    seed: int
    def __init__(self, utterance_id: _Optional[str] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., emotion: _Optional[_Union[ResolvedEmotion, _Mapping]] = ..., voice: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("engine", "reason", "explanation")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    engine: str
    reason: RouteReason
    explanation: str
    def __init__(self, engine: _Optional[str] = ..., reason: _Optional[_Union[RouteReason, str]] = ..., explanation: _Optional[str] = ...) -> None: ...

class ResolvedEmotion(_message.Message):
    __slots__ = ("weights", "intensity", "source", "explanation")
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    weights: _emotion_pb2.EmotionWeights
    intensity: float
    source: EmotionSource
    explanation: str
    def __init__(self, weights: _Optional[_Union[_emotion_pb2.EmotionWeights, _Mapping]] = ..., intensity: _Optional[float] = ..., source: _Optional[_Union[EmotionSource, str]] = ..., explanation: _Optional[str] = ...) -> None: ...

class Rerouted(_message.Message):
    __slots__ = ("utterance_id", "route", "emotion", "text_span")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    route: Route
    emotion: ResolvedEmotion
    text_span: TextSpan
    def __init__(self, utterance_id: _Optional[str] = ..., route: _Optional[_Union[Route, _Mapping]] = ..., emotion: _Optional[_Union[ResolvedEmotion, _Mapping]] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ...) -> None: ...

class TextSpan(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class AudioChunk(_message.Message):
    __slots__ = ("utterance_id", "sequence", "offset_samples", "sample_count", "kind", "data", "text_span", "filler_text", "stage_ms")
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
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    FILLER_TEXT_FIELD_NUMBER: _ClassVar[int]
    STAGE_MS_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    sequence: int
    offset_samples: int
    sample_count: int
    kind: AudioKind
    data: bytes
    text_span: TextSpan
    filler_text: str
    stage_ms: _containers.ScalarMap[str, float]
    def __init__(self, utterance_id: _Optional[str] = ..., sequence: _Optional[int] = ..., offset_samples: _Optional[int] = ..., sample_count: _Optional[int] = ..., kind: _Optional[_Union[AudioKind, str]] = ..., data: _Optional[bytes] = ..., text_span: _Optional[_Union[TextSpan, _Mapping]] = ..., filler_text: _Optional[str] = ..., stage_ms: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("utterance_id", "words", "source", "final")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    words: _containers.RepeatedCompositeFieldContainer[TimedWord]
    source: TimingSource
    final: bool
    def __init__(self, utterance_id: _Optional[str] = ..., words: _Optional[_Iterable[_Union[TimedWord, _Mapping]]] = ..., source: _Optional[_Union[TimingSource, str]] = ..., final: bool = ...) -> None: ...

class TimedWord(_message.Message):
    __slots__ = ("text_span", "spoken", "start_sample", "end_sample", "phones")
    TEXT_SPAN_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PHONES_FIELD_NUMBER: _ClassVar[int]
    text_span: TextSpan
    spoken: str
    start_sample: int
    end_sample: int
    phones: _containers.RepeatedCompositeFieldContainer[Phone]
    def __init__(self, text_span: _Optional[_Union[TextSpan, _Mapping]] = ..., spoken: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ..., phones: _Optional[_Iterable[_Union[Phone, _Mapping]]] = ...) -> None: ...

class Phone(_message.Message):
    __slots__ = ("symbol", "start_sample", "end_sample")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    START_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    END_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    start_sample: int
    end_sample: int
    def __init__(self, symbol: _Optional[str] = ..., start_sample: _Optional[int] = ..., end_sample: _Optional[int] = ...) -> None: ...

class Flushed(_message.Message):
    __slots__ = ("flush_id",)
    FLUSH_ID_FIELD_NUMBER: _ClassVar[int]
    flush_id: str
    def __init__(self, flush_id: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("utterance_id", "reason", "error", "sample_count", "usage", "latency")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    reason: DoneReason
    error: _status_pb2.Status
    sample_count: int
    usage: Usage
    latency: LatencyReport
    def __init__(self, utterance_id: _Optional[str] = ..., reason: _Optional[_Union[DoneReason, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., sample_count: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., latency: _Optional[_Union[LatencyReport, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("characters", "spoken_characters", "speech_ms", "filler_ms", "pause_ms", "unit_count", "filler_count")
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    SPEECH_MS_FIELD_NUMBER: _ClassVar[int]
    FILLER_MS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_MS_FIELD_NUMBER: _ClassVar[int]
    UNIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILLER_COUNT_FIELD_NUMBER: _ClassVar[int]
    characters: int
    spoken_characters: int
    speech_ms: int
    filler_ms: int
    pause_ms: int
    unit_count: int
    filler_count: int
    def __init__(self, characters: _Optional[int] = ..., spoken_characters: _Optional[int] = ..., speech_ms: _Optional[int] = ..., filler_ms: _Optional[int] = ..., pause_ms: _Optional[int] = ..., unit_count: _Optional[int] = ..., filler_count: _Optional[int] = ...) -> None: ...

class LatencyReport(_message.Message):
    __slots__ = ("ttfa_ms", "filler_ttfa_ms", "queue_ms", "rtf", "synthesis_ms", "stage_ms", "covered_ms", "predicted_ttfa_ms")
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
    SYNTHESIS_MS_FIELD_NUMBER: _ClassVar[int]
    STAGE_MS_FIELD_NUMBER: _ClassVar[int]
    COVERED_MS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_TTFA_MS_FIELD_NUMBER: _ClassVar[int]
    ttfa_ms: float
    filler_ttfa_ms: float
    queue_ms: float
    rtf: float
    synthesis_ms: float
    stage_ms: _containers.ScalarMap[str, float]
    covered_ms: float
    predicted_ttfa_ms: float
    def __init__(self, ttfa_ms: _Optional[float] = ..., filler_ttfa_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., rtf: _Optional[float] = ..., synthesis_ms: _Optional[float] = ..., stage_ms: _Optional[_Mapping[str, float]] = ..., covered_ms: _Optional[float] = ..., predicted_ttfa_ms: _Optional[float] = ...) -> None: ...

class Interrupted(_message.Message):
    __slots__ = ("interrupt_id", "cuts")
    INTERRUPT_ID_FIELD_NUMBER: _ClassVar[int]
    CUTS_FIELD_NUMBER: _ClassVar[int]
    interrupt_id: str
    cuts: _containers.RepeatedCompositeFieldContainer[Cut]
    def __init__(self, interrupt_id: _Optional[str] = ..., cuts: _Optional[_Iterable[_Union[Cut, _Mapping]]] = ...) -> None: ...

class Cut(_message.Message):
    __slots__ = ("utterance_id", "heard_samples", "heard_characters", "heard_text", "unheard_text", "source")
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    HEARD_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    HEARD_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    HEARD_TEXT_FIELD_NUMBER: _ClassVar[int]
    UNHEARD_TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    utterance_id: str
    heard_samples: int
    heard_characters: int
    heard_text: str
    unheard_text: str
    source: HeardSource
    def __init__(self, utterance_id: _Optional[str] = ..., heard_samples: _Optional[int] = ..., heard_characters: _Optional[int] = ..., heard_text: _Optional[str] = ..., unheard_text: _Optional[str] = ..., source: _Optional[_Union[HeardSource, str]] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("code", "message", "utterance_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    code: NoticeCode
    message: str
    utterance_id: str
    def __init__(self, code: _Optional[_Union[NoticeCode, str]] = ..., message: _Optional[str] = ..., utterance_id: _Optional[str] = ...) -> None: ...

class RequestRefused(_message.Message):
    __slots__ = ("request_index", "utterance_id", "error")
    REQUEST_INDEX_FIELD_NUMBER: _ClassVar[int]
    UTTERANCE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request_index: int
    utterance_id: str
    error: _status_pb2.Status
    def __init__(self, request_index: _Optional[int] = ..., utterance_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GoingAway(_message.Message):
    __slots__ = ("grace_ms",)
    GRACE_MS_FIELD_NUMBER: _ClassVar[int]
    grace_ms: int
    def __init__(self, grace_ms: _Optional[int] = ...) -> None: ...

class Closed(_message.Message):
    __slots__ = ("status", "usage")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    status: _status_pb2.Status
    usage: Usage
    def __init__(self, status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class SynthesizeRequest(_message.Message):
    __slots__ = ("text", "config")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    text: str
    config: StreamConfig
    def __init__(self, text: _Optional[str] = ..., config: _Optional[_Union[StreamConfig, _Mapping]] = ...) -> None: ...

class SynthesizeResponse(_message.Message):
    __slots__ = ("configured", "started", "audio", "timing", "rerouted", "notice", "done")
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    REROUTED_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    configured: Configured
    started: Started
    audio: AudioChunk
    timing: Timing
    rerouted: Rerouted
    notice: Notice
    done: Done
    def __init__(self, configured: _Optional[_Union[Configured, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., audio: _Optional[_Union[AudioChunk, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., rerouted: _Optional[_Union[Rerouted, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ...) -> None: ...

class AnalyzeEmotionRequest(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class AnalyzeEmotionResponse(_message.Message):
    __slots__ = ("weights", "label", "intensity", "explanation")
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    weights: _emotion_pb2.EmotionWeights
    label: str
    intensity: float
    explanation: str
    def __init__(self, weights: _Optional[_Union[_emotion_pb2.EmotionWeights, _Mapping]] = ..., label: _Optional[str] = ..., intensity: _Optional[float] = ..., explanation: _Optional[str] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("version", "engines", "default_voice", "default_sample_rate_hz", "limits", "open_stream_count", "emotion_analyzer", "features", "emotion_labels")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VOICE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_SAMPLE_RATE_HZ_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    OPEN_STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    EMOTION_ANALYZER_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    EMOTION_LABELS_FIELD_NUMBER: _ClassVar[int]
    version: str
    engines: _containers.RepeatedCompositeFieldContainer[EngineInfo]
    default_voice: str
    default_sample_rate_hz: int
    limits: ServerLimits
    open_stream_count: int
    emotion_analyzer: str
    features: _containers.RepeatedScalarFieldContainer[str]
    emotion_labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[str] = ..., engines: _Optional[_Iterable[_Union[EngineInfo, _Mapping]]] = ..., default_voice: _Optional[str] = ..., default_sample_rate_hz: _Optional[int] = ..., limits: _Optional[_Union[ServerLimits, _Mapping]] = ..., open_stream_count: _Optional[int] = ..., emotion_analyzer: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., emotion_labels: _Optional[_Iterable[str]] = ...) -> None: ...

class EngineInfo(_message.Message):
    __slots__ = ("name", "model", "sample_rate_hz", "languages", "trained", "clones_voices", "voices_emotion", "healthy", "device", "changes_speed", "predicted_ttfa_ms", "load", "parameters")
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
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
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
    parameters: _containers.RepeatedCompositeFieldContainer[EngineParameter]
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., sample_rate_hz: _Optional[int] = ..., languages: _Optional[_Iterable[str]] = ..., trained: bool = ..., clones_voices: bool = ..., voices_emotion: bool = ..., healthy: bool = ..., device: _Optional[str] = ..., changes_speed: bool = ..., predicted_ttfa_ms: _Optional[float] = ..., load: _Optional[int] = ..., parameters: _Optional[_Iterable[_Union[EngineParameter, _Mapping]]] = ...) -> None: ...

class EngineParameter(_message.Message):
    __slots__ = ("name", "description", "min_value", "max_value", "default_value", "integer")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    min_value: float
    max_value: float
    default_value: float
    integer: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., min_value: _Optional[float] = ..., max_value: _Optional[float] = ..., default_value: _Optional[float] = ..., integer: bool = ...) -> None: ...

class ServerLimits(_message.Message):
    __slots__ = ("stream", "max_streams", "max_recording_bytes", "min_recording_ms", "max_recording_ms")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MAX_STREAMS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_BYTES_FIELD_NUMBER: _ClassVar[int]
    MIN_RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_RECORDING_MS_FIELD_NUMBER: _ClassVar[int]
    stream: StreamLimits
    max_streams: int
    max_recording_bytes: int
    min_recording_ms: int
    max_recording_ms: int
    def __init__(self, stream: _Optional[_Union[StreamLimits, _Mapping]] = ..., max_streams: _Optional[int] = ..., max_recording_bytes: _Optional[int] = ..., min_recording_ms: _Optional[int] = ..., max_recording_ms: _Optional[int] = ...) -> None: ...
