"""The result of an emotion analyzer, and the interface of analyzers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from intone.server.domain import EMOTIONS, Emotion

NEUTRAL = "neutral"
MAX_WEIGHT_SUM = 1.5
"""Limit of the sum of the weights; the wire has the same."""

MIN_SECONDARY_SHARE = 0.5
"""Emotions below this share of the strongest one are dropped as noise."""


@dataclass(frozen=True, slots=True)
class EmotionEstimate:
    """The emotion that a text shows or asks for.

    Attributes:
        emotion: weights and intensity; the largest weight equals the intensity. All zeros is neutral.
        label: "neutral", or the one of `EMOTIONS` with the largest weight.
        explanation: for people: what decided. Quotes entries of the word lists, never the text itself.
    """

    emotion: Emotion
    label: str
    explanation: str

    @classmethod
    def neutral(cls, explanation: str) -> "EmotionEstimate":
        """No emotion."""
        return cls(Emotion(), NEUTRAL, explanation)

    @classmethod
    def from_strengths(
        cls, strengths: Mapping[str, float], explanation: str, min_secondary_share: float = MIN_SECONDARY_SHARE
    ) -> "EmotionEstimate":
        """The estimate for strengths by emotion.

        Args:
            strengths: values over 1 count as 1, missing emotions as 0; all zeros give neutral.
            explanation: of the estimate.
            min_secondary_share: strengths below this share of the largest one are dropped.
        """
        label = max(EMOTIONS, key=lambda name: strengths.get(name, 0.0))
        intensity = min(strengths.get(label, 0.0), 1.0)
        if intensity <= 0.0:
            return cls.neutral(explanation)
        kept = [min(strengths.get(name, 0.0), 1.0) for name in EMOTIONS]
        kept = [weight if weight >= min_secondary_share * intensity else 0.0 for weight in kept]
        # A sum over the limit shrinks the secondary emotions, not the strongest.
        shrink = min(1.0, (MAX_WEIGHT_SUM - intensity) / max(sum(kept) - intensity, 1e-9))
        index = EMOTIONS.index(label)
        weights = [_floored(weight if i == index else weight * shrink) for i, weight in enumerate(kept)]
        return cls(Emotion(tuple(weights), weights[index]), label, explanation)

    def with_intensity(self, intensity: float) -> "EmotionEstimate":
        """The same emotion at another intensity in [0, 1]; 0 gives neutral."""
        if self.label == NEUTRAL or intensity <= 0.0:
            return self.neutral(self.explanation)
        scale = min(intensity, 1.0) / self.emotion.intensity
        weights = {name: weight * scale for name, weight in zip(EMOTIONS, self.emotion.weights, strict=True)}
        return self.from_strengths(weights, self.explanation, min_secondary_share=0.0)


class Analyzer(Protocol):
    """Estimates how a text should sound."""

    def analyze(self, text: str) -> EmotionEstimate:
        """The emotion of `text`; neutral where it shows none. Never raises."""
        ...


def _floored(weight: float) -> float:
    """`weight` with four decimals, rounded down so that a sum stays within its limit.

    The small offset keeps 0.3 from becoming 0.2999.
    """
    return math.floor(weight * 1e4 + 1e-6) / 1e4
