"""The emotion vector of a unit, from eight weights in the order of `domain.EMOTIONS` or from the vector of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.domain import EMOTIONS, Emotion
from intone.server.nn.transfer import send

BALANCE = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
"""Factors of the eight weights: the trained vectors differ in strength."""

MAX_TOTAL_WEIGHT = 0.8
"""Upper bound of the sum of the weights; the rest is the speaker's own emotion vector."""


@dataclass(frozen=True, slots=True)
class EmotionMatrix:
    """The published table of R recordings of speakers in each emotion.

    Attributes:
        speakers: `[R, 192]`, speaker embeddings.
        emotions: `[R, D]`, emotion vectors.
        counts: rows of each of the eight emotions, in order; they sum to R.
    """

    speakers: Tensor
    emotions: Tensor
    counts: tuple[int, ...]

    def nearest(self, style: Tensor) -> Tensor:
        """For each emotion, the vector of the speaker most similar to `style` `[192]`: `[8, D]`."""
        similarity = functional.cosine_similarity(self.speakers, style[None], dim=1)
        groups = zip(similarity.split(self.counts), self.emotions.split(self.counts), strict=True)
        # Indexing with a tensor keeps the choice on the device.
        return torch.cat([rows[group.argmax(0, keepdim=True)] for group, rows in groups])


def balanced(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights scaled by `BALANCE`, with a sum of at most `MAX_TOTAL_WEIGHT`."""
    assert len(weights) == len(EMOTIONS), "one weight for each emotion"
    scaled = [weight * factor for weight, factor in zip(weights, BALANCE, strict=True)]
    shrink = min(1.0, MAX_TOTAL_WEIGHT / max(sum(scaled), MAX_TOTAL_WEIGHT))
    return tuple(weight * shrink for weight in scaled)


def merged(own: Tensor, other: Tensor, share: float) -> Tensor:
    """Interpolate from the speaker's own emotion vector `[D]` (share 0) to a clip's `[D]` (share 1)."""
    return own + share * (other - own)


def blended(own: Tensor, rows: Tensor, weights: Sequence[float]) -> Tensor:
    """The weighted sum of `rows` `[8, D]`, see `EmotionMatrix.nearest`, completed to weight 1 by `own`: `[D]`."""
    scale = send(torch.tensor(weights, dtype=rows.dtype), rows.device)
    return scale @ rows + (1 - sum(weights)) * own


def vector_of(emotion: Emotion, clip: Tensor | None, own: Tensor, rows: Tensor) -> Tensor:
    """The emotion vector `[D]` of a unit: that of a clip at the emotion's intensity, or of its weights.

    Args:
        clip: `[D]`, the vector of a clip; None to use the weights.
        own, rows: `[D]` and `[8, D]`, of the speaker.
    """
    if clip is not None:
        return merged(own, clip, emotion.intensity)
    return blended(own, rows, balanced(emotion.weights)) if any(emotion.weights) else own
