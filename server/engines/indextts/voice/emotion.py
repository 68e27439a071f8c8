"""How an emotion becomes a row for the language model: from a vector of eight weights, or from a clip's own vector.

Order of the eight: `domain.EMOTIONS`. Knows no audio, and no words: turning text into weights is another's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.domain import EMOTIONS

BALANCE = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
"""How strongly each emotion may be asked for; the trained rows differ in strength."""

MAX_IN_ALL = 0.8
"""Of the sum of the weights: the rest stays with the speaker."""


@dataclass(frozen=True, slots=True)
class EmotionMatrix:
    """Recordings of speakers in each emotion, as vectors. R is their number.

    Attributes:
        speakers: `[R, 192]`, who speaks.
        emotions: `[R, D]`, how.
        counts: rows of each of the eight emotions, in order; they sum to R.
    """

    speakers: Tensor
    emotions: Tensor
    counts: tuple[int, ...]

    def nearest(self, style: Tensor) -> Tensor:
        """Of each emotion the row of the speaker most like `style` `[192]`: `[8, D]`."""
        likeness = functional.cosine_similarity(self.speakers, style[None], dim=1)
        groups = zip(likeness.split(self.counts), self.emotions.split(self.counts), strict=True)
        # Indexing with a tensor keeps the choice on the device.
        return torch.cat([rows[group.argmax(0, keepdim=True)] for group, rows in groups])


def balanced(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights as they should go to the model: each with its strength, the sum at most `MAX_IN_ALL`."""
    assert len(weights) == len(EMOTIONS), "one weight for each emotion"
    strong = [weight * strength for weight, strength in zip(weights, BALANCE, strict=True)]
    shrink = min(1.0, MAX_IN_ALL / max(sum(strong), MAX_IN_ALL))
    return tuple(weight * shrink for weight in strong)


def merged(own: Tensor, other: Tensor, share: float) -> Tensor:
    """From the speaker's own emotion `[D]` the way towards a clip's `[D]`, of which `share` is gone."""
    return own + share * (other - own)


def blended(own: Tensor, rows: Tensor, weights: Sequence[float]) -> Tensor:
    """The emotion that weights ask for, `rows` `[8, D]` being those of `nearest`: `[D]`. What they leave is `own`."""
    scale = torch.tensor(weights, dtype=rows.dtype).to(rows.device)
    return scale @ rows + (1 - sum(weights)) * own
