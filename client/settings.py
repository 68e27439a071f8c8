"""How a caller says what it wants: Python values in, wire messages out. Judges names only; ranges are the server's."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2

WEIGHT_NAMES = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
"""What the eight weights of an emotion stand for, in their order."""

EMOTION_LABELS = tuple(name.removeprefix("EMOTION_LABEL_").lower() for name in emotion_pb2.EmotionLabel.keys()[1:])
"""Names of emotions."""

EmotionLike = str | Sequence[float] | emotion_pb2.Emotion
"""An emotion: a text that `parse_emotion` reads, eight weights, or the wire message."""

LEAD_LIMIT_MAX_MS = 600_000
"""The longest lead limit a stream may ask for: for callers that do not play the audio while it is made."""


def wire_name(enum: Any, prefix: str, number: int) -> str:
    """Our name of an enum value: lower case, without the prefix. A number from a newer server stays a number."""
    try:
        return str(enum.Name(number)).removeprefix(prefix).lower()
    except ValueError:
        return str(number)


def wire_value(enum: Any, prefix: str, name: str) -> Any:
    """The enum value of our name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    try:
        return enum.Value(prefix + name.upper())
    except ValueError:
        names = list(enum.keys())
        known = ", ".join(key.removeprefix(prefix).lower() for key in names if not key.endswith("_UNSPECIFIED"))
        raise ValueError(f"{name!r} is not one of {known}") from None


def parse_emotion(text: str) -> emotion_pb2.Emotion:
    """Read an emotion as people write it.

    `happy` or `happy:0.7` is a label with an intensity, eight numbers with commas are a vector (happy, angry, sad,
    afraid, disgusted, melancholic, surprised, calm), `describe:tired but relieved` is free text, and `@clip.wav` a
    recording to follow.

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
    """The wire message of an emotion; None stays None and leaves the choice to the server."""
    if emotion is None or isinstance(emotion, emotion_pb2.Emotion):
        return emotion
    return parse_emotion(emotion) if isinstance(emotion, str) else _vector(emotion)


def _vector(weights: Sequence[float]) -> emotion_pb2.Emotion:
    if len(weights) != 8:
        raise ValueError(f"an emotion vector has 8 numbers, this one has {len(weights)}")
    return emotion_pb2.Emotion(vector=emotion_pb2.EmotionVector(weights=weights))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not a number") from None


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one utterance; None means the engine's default. Ranges: see `SynthesisOptions` on the wire."""

    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    min_audio_ms: int | None = None
    max_audio_ms: int | None = None
    speed: float | None = None

    def message(self) -> speech_pb2.SynthesisOptions:
        """The same for the wire."""
        return speech_pb2.SynthesisOptions(
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
            min_audio_ms=self.min_audio_ms,
            max_audio_ms=self.max_audio_ms,
            speed=self.speed,
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a whole stream; what is left out is decided by the server.

    Attributes:
        voice: name of the voice; empty means the server's default.
        emotion: of utterances that carry none of their own.
        engine: "auto", "voxcpm", "indextts" or "starter".
        sample_rate_hz: 8000, 16000, 22050, 24000, 32000, 44100 or 48000; 0 means the engine's own rate.
        encoding: one of `audio.ENCODINGS`.
        delivery: "streamed" or "buffered".
        filler: "auto", "off" or "eager" (also inside an utterance); None leaves it to the server.
        lead_limit_ms: how far the server may run ahead of playback, 200 to 600000.
        normalize: whether numbers, dates and symbols are read out as words.
        options: of utterances that carry none of their own.
    """

    voice: str = ""
    emotion: EmotionLike | None = None
    engine: str = "auto"
    sample_rate_hz: int = 0
    encoding: str = "pcm_s16le"
    delivery: str = "streamed"
    filler: str | None = None
    lead_limit_ms: int | None = None
    normalize: bool | None = None
    options: Options = field(default_factory=Options)

    def message(self) -> speech_pb2.StreamConfig:
        """The same for the wire.

        Raises:
            ValueError: a name is unknown.
        """
        message = speech_pb2.StreamConfig(
            format=audio_pb2.AudioFormat(
                encoding=wire_value(audio_pb2.AudioEncoding, "AUDIO_ENCODING_", self.encoding),
                sample_rate_hz=self.sample_rate_hz,
            ),
            voice=self.voice,
            emotion=emotion_message(self.emotion),
            engine=wire_value(speech_pb2.EnginePreference, "ENGINE_PREFERENCE_", self.engine),
            delivery=wire_value(speech_pb2.Delivery, "DELIVERY_", self.delivery),
            filler=wire_value(speech_pb2.FillerPolicy, "FILLER_POLICY_", self.filler or "unspecified"),
            lead_limit_ms=self.lead_limit_ms,
            options=self.options.message(),
        )
        if self.normalize is not None:
            message.normalize = self.normalize
        return message
