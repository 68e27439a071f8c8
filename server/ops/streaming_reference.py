"""The operations of streaming convolutions in plain PyTorch, part of `reference.py`: the past of units is in slots."""

import torch
from torch import Tensor


def causal_taps(
    x: Tensor,
    alpha: Tensor | None,
    taps: Tensor,
    bias: Tensor,
    dilation: int,
    then_alpha: Tensor | None,
    tails: Tensor,
    slots: Tensor,
    first: int,
    after: Tensor,
) -> Tensor:
    """Streaming depthwise convolution, `snake` before and after it, for units whose past is in slots.

    Args:
        x: `[B, T, C]`.
        alpha, then_alpha: `[C]` of the activations, None for none.
        taps: `[K, C]`, oldest first.
        bias: `[C]`.
        tails: `[slots, W]`, the past of units: R · C numbers from `first` on, R = (K - 1) · dilation activated rows.
        slots: `[B]`, int64, the row of `tails` for each unit.
        after: `[B, W]`, gets the next past of each unit in the same place; the rest is not changed.

    Returns:
        `[B, T, C]`.
    """
    rows = x.shape[1]
    seen = _after_tail(
        x if alpha is None else _snake_rows(x, alpha), tails, slots, first, after, dilation * (len(taps) - 1)
    )
    y = bias + sum(seen[:, k * dilation : k * dilation + rows] * tap for k, tap in enumerate(taps))
    return y if then_alpha is None else _snake_rows(y, then_alpha)


def causal_windows(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    alpha: Tensor | None,
    past: int,
    tails: Tensor,
    slots: Tensor,
    first: int,
    after: Tensor,
) -> Tensor:
    """The matrix whose product with a weight is a streaming convolution of `snake(x · scale + shift)`.

    Args:
        x: `[B, T, C]`.
        scale, shift, alpha: `[C]`, None for none.
        past: rows before each row that are in its window.
        tails, slots, first, after: as in `causal_taps`, with R = `past`.

    Returns:
        `[B · T, (past + 1) · C]`, the windows of all rows, oldest row first.
    """
    batch, rows, channels = x.shape
    if scale is not None and shift is not None:
        x = x * scale + shift
    seen = _after_tail(x if alpha is None else _snake_rows(x, alpha), tails, slots, first, after, past)
    windows = seen.unfold(1, past + 1, 1)  # [B, T, C, past + 1]
    return windows.transpose(2, 3).reshape(batch * rows, (past + 1) * channels).contiguous()  # of one unit a view


def causal_to_one(
    x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor, tails: Tensor, slots: Tensor, first: int, after: Tensor
) -> Tensor:
    """Streaming convolution of `snake(x)` with one output, then tanh.

    Args:
        x: `[B, T, C]`.
        alpha: `[C]`.
        weight: `[K, C]`, oldest first.
        bias: `[1]`.
        tails, slots, first, after: as in `causal_taps`, with R = K - 1.

    Returns:
        `[B, T]`.
    """
    seen = _after_tail(_snake_rows(x, alpha), tails, slots, first, after, len(weight) - 1)
    rows = x.shape[1]
    parts = seen @ weight.t()  # [B, K - 1 + T, K]
    return torch.tanh(bias + sum(parts[:, k : k + rows, k] for k in range(len(weight))))


def _after_tail(x: Tensor, tails: Tensor, slots: Tensor, first: int, after: Tensor, rows: int) -> Tensor:
    """Each unit's `rows` rows of past, then its rows `[B, T, C]`; keeps the next past."""
    count = rows * x.shape[2]
    past = tails[slots, first : first + count].view(x.shape[0], rows, x.shape[2])
    seen = torch.cat((past, x), 1)
    after[:, first : first + count] = seen[:, x.shape[1] :].flatten(1)
    return seen


def _snake_rows(x: Tensor, alpha: Tensor) -> Tensor:
    """`snake` with channels last."""
    return x + torch.sin(alpha * x).square() / (alpha + 1e-9)
