"""Messages between a client and its session, as dataclasses: the wire's messages after their fields were checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum

from intone.server.domain import Emotion
from intone.server.errors import CallerError, IntoneError
from intone.server.settings import SpeechSettings, StreamLimits, StreamSettings


@dataclass(frozen=True, slots=True)
class AudioPosition:
    """A position in a stream's audio: a sample of an utterance, counted from 0 at the stream's rate."""

    utterance_id: str
    sample: int


# ---- from the client


@dataclass(frozen=True, slots=True)
class StartUtterance:
    """Starts an utterance.

    Attributes:
        settings: as the message has them, not completed with those of the stream.
        text_timeout_ms: silence of its text after which it is taken as ended if others wait; None for the server's own.
        cover_after_ms: silence after which a filler covers a wait for its text; None for never.
        fault: why the message is invalid; the other fields, except `utterance_id`, are then not used.
    """

    utterance_id: str
    settings: SpeechSettings = SpeechSettings()
    text_timeout_ms: int | None = None
    cover_after_ms: int | None = None
    fault: CallerError | None = None


@dataclass(frozen=True, slots=True)
class TextInput:
    """The next text of an utterance; the first one starts it.

    Attributes:
        delta: text to append.
        end: whether this is the last text of the utterance.
        offset: characters sent before `delta`; None if the message does not say.
        fault: why the message is invalid; the other fields, except `utterance_id`, are then not used.
    """

    utterance_id: str
    delta: str = ""
    end: bool = False
    offset: int | None = None
    fault: CallerError | None = None


@dataclass(frozen=True, slots=True)
class Flush:
    """Speak buffered text now, of one utterance or, with an empty id, of all; answered by `Flushed` after its audio."""

    flush_id: str
    utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Stop utterances; all that were started if `utterance_ids` is empty. `played` None: the client does not say."""

    interrupt_id: str = ""
    utterance_ids: tuple[str, ...] = ()
    played: AudioPosition | None = None


@dataclass(frozen=True, slots=True)
class PlaybackProgress:
    """What the client has played."""

    played: AudioPosition


@dataclass(frozen=True, slots=True)
class Finish:
    """No new utterance will come; the stream ends when everything was heard or cut."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The client ends the stream now."""


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """A message that could not be decoded, or one other than `start` and `text` with an invalid field."""

    error: CallerError


ClientEvent = StartUtterance | TextInput | Flush | Interrupt | PlaybackProgress | Finish | Leave | InvalidMessage


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


class NoticeCode(Enum):
    """What a notice is about. Names as on the wire."""

    ENGINE_SUBSTITUTED = "engine_substituted"
    UNTRAINED_WEIGHTS = "untrained_weights"
    EMOTION_NOT_VOICED = "emotion_not_voiced"
    FILLER_UNAVAILABLE = "filler_unavailable"
    VOICE_SUBSTITUTED = "voice_substituted"
    TEXT_NOT_SPOKEN = "text_not_spoken"
    UTTERANCE_ENDED = "utterance_ended"
    AUDIO_CUT = "audio_cut"
    ENGINE_FAILED = "engine_failed"
    SPEED_UNCHANGED = "speed_unchanged"
    EMOTION_APPROXIMATED = "emotion_approximated"
    TEXT_TIMEOUT = "text_timeout"
    SETTINGS_IGNORED = "settings_ignored"
    PLAYBACK_STALLED = "playback_stalled"
    FEATURE_UNAVAILABLE = "feature_unavailable"
    PRONUNCIATION_APPROXIMATED = "pronunciation_approximated"
    CUE_NOT_PERFORMED = "cue_not_performed"
    STREAM_THROTTLED = "stream_throttled"


class AudioKind(Enum):
    """What audio is."""

    SPEECH = "speech"
    FILLER = "filler"
    SILENCE = "silence"


class DoneReason(Enum):
    """How an utterance ended."""

    COMPLETED = "completed"
    EMPTY = "empty"
    INTERRUPTED = "interrupted"
    REJECTED = "rejected"
    FAILED = "failed"


class HeardSource(Enum):
    """How the server knows what was heard."""

    REPORTED = "reported"
    EXTRAPOLATED = "extrapolated"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spoken, of one utterance or of a stream. `Usage` in `speech.proto` defines each field."""

    characters: int = 0
    spoken_characters: int = 0
    speech_ms: float = 0.0
    filler_ms: float = 0.0
    pause_ms: float = 0.0
    unit_count: int = 0
    filler_count: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Latency figures of one utterance. `LatencyReport` in `speech.proto` defines each field.

    Attributes:
        engine: which spoke first, for metrics; empty without speech.
    """

    ttfa_ms: float | None = None
    engine: str = ""
    filler_ttfa_ms: float | None = None
    queue_ms: float | None = None
    rtf: float | None = None
    synthesis_ms: float = 0.0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    covered_ms: float | None = None
    predicted_ttfa_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The session is ready: the first event of every stream."""

    stream_id: str
    settings: StreamSettings
    limits: StreamLimits
    features: tuple[str, ...]
    resume_token: str = ""
    """Empty if the stream cannot be resumed."""
    resume_ms: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """The first unit of an utterance has been routed; its speech follows."""

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
        kind: of its first sample that is not a pause; SILENCE if there is none.
        data: encoded samples.
        samples: how many it has of each kind.
        duration_ms: of all of them.
        engine: that made the audio of `kind`; empty for a pause and an uploaded filler.
        unit_span: character range of the unit that starts in this chunk; None if none does.
        audible: whether any sample of speech is above the audibility threshold.
        stage_ms: engine time by stage since the previous chunk.
        filler_text: what the filler that starts in this chunk says; empty otherwise.
    """

    utterance_id: str
    sequence: int
    offset_samples: int
    kind: AudioKind
    data: bytes
    samples: Mapping[AudioKind, int]
    duration_ms: float
    engine: str = ""
    unit_span: tuple[int, int] | None = None
    audible: bool = False
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    filler_text: str = ""

    @property
    def sample_count(self) -> int:
        """Samples of all kinds."""
        return sum(self.samples.values())


@dataclass(frozen=True, slots=True)
class Flushed:
    """The audio of the text that was received before this flush has been sent."""

    flush_id: str


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended. `error` is None unless it was rejected or has failed."""

    utterance_id: str
    reason: DoneReason
    sample_count: int = 0
    usage: Usage = Usage()
    latency: LatencyReport = LatencyReport()
    error: IntoneError | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """What was heard of an interrupted utterance. `heard_text + unheard_text` is all its text, unless that is long."""

    utterance_id: str
    heard_samples: int
    heard_text: str
    unheard_text: str
    source: HeardSource


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The answer to an interrupt: the utterances that it stopped, in the order of their start."""

    interrupt_id: str
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that deserves attention. `utterance_id` is empty if it is about the stream."""

    code: NoticeCode
    message: str
    utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A message from the client was refused.

    Attributes:
        request_index: number of the message, from 0, the config.
        utterance_id: empty if it names none.
    """

    request_index: int
    error: CallerError
    utterance_id: str = ""


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The server shuts down within `grace_ms`; the stream ends once what is open was finished and heard."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of a stream. `error` is None if it ended as the client asked for."""

    error: Exception | None
    usage: Usage


ServerEvent = (
    Configured
    | Started
    | Rerouted
    | AudioChunk
    | Flushed
    | Done
    | Interrupted
    | Notice
    | RequestRefused
    | GoingAway
    | Closed
)
