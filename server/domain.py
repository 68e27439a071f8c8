"""The vocabulary: what the conversation, the engines and the service say to each other. No torch, no gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("auto", "int8", "bf16", "fp32")
"""What an engine may be told to compute in; "auto" leaves it the choice."""

Samples = NDArray[np.float32]
"""Mono audio, float32 `[T]`, nominally in [-1, 1]."""

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
"""Order of the weights of an emotion: that of IndexTTS."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """How an utterance should sound.

    Attributes:
        weights: one number for each of `EMOTIONS`, each in [0, 1.2], sum at most 1.5. All zeros is neutral.
        intensity: 0 to 1; compared with the routing threshold.
        description: free text that no analyzer has turned into weights yet; empty otherwise.
        clip: a recording (whole file) to follow; empty otherwise.
    """

    weights: tuple[float, ...] = (0.0,) * len(EMOTIONS)
    intensity: float = 0.0
    description: str = ""
    clip: bytes = b""

    @property
    def calm(self) -> bool:
        """Whether it asks for nothing but plain speech."""
        return not (self.description or self.clip) and not any(self.weights[:-1])

    @property
    def label(self) -> str:
        """Name of its largest weight, the first of equals; "neutral" where it is calm."""
        return "neutral" if self.calm else EMOTIONS[self.weights.index(max(self.weights))]


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """Settings of one utterance; `None` means the engine's default. Ranges are those of the wire."""

    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    min_audio_ms: int | None = None
    max_audio_ms: int | None = None
    speed: float | None = None

    def with_defaults(self, base: "SynthesisOptions") -> "SynthesisOptions":
        """These options, with what is absent here taken from `base`."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return SynthesisOptions(
            **{name: getattr(base, name) if value is None else value for name, value in chosen.items()}
        )


class Preference(Enum):
    """Which engine a client asks for; the value of all but AUTO is the engine's name."""

    AUTO = "auto"
    VOXCPM = "voxcpm"
    INDEXTTS = "indextts"
    STARTER = "starter"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is.

    Attributes:
        name: "voxcpm", "indextts" or "starter".
        model: which checkpoint, for people.
        sample_rate_hz: native rate of its audio.
        languages: BCP 47 codes.
        trained: False when its weights are random.
        clones_voices: whether `prepare_voice` works.
        voices_emotion: whether it uses an emotion.
        device: where it runs, for people.
        changes_speed: whether it uses `SynthesisOptions.speed`.
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


@dataclass(frozen=True, slots=True)
class Recording:
    """A voice's recording: mono; `transcript` is empty where the words are not known."""

    samples: Samples
    sample_rate_hz: int
    transcript: str = ""

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return round(1000 * len(self.samples) / self.sample_rate_hz)


@dataclass(frozen=True, slots=True)
class PreparedVoice:
    """What one engine made of a recording: immutable, shared by all utterances, saved with the voice.

    Attributes:
        fingerprint: of the engine's weights; a prepared voice works only with the weights that made it.
        arrays: the engine's own arrays, by its own names.
        text: the engine's own text (VoxCPM: the transcript as it is spoken).
        warnings: in words, for whoever sent the recording: what of it was not used. Not saved.
    """

    fingerprint: str
    arrays: Mapping[str, NDArray[Any]]
    text: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filler:
    """An interjection that covers a wait: a short piece of audio that begins and ends in silence.

    Attributes:
        text: what it says.
        emotion: "neutral" or one of `EMOTIONS`.
        language: BCP 47 code.
        samples: `[T]`, trimmed to the sound itself.
        cuts_ms: where it may be stopped, ascending: between two sounds of it; the last one is its end.
        engine: who rendered it; empty for a clip of the user's.
        fingerprint: of that engine's weights; empty likewise.
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
    """How loud an engine's plain speech is in one voice: `loudness_db` as `loudness.loudness_db` measures it."""

    fingerprint: str
    loudness_db: float


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice by name. The recording is kept so that an engine loaded later can prepare it too.

    Attributes:
        recording: None for the built-in voice "default", with which every engine speaks as it is.
        prepared: by engine name.
        created_s: seconds since 1970, UTC; 0 for a built-in voice.
        content_id: SHA-256 of recording and transcript, hexadecimal; empty for a built-in voice.
        fillers: interjections in this voice.
        levels: loudness by engine name.
    """

    name: str
    recording: Recording | None = None
    prepared: Mapping[str, PreparedVoice] = field(default_factory=dict)
    created_s: float = 0.0
    content_id: str = ""
    fillers: tuple[Filler, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict)

    @property
    def built_in(self) -> bool:
        """Whether it came with the server."""
        return self.recording is None

    def made_for(self, engine: str, fingerprint: str) -> PreparedVoice | None:
        """What an engine with these weights prepared, None if there is nothing that fits it."""
        prepared = self.prepared.get(engine)
        return prepared if prepared is not None and prepared.fingerprint == fingerprint else None


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of an utterance that an engine speaks in one go.

    Attributes:
        index: counts the units of the utterance from 0.
        start, end: where it stands in the utterance's text, in characters; consecutive units join without a gap.
        text: those characters, as received.
        speakable: whether there is a letter or a digit to speak in it.
        words: the text without inline tags.
        emotion: of the last inline tag at its beginning or before it; None where there was none.
    """

    index: int
    start: int
    end: int
    text: str
    speakable: bool
    words: str = ""
    emotion: Emotion | None = None


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """What an engine is asked to speak.

    Attributes:
        text: normalized text, not blank.
        seed: 0 to 2**64 - 1; with the other fields it decides every sample.
        voice: what this engine prepared earlier, or None for its own voice.
        emotion: how it should sound; engines without emotion ignore it.
        options: `seed` in it is not used.
        whole: the unit is sent in one piece: an engine that is better offline may make it so.
    """

    text: str
    seed: int
    voice: PreparedVoice | None = None
    emotion: Emotion = Emotion()
    options: SynthesisOptions = SynthesisOptions()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of an engine gave for one utterance.

    Attributes:
        pcm: new audio at the engine's rate, None when nothing is final yet.
        done: nothing follows.
        cut: the length limit ended it, not the engine.
        stage_ms: wall milliseconds by stage. In a batch each utterance is given the time of the whole batch.
    """

    pcm: Samples | None
    done: bool
    cut: bool = False
    stage_ms: Mapping[str, float] = field(default_factory=dict)
