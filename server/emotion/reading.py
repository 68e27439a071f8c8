"""What an analyzer says of a text. Knows no words of any language."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from intone.server.domain import EMOTIONS, Emotion

NEUTRAL = "neutral"
MAX_IN_ALL = 1.5
"""Of the sum of the weights, as on the wire."""

COMPANION_SHARE = 0.5
"""A second emotion this near to the first is kept beside it; a weaker one is noise."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The emotion of a text.

    Attributes:
        emotion: weights and intensity; its largest weight is the intensity. All zeros is neutral.
        label: "neutral" or one of `EMOTIONS`, the one with the largest weight.
        explanation: in words, what decided. Quotes entries of our own tables, never the text itself.
    """

    emotion: Emotion
    label: str
    explanation: str

    def at(self, intensity: float) -> "Reading":
        """The same emotion with another intensity in [0, 1]; zero is neutral."""
        if self.label == NEUTRAL or intensity <= 0.0:
            return neutral(self.explanation)
        scale = min(intensity, 1.0) / self.emotion.intensity
        weights = {name: weight * scale for name, weight in zip(EMOTIONS, self.emotion.weights, strict=True)}
        return reading(weights, self.explanation, companion_share=0.0)


class Analyzer(Protocol):
    """Decides how a text should sound."""

    def read(self, text: str) -> Reading:
        """The emotion of `text`; neutral where it shows none. Raises nothing, whatever the text."""
        ...


def neutral(explanation: str) -> Reading:
    """Plain speech."""
    return Reading(Emotion(), NEUTRAL, explanation)


def reading(strengths: Mapping[str, float], explanation: str, companion_share: float = COMPANION_SHARE) -> Reading:
    """The reading with these strengths by emotion; strengths over 1 count as 1, all zeros give neutral.

    Strengths under `companion_share` of the largest are left out.
    """
    label = max(EMOTIONS, key=lambda name: strengths.get(name, 0.0))
    intensity = min(strengths.get(label, 0.0), 1.0)
    if intensity <= 0.0:
        return neutral(explanation)
    kept = [min(strengths.get(name, 0.0), 1.0) for name in EMOTIONS]
    kept = [weight if weight >= companion_share * intensity else 0.0 for weight in kept]
    # Where the sum is too large the companions give way, not the first.
    shrink = min(1.0, (MAX_IN_ALL - intensity) / max(sum(kept) - intensity, 1e-9))
    index = EMOTIONS.index(label)
    weights = [_cut(weight if i == index else weight * shrink) for i, weight in enumerate(kept)]
    return Reading(Emotion(tuple(weights), weights[index]), label, explanation)


def _cut(weight: float) -> float:
    """Four decimals, never rounded up: a sum stays under its limit. The rest keeps 0.3 from becoming 0.2999."""
    return math.floor(weight * 1e4 + 1e-6) / 1e4
