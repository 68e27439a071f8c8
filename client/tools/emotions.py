"""Emotions as text for people."""

from intone.client.emotions import EmotionWeights
from intone.client.events import ResolvedEmotion

_MIN_NAMED_SHARE = 0.6
"""A weight is named if it is at least this share of the largest one."""

_SOURCES = {
    "utterance": "set by the utterance",
    "stream": "set by the stream",
    "tag": "from a tag in the text",
    "text": "analyzed from the text",
}


def emotion_name(weights: EmotionWeights) -> str:
    """Name an emotion, such as "neutral", "angry" or "happy + surprised", the largest weight first."""
    named = weights._asdict()
    largest = max(named.values())
    if largest <= 0:
        return "neutral"
    strong = {name: weight for name, weight in named.items() if weight >= _MIN_NAMED_SHARE * largest}
    return " + ".join(sorted(strong, key=lambda name: -strong[name]))


def describe_emotion(emotion: ResolvedEmotion) -> str:
    """The emotion, its intensity and its source; empty if there is neither an emotion nor a source."""
    name = emotion_name(emotion.weights)
    if emotion.source not in _SOURCES:
        return "" if name == "neutral" else name
    intensity = "" if name == "neutral" else f" {emotion.intensity:.2f}"
    explanation = f": {emotion.explanation}" if emotion.explanation else ""
    return f"{name}{intensity}, {_SOURCES[emotion.source]}{explanation}"
