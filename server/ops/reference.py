"""The native operations in plain PyTorch, for any dtype and device: the reference that tests compare with."""

import math

import torch
from torch import Tensor
from torch.nn import functional


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


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, before: int, after: int) -> Tensor:
    """Periodic activation `x + sin²(αx) / (β + 1e-9)`, applied at twice the rate to suppress aliasing.

    Args:
        x: `[B, C, T]`; its first and last sample are repeated beyond the ends, and so are those of the doubled signal.
        alpha, beta: `[C]`.
        before, after: outputs dropped at either end.

    Returns:
        `[B, C, T - before - after]`.

    From BigVGAN (Lee et al. 2023, arXiv 2206.04658), with the anti-aliasing of StyleGAN3 (Karras et al. 2021).
    """
    length, channels = x.shape[2], x.shape[1]
    if channels == 0 or before + after == length:
        return x[:, :, before : length - after]
    taps = anti_alias_filter().to(x)
    kernel = taps.expand(channels, 1, -1)
    side = len(taps) // 2 - 1
    doubled = functional.conv_transpose1d(_extended(x, side, side), 2 * kernel, stride=2, groups=channels)
    cut = 3 * side
    doubled = doubled[:, :, cut : cut + 2 * length]
    activated = doubled + torch.sin(alpha[:, None] * doubled).square() / (beta[:, None] + 1e-9)
    downsampled = functional.conv1d(_extended(activated, side, side + 1), kernel, stride=2, groups=channels)
    return downsampled[:, :, before : length - after]


def anti_alias_filter() -> Tensor:
    """Taps of the low-pass filter for resampling by two, `[12]`, float64: a Kaiser-windowed sinc of sum 1.

    Cutoff 1/4 and transition 0.3 of the higher rate. The window's beta follows from the attenuation of 51 dB that
    Kaiser's formula gives for 12 taps and this transition.
    """
    taps, cutoff, transition = 12, 0.25, 0.3
    attenuation_db = 2.285 * (taps // 2 - 1) * math.pi * 4 * transition + 7.95
    shape = 0.1102 * (attenuation_db - 8.7)
    window = torch.kaiser_window(taps, periodic=False, beta=shape, dtype=torch.float64)
    time = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    ideal = window * torch.sinc(2 * cutoff * time)
    return ideal / ideal.sum()


def _extended(x: Tensor, left: int, right: int) -> Tensor:
    """`x` with its first value repeated `left` times in front, and its last `right` times at the end."""
    return torch.cat((x[:, :, :1].expand(-1, -1, left), x, x[:, :, -1:].expand(-1, -1, right)), 2)
