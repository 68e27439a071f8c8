"""Several losses of one sound, each with its say in it (the balancer of EnCodec, arXiv 2210.13438). Knows no model.

How hard a loss pulls at the sound has little to do with its value: the distance of logarithms pulls a thousand times
harder where it is quiet than a judge does anywhere. So what is set is not weights but shares of the pull.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

MEMORY = 0.99
"""Of the size of a pull, in each step."""

LEAST = 1e-8


class Balance:
    """Scales the gradient of each loss to its share, by its usual size.

    Args:
        shares: by the loss's name; those of a step need not be all of them, nor sum to anything.

    Attributes:
        sizes: running mean of the norm of each loss's gradient, once it was met.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)
        self.sizes: dict[str, Tensor] = {}

    def gradient(self, sound: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        """What to go back into `sound` with, of its shape; the losses' graphs are gone after it."""
        total = torch.zeros_like(sound)
        for left, (name, loss) in zip(range(len(losses) - 1, -1, -1), losses.items(), strict=True):
            (pull,) = torch.autograd.grad(loss, sound, retain_graph=left > 0)
            size = torch.linalg.vector_norm(pull).clamp_min(LEAST)
            known = self.sizes.get(name)
            self.sizes[name] = size if known is None else torch.lerp(size, known, MEMORY)
            total += self.shares[name] / self.sizes[name] * pull
        return total
