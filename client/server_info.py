"""What a server says about itself: engines, defaults, limits."""

from dataclasses import dataclass

from intone.client.emotions import EmotionWeights
from intone.client.events import StreamLimits


@dataclass(frozen=True, slots=True)
class EngineParameter:
    """A setting of an engine, for `SpeechSettings.engine_parameters`.

    Attributes:
        default_value: None: it depends on the text or the checkpoint, see `description`.
        integer: only whole numbers are taken.
    """

    name: str
    description: str
    min_value: float
    max_value: float
    default_value: float | None
    integer: bool


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """A loaded engine.

    Attributes:
        name: for `SpeechSettings.engine`.
        model: which checkpoint, such as "VoxCPM 1.5".
        languages: BCP 47 codes.
        trained: False when its weights were never trained.
        clones_voices: it can make a voice from a recording.
        healthy: False for some seconds after it failed.
        device: where it runs, such as "cpu, 2 threads".
        changes_speed: it can speak faster and slower.
        predicted_ttfa_ms: predicted time to the first audio of a sentence of 40 characters; None: not measured yet.
        load: units that it is speaking or that wait for it.
    """

    name: str
    model: str
    sample_rate_hz: int
    languages: tuple[str, ...]
    trained: bool
    clones_voices: bool
    voices_emotion: bool
    healthy: bool
    device: str
    changes_speed: bool
    predicted_ttfa_ms: float | None
    load: int
    parameters: tuple[EngineParameter, ...]


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of a server.

    Attributes:
        stream: of a stream whose settings set none.
        max_streams: streams open at once.
        max_recording_bytes, min_recording_ms, max_recording_ms: of an uploaded recording.
    """

    stream: StreamLimits
    max_streams: int
    max_recording_bytes: int
    min_recording_ms: int
    max_recording_ms: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server.

    Attributes:
        engines: those that are loaded, the engine of plain speech first.
        default_voice, default_sample_rate_hz: of streams that name none.
        open_stream_count: streams that are open now.
        emotion_analyzer: "none", "lexicon" or "qwen".
        features: what it can do beyond the first version of the protocol, such as "timings".
        emotion_labels: labels of emotions that it knows exactly.
    """

    version: str
    engines: tuple[EngineInfo, ...]
    default_voice: str
    default_sample_rate_hz: int
    limits: ServerLimits
    open_stream_count: int
    emotion_analyzer: str
    features: tuple[str, ...]
    emotion_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EmotionAnalysis:
    """The emotion that a text suggests.

    Attributes:
        label: name of the largest weight, or "neutral".
        intensity: 0 to 1.
        explanation: which words decided it.
    """

    weights: EmotionWeights = EmotionWeights()
    label: str = "neutral"
    intensity: float = 0.0
    explanation: str = ""
