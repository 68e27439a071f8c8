"""The snake activation over rows `[B, T, C]`, the layout of the causal convolutions."""

from torch import Tensor

from intone.server.ops import snake


def snake_rows(x: Tensor, alpha: Tensor) -> Tensor:
    """`ops.snake` for `x` `[B, T, C]`, channels last, and `alpha` `[C]`; returns `[B, T, C]`."""
    return snake(x.transpose(1, 2), alpha).transpose(1, 2)
