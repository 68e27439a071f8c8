"""Balances the gradients of several losses of the same audio (the loss balancer of EnCodec, arXiv 2210.13438).

The gradient norm of a loss is largely independent of its value: a log-spectral distance has gradients a thousand times
larger in quiet segments than a discriminator has anywhere. So each loss is given a share of the gradient rather than a
weight.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

MEMORY = 0.99
"""Decay per step of the running mean of a gradient norm."""

LEAST = 1e-8
"""Lower bound of a gradient norm, to avoid division by zero."""


class Balance:
    """Normalizes the gradient of each loss by a running mean of its norm and scales it by the share of the loss.

    Args:
        shares: share of each loss, by name. They need not sum to 1, and a step may use only some of the losses.

    Attributes:
        sizes: running mean of the gradient norm of each loss that has occurred, by name.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)
        self.sizes: dict[str, Tensor] = {}

    def gradient(self, sound: Tensor, losses: Mapping[str, Tensor]) -> Tensor:
        """Combined gradient with respect to `sound`, in its shape; frees the graphs of the losses."""
        total = torch.zeros_like(sound)
        for left, (name, loss) in zip(range(len(losses) - 1, -1, -1), losses.items(), strict=True):
            (pull,) = torch.autograd.grad(loss, sound, retain_graph=left > 0)
            size = torch.linalg.vector_norm(pull).clamp_min(LEAST)
            known = self.sizes.get(name)
            self.sizes[name] = size if known is None else torch.lerp(size, known, MEMORY)
            total += self.shares[name] / self.sizes[name] * pull
        return total
