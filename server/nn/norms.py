"""Normalization layers."""

from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square norm of `[..., H]`, taken in float32, rounded to the dtype of `x`, then scaled by `weight`."""
    return functional.rms_norm(x, weight.shape, None, eps) * weight
