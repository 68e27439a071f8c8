"""How an utterance should sound: emotions as the client takes them, and their conversion to the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from intone.proto import emotion_pb2


class EmotionWeights(NamedTuple):
    """Weights of the eight basic emotions, each in [0, 1.2], their sum at most 1.5. All zeros is neutral."""

    happy: float = 0.0
    angry: float = 0.0
    sad: float = 0.0
    afraid: float = 0.0
    disgusted: float = 0.0
    melancholic: float = 0.0
    surprised: float = 0.0
    calm: float = 0.0


EMOTION_WEIGHT_NAMES = EmotionWeights._fields
"""The names of the eight weights, in order."""


@dataclass(frozen=True, slots=True)
class Emotion:
    """How an utterance should sound; exactly one attribute beside `intensity` is set.

    Attributes:
        label: a word or a few that name an emotion, such as "happy" or "relieved", 1 to 64 characters.
        weights: the eight weights.
        description: free text such as "tired but relieved", 1 to 200 characters.
        clip_id: id of an uploaded recording whose emotion is to be followed.
        clip: such a recording as a file of this machine, which is uploaded whenever the emotion is used. For many
            utterances upload it once, with `AsyncVoices.upload_emotion_clip`, and use `clip_id`.
        intensity: 0 to 1; None means 1.
    """

    label: str | None = None
    weights: EmotionWeights | None = None
    description: str | None = None
    clip_id: str | None = None
    clip: Path | None = None
    intensity: float | None = None

    def message(self) -> emotion_pb2.Emotion:
        """Convert to the wire message. That of a `clip` gets its `clip_id` after the upload.

        Raises:
            ValueError: not exactly one form is given.
        """
        forms = (self.label, self.weights, self.description, self.clip_id, self.clip)
        if sum(form is not None for form in forms) != 1:
            raise ValueError("an emotion has exactly one of label, weights, description, clip_id and clip")
        return emotion_pb2.Emotion(
            label=self.label,
            weights=None if self.weights is None else emotion_pb2.EmotionWeights(**self.weights._asdict()),
            description=self.description,
            clip_id=self.clip_id,
            intensity=self.intensity,
        )


EmotionLike = str | Mapping[str, float] | Sequence[float] | Emotion
"""An emotion: a string for `parse_emotion`, weights by name, eight weights in order, or an `Emotion`."""


def parse_emotion(text: str) -> Emotion:
    """Parse an emotion in one of four notations.

    - `happy` or `relieved:0.7`: a label, with an intensity from 0 to 1;
    - eight numbers separated by commas: weights in the order of `EMOTION_WEIGHT_NAMES`, each 0 to 1.2;
    - `describe:tired but relieved`: free text;
    - `@clip.wav`: a recording whose emotion is to be followed.

    Raises:
        ValueError: it is none of these, or the recording is not a file.
    """
    if text.startswith("@"):
        if not Path(text[1:]).is_file():
            raise ValueError(f"there is no recording {text[1:]!r}")
        return Emotion(clip=Path(text[1:]))
    if text.startswith("describe:"):
        return Emotion(description=text.removeprefix("describe:").strip())
    if "," in text:
        return Emotion(weights=_weights([_number(part) for part in text.split(",")]))
    label, _, intensity = text.partition(":")
    if not label.strip():
        raise ValueError("an emotion needs a label, such as 'happy' or 'happy:0.5'")
    return Emotion(label=label.strip(), intensity=_number(intensity) if intensity else None)


def as_emotion(emotion: EmotionLike) -> Emotion:
    """Convert an emotion in any form.

    Raises:
        ValueError: it cannot be read.
    """
    if isinstance(emotion, Emotion):
        return emotion
    if isinstance(emotion, str):
        return parse_emotion(emotion)
    if isinstance(emotion, Mapping):
        unknown = sorted(set(emotion) - set(EMOTION_WEIGHT_NAMES))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(EMOTION_WEIGHT_NAMES)}")
        return Emotion(weights=EmotionWeights(**emotion))
    return Emotion(weights=_weights(emotion))


def _weights(weights: Sequence[float]) -> EmotionWeights:
    if len(weights) != len(EMOTION_WEIGHT_NAMES):
        raise ValueError(f"an emotion has {len(EMOTION_WEIGHT_NAMES)} weights, but {len(weights)} were given")
    return EmotionWeights(*weights)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not a number") from None
