"""Settings of streams and utterances, and their conversion to wire messages.

Only names are checked here; the server checks the ranges of numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2

EMOTION_WEIGHT_NAMES = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
"""The emotions of the eight weights of an emotion vector, in order."""

EMOTION_LABELS = tuple(name.removeprefix("EMOTION_LABEL_").lower() for name in emotion_pb2.EmotionLabel.keys()[1:])
"""Names of the emotion labels."""

EmotionLike = str | Sequence[float] | emotion_pb2.Emotion
"""An emotion: a string for `parse_emotion`, eight weights, or the wire message."""

MAX_LEAD_LIMIT_MS = 600_000
"""The longest lead limit that a server accepts: for callers that do not play the audio in real time."""


def wire_name(enum: Any, prefix: str, number: int) -> str:
    """Name of an enum value, in lower case and without `prefix`. An unknown value gives its number as text."""
    try:
        return str(enum.Name(number)).removeprefix(prefix).lower()
    except ValueError:
        return str(number)


def wire_value(enum: Any, prefix: str, name: str) -> Any:
    """Value of an enum by its name; the inverse of `wire_name`.

    Raises:
        ValueError: there is no such name. The message lists the known names.
    """
    try:
        return enum.Value(prefix + name.upper())
    except ValueError:
        names = list(enum.keys())
        known = ", ".join(key.removeprefix(prefix).lower() for key in names if not key.endswith("_UNSPECIFIED"))
        raise ValueError(f"{name!r} is not one of {known}") from None


def parse_emotion(text: str) -> emotion_pb2.Emotion:
    """Parse an emotion in one of four notations.

    - `happy` or `happy:0.7`: a label (`EMOTION_LABELS`), with an intensity from 0 to 1;
    - eight numbers separated by commas: weights in the order of `EMOTION_WEIGHT_NAMES`, each 0 to 1.2;
    - `describe:tired but relieved`: free text;
    - `@clip.wav`: a recording whose emotion is to be followed; the file is read.

    Raises:
        ValueError: it is none of these.
        OSError: the recording cannot be read.
    """
    if text.startswith("@"):
        return emotion_pb2.Emotion(clip=emotion_pb2.ReferenceClip(audio=Path(text[1:]).read_bytes()))
    if text.startswith("describe:"):
        return emotion_pb2.Emotion(description=text.removeprefix("describe:").strip())
    if "," in text:
        return _vector([_number(part) for part in text.split(",")])
    label, _, intensity = text.partition(":")
    message = emotion_pb2.Emotion(label=wire_value(emotion_pb2.EmotionLabel, "EMOTION_LABEL_", label.strip()))
    if intensity:
        message.intensity = _number(intensity)
    return message


def emotion_message(emotion: EmotionLike | None) -> emotion_pb2.Emotion | None:
    """Convert an emotion to its wire message. None stays None and leaves the choice to the server."""
    if emotion is None or isinstance(emotion, emotion_pb2.Emotion):
        return emotion
    return parse_emotion(emotion) if isinstance(emotion, str) else _vector(emotion)


def _vector(weights: Sequence[float]) -> emotion_pb2.Emotion:
    if len(weights) != 8:
        raise ValueError(f"an emotion vector has 8 numbers, but {len(weights)} were given")
    return emotion_pb2.Emotion(vector=emotion_pb2.EmotionVector(weights=weights))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not a number") from None


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """Synthesis options of an utterance. None means the engine's default.

    Attributes:
        steps: diffusion steps, 1 to 100. More is slower and more accurate.
        guidance: classifier-free guidance scale, 0 to 10; 1 is none.
        seed: random seed. The same text, voice, options, engine and seed give the same audio.
        min_audio_ms, max_audio_ms: bounds on the duration of each unit, 0 to 60,000 and 100 to 600,000.
        speed: pace of speech, 0.5 to 2; 2 is twice as fast.
    """

    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    min_audio_ms: int | None = None
    max_audio_ms: int | None = None
    speed: float | None = None

    def message(self) -> speech_pb2.SynthesisOptions:
        """Convert to the wire message."""
        return speech_pb2.SynthesisOptions(
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            min_audio_ms=self.min_audio_ms,
            max_audio_ms=self.max_audio_ms,
            speed=self.speed,
        )


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of a stream; `StreamConfig` on the wire. Defaults leave the decision to the server.

    Attributes:
        voice: name of the voice; empty means the server's default.
        emotion: of utterances that do not set one.
        engine: name of an engine of the server, as in `EngineInfo.name`; empty lets the server choose.
        sample_rate_hz: 8000, 16000, 22050, 24000, 32000, 44100 or 48000; 0 means the engine's own rate.
        encoding: one of `audio.ENCODINGS`.
        delivery: "streamed" (audio is sent while it is synthesized) or "buffered" (unit by unit).
        filler: "auto", "off" or "eager" (also inside an utterance).
        lead_limit_ms: how far the server may run ahead of playback, 200 to 600,000.
        normalize: whether numbers, dates and symbols are read out as words.
        options: of utterances that do not set them.
    """

    voice: str = ""
    emotion: EmotionLike | None = None
    engine: str = ""
    sample_rate_hz: int = 0
    encoding: str = "pcm_s16le"
    delivery: str = "streamed"
    filler: str | None = None
    lead_limit_ms: int | None = None
    normalize: bool | None = None
    options: SynthesisOptions = field(default_factory=SynthesisOptions)

    def message(self) -> speech_pb2.StreamConfig:
        """Convert to the wire message.

        Raises:
            ValueError: a name is unknown. The message lists the known names.
        """

        message = speech_pb2.StreamConfig(
            format=audio_pb2.AudioFormat(
                encoding=wire_value(audio_pb2.AudioEncoding, "AUDIO_ENCODING_", self.encoding),
                sample_rate_hz=self.sample_rate_hz,
            ),
            voice=self.voice,
            emotion=emotion_message(self.emotion),
            engine=self.engine,
            delivery=wire_value(speech_pb2.Delivery, "DELIVERY_", self.delivery),
            filler=wire_value(speech_pb2.FillerPolicy, "FILLER_POLICY_", self.filler or "unspecified"),
            lead_limit_ms=self.lead_limit_ms,
            options=self.options.message(),
        )
        if self.normalize is not None:
            message.normalize = self.normalize
        return message
