"""Messages between a client and its session, as dataclasses: the wire's messages after their fields were checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from intone.server.domain import Emotion, SynthesisOptions
from intone.server.errors import CallerError, IntoneError

# ---- from the client


class FillerPolicy(Enum):
    """When a filler is played during a wait for speech."""

    OFF = "off"
    AUTO = "auto"
    EAGER = "eager"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of one stream, defaults filled in.

    Attributes:
        encoding: one of `audio.encoding.BYTES_PER_SAMPLE`.
        sample_rate_hz: of the audio sent to the client, at least 1.
        engine: name of the engine that the client asks for; empty for a routed one.
        buffered: whether each unit is sent only when it is complete.
        max_lead_ms: audio that may be sent ahead of playback; None for no limit.
        normalize: whether numbers and symbols are spelled out.
    """

    encoding: str
    sample_rate_hz: int
    voice: str
    emotion: Emotion | None = None
    engine: str = ""
    buffered: bool = False
    filler: FillerPolicy = FillerPolicy.AUTO
    max_lead_ms: int | None = None
    options: SynthesisOptions = SynthesisOptions()
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class TextInput:
    """The next text of an utterance; the first one starts it.

    Attributes:
        delta: text to append.
        end: whether this is the last text of the utterance.
        emotion, voice, options: None where the message does not set them.
        fault: why the message is invalid; the other fields, except `utterance_id`, are then not used.
    """

    utterance_id: str
    delta: str = ""
    end: bool = False
    emotion: Emotion | None = None
    voice: str | None = None
    options: SynthesisOptions | None = None
    fault: CallerError | None = None


@dataclass(frozen=True, slots=True)
class Flush:
    """Speak buffered text now; answered by `Flushed` after its audio."""

    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop one utterance, or all if `utterance_id` is empty. `played_ms` as in `PlaybackProgress`; None if absent."""

    utterance_id: str
    played_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PlaybackProgress:
    """How much of the stream's audio the client has played, in milliseconds since the stream began."""

    played_ms: int


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """A message that could not be decoded or that belongs to no utterance."""

    error: CallerError


ClientEvent = TextInput | Flush | Interrupt | PlaybackProgress | InvalidMessage


# ---- to the client


class RouteReason(Enum):
    """Why an engine was chosen."""

    PLAIN = "plain"
    STRONG_EMOTION = "strong_emotion"
    PREFERENCE = "preference"
    NOT_LOADED = "not_loaded"
    FAILING = "failing"
    LANGUAGE = "language"
    POLICY = "policy"
    BUSY = "busy"


class EmotionSource(Enum):
    """What decided an emotion."""

    NONE = "none"
    UTTERANCE = "utterance"
    STREAM = "stream"
    TAG = "tag"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ResolvedEmotion:
    """The emotion of a unit and what decided it.

    Attributes:
        explanation: what in the text decided, for people.
        approximate: whether the client gave a description that only a keyword table interpreted.
    """

    emotion: Emotion = Emotion()
    source: EmotionSource = EmotionSource.NONE
    explanation: str = ""
    approximate: bool = False


class WarningCode(Enum):
    """What a warning is about. Names as on the wire."""

    ENGINE_SUBSTITUTED = "engine_substituted"
    UNTRAINED_WEIGHTS = "untrained_weights"
    EMOTION_NOT_VOICED = "emotion_not_voiced"
    FILLER_UNAVAILABLE = "filler_unavailable"
    VOICE_SUBSTITUTED = "voice_substituted"
    TEXT_NOT_SPOKEN = "text_not_spoken"
    UTTERANCE_ENDED = "utterance_ended"
    AUDIO_CUT = "audio_cut"
    DRAINING = "draining"
    ENGINE_FAILED = "engine_failed"
    SPEED_UNCHANGED = "speed_unchanged"
    EMOTION_APPROXIMATED = "emotion_approximated"


class AudioKind(Enum):
    """What a chunk of audio is."""

    SPEECH = "speech"
    FILLER = "filler"
    SILENCE = "silence"


class DoneReason(Enum):
    """How an utterance ended without being interrupted."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency figures of one utterance. `LatencyReport` in `speech.proto` defines each field."""

    ttfa_ms: float | None = None
    filler_ttfa_ms: float | None = None
    queue_ms: float | None = None
    rtf: float | None = None
    audio_ms: float = 0.0
    filler_ms: float = 0.0
    synthesis_ms: float = 0.0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    unit_count: int = 0
    covered_ms: float | None = None
    predicted_ttfa_ms: float | None = None
    pause_ms: float = 0.0
    filler_count: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """The first unit of an utterance has been routed; its audio follows."""

    utterance_id: str
    engine: str
    reason: RouteReason
    explanation: str
    voice: str
    seed: int
    resolved_emotion: ResolvedEmotion = ResolvedEmotion()


@dataclass(frozen=True, slots=True)
class Rerouted:
    """Engine or emotion change, from the unit at characters [`start`, `end`) on."""

    utterance_id: str
    engine: str
    reason: RouteReason
    explanation: str
    resolved_emotion: ResolvedEmotion
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk of audio.

    Attributes:
        sequence: number of the chunk in its utterance, from 0.
        offset_samples: position of its first sample in the utterance's audio.
        data: encoded samples.
        start, end: character range of its unit; both 0 unless it is speech.
        audible: whether any sample is above the audibility threshold.
        stage_ms: engine time by stage since the previous chunk.
        filler_text: what a filler says; empty otherwise.
    """

    utterance_id: str
    sequence: int
    offset_samples: int
    kind: AudioKind
    data: bytes
    duration_ms: float
    engine: str
    start: int
    end: int
    audible: bool
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    filler_text: str = ""


@dataclass(frozen=True, slots=True)
class Flushed:
    """All audio of the text received before this flush has been sent."""

    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An utterance was interrupted. `heard_text + unheard_text` is all its text; `heard_ms` includes fillers."""

    utterance_id: str
    heard_text: str
    unheard_text: str
    heard_ms: int
    report: LatencyReport


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended without being interrupted. `error` is None if it was completed."""

    utterance_id: str
    reason: DoneReason
    report: LatencyReport
    error: IntoneError | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning. `utterance_id` is empty if it is about the stream."""

    code: WarningCode
    message: str
    utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A message from the client was refused. `utterance_id` is empty if it names none."""

    error: CallerError
    utterance_id: str = ""


ServerEvent = Started | Rerouted | AudioChunk | Flushed | Interrupted | Done | Notice | RequestRefused
