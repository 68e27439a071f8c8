"""What passes between a client and its session: the messages of the wire as plain values, already validated in form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from intone.server.domain import Emotion, Preference, SynthesisOptions
from intone.server.errors import CallerError, IntoneError

# ---- from the client


class FillerPolicy(Enum):
    """When an interjection covers a wait."""

    OFF = "off"
    AUTO = "auto"
    EAGER = "eager"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of one stream.

    Attributes:
        encoding: one of `audio.ENCODINGS`.
        sample_rate_hz: of the stream; decided, never 0.
        lead_limit_ms: None for no limit.
    """

    encoding: str
    sample_rate_hz: int
    voice: str
    emotion: Emotion | None = None
    preference: Preference = Preference.AUTO
    buffered: bool = False
    filler: FillerPolicy = FillerPolicy.AUTO
    lead_limit_ms: int | None = None
    options: SynthesisOptions = SynthesisOptions()
    normalize: bool = True


@dataclass(frozen=True, slots=True)
class TextInput:
    """The next text of an utterance. `emotion`, `voice` and `options` are None where the message had none.

    `fault` is what was found wrong with the message; the rest is then not used.
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
    """Speak what is buffered now."""

    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop an utterance, or all of them when `utterance_id` is empty. `played_ms` is None where it was not said."""

    utterance_id: str
    played_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PlaybackProgress:
    """How much of the stream's audio has been played."""

    played_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that could not be used at all."""

    error: CallerError


ClientEvent = TextInput | Flush | Interrupt | PlaybackProgress | Refusal


# ---- to the client


class RouteReason(Enum):
    """Why an engine speaks."""

    PLAIN = "plain"
    STRONG_EMOTION = "strong_emotion"
    PREFERENCE = "preference"
    NOT_LOADED = "not_loaded"
    FAILING = "failing"
    LANGUAGE = "language"
    POLICY = "policy"
    BUSY = "busy"


class EmotionSource(Enum):
    """Where an emotion comes from."""

    NONE = "none"
    UTTERANCE = "utterance"
    STREAM = "stream"
    TAG = "tag"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class ResolvedEmotion:
    """The emotion that was decided, where it comes from, and in words what in the text decided.

    `approximate`: it was asked for by a description, which was read by keywords only.
    """

    emotion: Emotion = Emotion()
    source: EmotionSource = EmotionSource.NONE
    explanation: str = ""
    approximate: bool = False


class WarningCode(Enum):
    """What was changed or could not be had; the names of the wire."""

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
    """How an utterance ended by itself."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Where the time of an utterance went; the fields and units of `LatencyReport` on the wire."""

    ttfa_ms: float | None = None
    filler_ttfa_ms: float | None = None
    queue_ms: float | None = None
    rtf: float | None = None
    audio_ms: float = 0.0
    filler_ms: float = 0.0
    synthesis_ms: float = 0.0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    units: int = 0
    covered_ms: float | None = None
    predicted_ttfa_ms: float | None = None
    pause_ms: float = 0.0
    fillers: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance has been routed."""

    utterance_id: str
    engine: str
    reason: RouteReason
    explanation: str
    voice: str
    seed: int
    feeling: ResolvedEmotion = ResolvedEmotion()


@dataclass(frozen=True, slots=True)
class Rerouted:
    """From the unit at characters `start` to `end` on, another engine speaks or another emotion is voiced."""

    utterance_id: str
    engine: str
    reason: RouteReason
    explanation: str
    feeling: ResolvedEmotion
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk. `start`, `end` are the characters of its unit; `audible` is whether it can be heard; `filler` is what an
    interjection says."""

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
    filler: str = ""


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything received before this flush has been sent."""

    flush_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An utterance was cancelled."""

    utterance_id: str
    heard_text: str
    unheard_text: str
    heard_ms: int
    report: LatencyReport


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended by itself. `error` is None when it was completed."""

    utterance_id: str
    reason: DoneReason
    report: LatencyReport
    error: IntoneError | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning. `utterance_id` is empty when it is about the stream."""

    code: WarningCode
    message: str
    utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A message of the client was refused."""

    error: CallerError
    utterance_id: str = ""


ServerEvent = Started | Rerouted | AudioChunk | Flushed | Interrupted | Done | Notice | RequestRefused
