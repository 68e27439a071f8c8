"""Types shared by the conversation, the engines and the RPC layer. Imports neither torch nor gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("auto", "int8", "bf16", "fp32")
"""Precisions of weights and arithmetic; "auto" is the engine's own default."""

Samples = NDArray[np.float32]
"""Mono audio, float32 `[T]`, nominally in [-1, 1]."""

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
"""Names of the weights of an emotion, in the order of IndexTTS."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """How an utterance should sound.

    Attributes:
        weights: one for each of `EMOTIONS`, each in [0, 1.2], sum at most 1.5. All zeros is neutral.
        intensity: 0 to 1; compared with the routing threshold.
        description: free text not converted to weights yet; else empty.
        clip: a recording to imitate, as the bytes of an audio file; else empty.
        clip_id: names an uploaded recording, which takes the place of `clip` when a unit is spoken; else empty.
    """

    weights: tuple[float, ...] = (0.0,) * len(EMOTIONS)
    intensity: float = 0.0
    description: str = ""
    clip: bytes = b""
    clip_id: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether plain speech satisfies it: no description, no clip, no weight except that of "calm"."""
        return not (self.description or self.clip or self.clip_id) and not any(self.weights[:-1])

    @property
    def label(self) -> str:
        """Name of the largest weight, the first one of equals; "neutral" if `is_plain`."""
        return "neutral" if self.is_plain else EMOTIONS[self.weights.index(max(self.weights))]


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """How an engine is to synthesize.

    Attributes:
        speed: pace, 0.5 to 2; None is the engine's own.
        parameters: values by name, of `EngineInfo.parameters`; an engine ignores names that it does not have.
    """

    speed: float | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """The value of a parameter; None where the engine's default applies."""
        return self.parameters.get(name)

    def integer(self, name: str) -> int | None:
        """The value of a parameter that is a whole number; None where the engine's default applies."""
        value = self.parameters.get(name)
        return None if value is None else round(value)


@dataclass(frozen=True, slots=True)
class EngineParameter:
    """A setting of an engine that clients may change for each utterance.

    Attributes:
        description: what it does, for people.
        low, high: its range.
        default: None where it depends on the text or the checkpoint.
        integer: whether only whole numbers are taken.
    """

    name: str
    description: str
    low: float
    high: float
    default: float | None = None
    integer: bool = False


CPU_BATCH = 16
"""Units that an engine on a CPU advances together: with more, steps become long and the first sound late."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Description of a loaded engine; routing goes by it.

    Attributes:
        name: as in its registry entry.
        model: name of the checkpoint, for people.
        sample_rate_hz: of the audio it produces.
        languages: BCP 47 codes.
        trained: False if its weights are random.
        clones_voices: whether `prepare_voice` works.
        voices_emotion: whether it uses `SpeakRequest.emotion`.
        device: what it runs on, for people.
        changes_speed: whether it uses `SynthesisOptions.speed`.
        parameters: what `SynthesisOptions.parameters` may hold for it.
        alphabets: what sounds of single words it takes in a text, of "ipa" and "pinyin"; see `text.pronunciation`.
        own_voice: name by which clients can ask for its own voice; empty for none.
        max_batch: units that it advances together, unless the settings say another number.
        new_units: units that it begins in one step: more delay those that are being spoken.
    """

    name: str
    model: str
    sample_rate_hz: int
    languages: tuple[str, ...]
    trained: bool
    clones_voices: bool
    voices_emotion: bool
    device: str
    changes_speed: bool = False
    parameters: tuple[EngineParameter, ...] = ()
    alphabets: tuple[str, ...] = ()
    own_voice: str = ""
    max_batch: int = CPU_BATCH
    new_units: int = 1


class VoiceNoticeCode(Enum):
    """What a notice about a voice says: `VoiceNoticeCode` of `voice.proto`, which explains each."""

    ENGINE_WITHOUT_VOICE = "engine_without_voice"
    RECORDING_CUT = "recording_cut"
    RECORDING_INCOMPLETE = "recording_incomplete"
    RECORDING_ENDS_ABRUPTLY = "recording_ends_abruptly"
    RECORDING_QUIET = "recording_quiet"
    CHANNELS_CANCEL = "channels_cancel"
    TRANSCRIPT_MISMATCH = "transcript_mismatch"


@dataclass(frozen=True, slots=True)
class VoiceNotice:
    """Something about a new voice that its maker should know: a code, a sentence, the engine (empty: the recording)."""

    code: VoiceNoticeCode
    message: str
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """Recording of a voice, mono.

    Attributes:
        transcript: the words spoken; empty if unknown.
        notices: what its decoder changed or doubts. Not saved.
    """

    samples: Samples
    sample_rate_hz: int
    transcript: str = ""
    notices: tuple[VoiceNotice, ...] = ()

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return round(1000 * len(self.samples) / self.sample_rate_hz)

    def read(self) -> "Recording":
        """The recording itself."""
        return self


