"""Emotions as text for people."""

from collections.abc import Sequence

from intone.client.events import Rerouted, Started
from intone.client.settings import EMOTION_WEIGHT_NAMES

_MIN_NAMED_SHARE = 0.6
"""A weight is named if it is at least this share of the largest one."""

_SOURCES = {
    "utterance": "set by the utterance",
    "stream": "set by the stream",
    "tag": "from a tag in the text",
    "text": "analyzed from the text",
}


def emotion_name(weights: Sequence[float]) -> str:
    """Name an emotion vector, such as "neutral", "angry" or "happy + surprised", the largest weight first."""
    named = dict(zip(EMOTION_WEIGHT_NAMES, weights, strict=False))
    largest = max(named.values(), default=0.0)
    if largest <= 0:
        return "neutral"
    strong = {name: weight for name, weight in named.items() if weight >= _MIN_NAMED_SHARE * largest}
    return " + ".join(sorted(strong, key=lambda name: -strong[name]))


def describe_emotion(route: Started | Rerouted) -> str:
    """The emotion, its intensity and its source; empty if there is neither an emotion nor a source."""
    name = emotion_name(route.emotion)
    if route.emotion_source not in _SOURCES:
        return "" if name == "neutral" else name
    intensity = "" if name == "neutral" else f" {route.emotion_intensity:.2f}"
    explanation = f": {route.emotion_explanation}" if route.emotion_explanation else ""
    return f"{name}{intensity}, {_SOURCES[route.emotion_source]}{explanation}"
