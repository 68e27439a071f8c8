"""Emotions in words for people. Knows the eight weights and where they may come from, nothing of engines."""

from collections.abc import Sequence

from intone.client.events import Rerouted, Started
from intone.client.settings import WEIGHT_NAMES

NAMED_SHARE = 0.6
"""A weight is named beside the largest one from this share of it on."""

_SOURCES = {
    "utterance": "asked for by the utterance",
    "stream": "asked for by the stream",
    "tag": "from a tag in the text",
    "text": "read from the text",
}


def emotion_name(weights: Sequence[float]) -> str:
    """Such as "neutral", "angry" or "happy + surprised", the largest first."""
    named = dict(zip(WEIGHT_NAMES, weights, strict=False))
    largest = max(named.values(), default=0.0)
    if largest <= 0:
        return "neutral"
    strong = {name: weight for name, weight in named.items() if weight >= NAMED_SHARE * largest}
    return " + ".join(sorted(strong, key=lambda name: -strong[name]))


def emotion_words(how: Started | Rerouted) -> str:
    """The emotion, how strong it is and where it comes from; empty where nothing says anything."""
    name = emotion_name(how.emotion)
    if how.emotion_source not in _SOURCES:
        return "" if name == "neutral" else name
    strength = "" if name == "neutral" else f" {how.emotion_intensity:.2f}"
    because = f": {how.emotion_explanation}" if how.emotion_explanation else ""
    return f"{name}{strength}, {_SOURCES[how.emotion_source]}{because}"