class VoiceRecording(Protocol):
    """The recording of a voice: in memory, or in a file from which `read` fetches it."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second."""

    @property
    def transcript(self) -> str:
        """The words spoken; empty if unknown."""

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""

    def read(self) -> Recording:
        """The recording with its samples; may read a file.

        Raises:
            OSError, ValueError: the file cannot be read, or holds another recording.
        """


@dataclass(frozen=True, slots=True)
class PreparedVoice:
    """What one engine computed from a recording. Immutable, shared by all utterances, saved with the voice.

    Attributes:
        fingerprint: of the engine's weights; a prepared voice works only with these.
        arrays: named by the engine.
        text: for the engine's own use (VoxCPM: the normalized transcript).
        notices: for the maker of the voice, such as parts of the recording that are not used. Not saved.
    """

    fingerprint: str
    arrays: Mapping[str, NDArray[Any]]
    text: str = ""
    notices: tuple[VoiceNotice, ...] = ()


@dataclass(frozen=True, slots=True)
class Filler:
    """An interjection played during a wait: a short clip that begins and ends in silence.

    Attributes:
        text: what it says.
        emotion: "neutral" or one of `EMOTIONS`.
        language: BCP 47 code.
        samples: `[T]`, silence at both ends trimmed.
        cuts_ms: positions between two sounds where it may be stopped, ascending; the last one is its end.
        engine: that rendered it; empty for a clip that the user uploaded.
        fingerprint: of that engine's weights; empty for a clip.
    """

    text: str
    emotion: str
    language: str
    samples: Samples
    sample_rate_hz: int
    cuts_ms: tuple[int, ...]
    engine: str = ""
    fingerprint: str = ""

    @property
    def duration_ms(self) -> float:
        """Length in milliseconds."""
        return 1000 * len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Level:
    """Loudness of an engine's plain speech in one voice, measured by `voices.loudness.loudness_db`."""

    fingerprint: str
    loudness_db: float


@dataclass(frozen=True, slots=True)
class Voice:
    """A named voice. The recording is kept so that engines loaded later can prepare it too.

    Attributes:
        recording: None for a built-in voice: engines then use their own voice.
        prepared: by engine name.
        created_s: Unix time; 0 for a built-in voice.
        content_id: SHA-256 of recording and transcript, hexadecimal; empty for a built-in voice.
        fillers: in this voice.
        levels: loudness by engine name.
        languages: BCP 47 codes of the languages it is meant for.
        description: what it is like, for people.
        labels: of the client's own.
        owner: name of the principal that it belongs to; empty if everybody may speak with it.
        shared_with: names of other principals that may speak with it.
        engine: the only engine that has it, if it is the built-in voice of one; "default" is the own voice of each.
    """

    name: str
    recording: VoiceRecording | None = None
    prepared: Mapping[str, PreparedVoice] = field(default_factory=dict)
    created_s: float = 0.0
    content_id: str = ""
    fillers: tuple[Filler, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    shared_with: tuple[str, ...] = ()
    engine: str = ""

    @property
    def built_in(self) -> bool:
        """Whether it is part of the server rather than created from a recording."""
        return self.recording is None

    def prepared_for(self, engine: str, fingerprint: str) -> PreparedVoice | None:
        """What the engine prepared with the weights of this fingerprint; None if it has not."""
        prepared = self.prepared.get(engine)
        return prepared if prepared is not None and prepared.fingerprint == fingerprint else None

    def spoken_by(self, engine: str, fingerprint: str) -> bool:
        """Whether the engine, with the weights of this fingerprint, has this voice."""
        if self.built_in:
            return self.engine in ("", engine)
        return self.prepared_for(engine, fingerprint) is not None


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of an utterance's text that an engine synthesizes in one go.

    Attributes:
        index: number in the utterance, from 0.
        start, end: character range in the utterance's text; consecutive units are contiguous.
        text: those characters, as received.
        speakable: whether it has a letter or a digit.
    """

    index: int
    start: int
    end: int
    text: str
    speakable: bool


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """Input of an engine for one unit.

    Attributes:
        text: normalized text, not blank; words with sounds of their own are marked (`text.pronunciation.marks`).
        seed: 0 to 2**64 - 1; the same request with the same seed gives the same samples.
        voice: prepared earlier by this engine, or None for its own voice.
        emotion: ignored by engines that do not voice emotion.
        whole: the client receives the unit only when it is complete, so the engine need not stream it.
    """

    text: str
    seed: int
    voice: PreparedVoice | None = None
    emotion: Emotion = Emotion()
    options: SynthesisOptions = SynthesisOptions()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Output of one engine step for one unit.

    Attributes:
        pcm: new audio at the engine's rate, `[T]`; None if there is none yet.
        done: whether this is the last step.
        cut: whether the length limit ended the unit.
        stage_ms: wall time by stage; in a batch, the time of the whole batch.
        waits: whether nothing was done, because the engine has no room for the unit until others end.
    """

    pcm: Samples | None
    done: bool
    cut: bool = False
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    waits: bool = False
