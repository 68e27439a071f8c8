"""Types shared by the conversation, the engines and the RPC layer. Imports neither torch nor gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

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
    """

    weights: tuple[float, ...] = (0.0,) * len(EMOTIONS)
    intensity: float = 0.0
    description: str = ""
    clip: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Whether plain speech satisfies it: no description, no clip, no weight except that of "calm"."""
        return not (self.description or self.clip) and not any(self.weights[:-1])

    @property
    def label(self) -> str:
        """Name of the largest weight, the first one of equals; "neutral" if `is_plain`."""
        return "neutral" if self.is_plain else EMOTIONS[self.weights.index(max(self.weights))]


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """Synthesis settings of one utterance; None is the engine's default. `speech.proto` gives their ranges."""

    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    min_audio_ms: int | None = None
    max_audio_ms: int | None = None
    speed: float | None = None

    def with_defaults(self, base: "SynthesisOptions") -> "SynthesisOptions":
        """These options, with None replaced by the value in `base`."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        return SynthesisOptions(
            **{name: getattr(base, name) if value is None else value for name, value in chosen.items()}
        )


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
    """Recording of a voice, mono. `transcript` is empty if unknown."""

    samples: Samples
    sample_rate_hz: int
    transcript: str = ""

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return round(1000 * len(self.samples) / self.sample_rate_hz)


@dataclass(frozen=True, slots=True)
class PreparedVoice:
    """What one engine computed from a recording. Immutable, shared by all utterances, saved with the voice.

    Attributes:
        fingerprint: of the engine's weights; a prepared voice works only with these.
        arrays: named by the engine.
        text: for the engine's own use (VoxCPM: the normalized transcript).
        warnings: for the client: which parts of the recording were not used. Not saved.
    """

    fingerprint: str
    arrays: Mapping[str, NDArray[Any]]
    text: str = ""
    warnings: tuple[str, ...] = ()


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
        recording: None for the built-in voice "default": every engine then uses its own voice.
        prepared: by engine name.
        created_s: Unix time; 0 for the built-in voice.
        content_id: SHA-256 of recording and transcript, hexadecimal; empty for the built-in voice.
        fillers: in this voice.
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
        """Whether it is part of the server rather than created from a recording."""
        return self.recording is None

    def prepared_for(self, engine: str, fingerprint: str) -> PreparedVoice | None:
        """What the engine prepared with the weights of this fingerprint; None if it has not."""
        prepared = self.prepared.get(engine)
        return prepared if prepared is not None and prepared.fingerprint == fingerprint else None


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of an utterance's text that an engine synthesizes in one go.

    Attributes:
        index: number in the utterance, from 0.
        start, end: character range in the utterance's text; consecutive units are contiguous.
        text: those characters, as received.
        speakable: whether it has a letter or a digit.
        untagged_text: `text` without inline tags.
        emotion: of the last inline tag at or before its beginning; None if there is none.
    """

    index: int
    start: int
    end: int
    text: str
    speakable: bool
    untagged_text: str = ""
    emotion: Emotion | None = None


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """Input of an engine for one unit.

    Attributes:
        text: normalized text, not blank.
        seed: 0 to 2**64 - 1; the same request with the same seed gives the same samples.
        voice: prepared earlier by this engine, or None for its own voice.
        emotion: ignored by engines that do not voice emotion.
        options: `seed` in it is not used.
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
    """

    pcm: Samples | None
    done: bool
    cut: bool = False
    stage_ms: Mapping[str, float] = field(default_factory=dict)
