"""What each native operation means, in plain PyTorch for any dtype and device. The tests compare against these."""

import torch
from torch import Tensor


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Periodic activation `x + sin²(αx) / (α + 1e-9)`.

    Args:
        x: `[B, C, T]`.
        alpha: `[C]`.

    Returns:
        `[B, C, T]`.

    From "Neural Networks Fail to Learn Periodic Functions and How to Fix It" (Liu, Hartwig, Ueda 2020), with one α per
    channel and the guard against division by zero of the Descript Audio Codec.
    """
    a = alpha[:, None]  # [C, 1]
    return x + torch.sin(a * x).square() / (a + 1e-9)
