"""The native operations, one typed function each, with its contract. `reference.py` says what each one means.

The extension is loaded at the first call, or by `ensure_built`, which a server calls at start: it may have to compile.
"""

import functools
from types import ModuleType

import torch
from torch import Tensor

from intone.server.ops import native

SNAKE_BETA_REACH = 5
"""Samples on either side of an output of `snake_beta` that it depends on."""


@functools.cache
def ensure_built() -> ModuleType:
    """Load the extension, compiling it if need be, and tell torch the shapes its operations give.

    Raises:
        ImportError: there is no usable extension and no source to compile; the message says what to do.
    """
    module = native.load()
    torch.library.register_fake("intone::snake", _snake_fake)
    torch.library.register_fake("intone::snake_beta", _snake_beta_fake)
    return module


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Periodic activation `x + sin²(αx) / (α + 1e-9)`; `reference.snake` is its meaning.

    Args:
        x: `[B, C, T]`, contiguous or channels last; float32, bfloat16 or float16. Computed in float32.
        alpha: `[C]`, dtype of `x`.

    Returns:
        `[B, C, T]`, dtype and layout of `x`.

    Raises:
        RuntimeError: an argument is not as described; the message names it.
    """
    ensure_built()
    return torch.ops.intone.snake.default(x, alpha)  # type: ignore[no-any-return]


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, before: int = 0, after: int = 0) -> Tensor:
    """Anti-aliased activation `x + sin²(αx) / (β + 1e-9)`; `reference.snake_beta` is its meaning.

    An output depends on `SNAKE_BETA_REACH` samples on either side of it. So a stream is computed in windows: with
    `before` at least that, what came before the window does not matter, and likewise `after`.

    Args:
        x: `[B, C, T]`, contiguous; float32, bfloat16 or float16. Computed in float32.
        alpha, beta: `[C]`, dtype of `x`, not logarithms.
        before, after: outputs left away at either end, together at most T.

    Returns:
        `[B, C, T - before - after]`, dtype of `x`.

    Raises:
        RuntimeError: an argument is not as described; the message names it.
    """
    ensure_built()
    return torch.ops.intone.snake_beta.default(x, alpha, beta, before, after)  # type: ignore[no-any-return]


def _snake_fake(x: Tensor, alpha: Tensor) -> Tensor:
    _check(x.dim() == 3, f"snake: x has {x.dim()} dimensions, expected 3")
    _check(alpha.shape == x.shape[1:2], f"snake: alpha is {tuple(alpha.shape)}, expected [C] of x")
    _check(alpha.dtype == x.dtype, f"snake: alpha is {alpha.dtype}, expected {x.dtype} as x")
    return torch.empty_like(x)


def _snake_beta_fake(x: Tensor, alpha: Tensor, beta: Tensor, before: int, after: int) -> Tensor:
    _check(x.dim() == 3, f"snake_beta: x has {x.dim()} dimensions, expected 3")
    for name, vector in (("alpha", alpha), ("beta", beta)):
        _check(vector.shape == x.shape[1:2], f"snake_beta: {name} is {tuple(vector.shape)}, expected [C] of x")
        _check(vector.dtype == x.dtype, f"snake_beta: {name} is {vector.dtype}, expected {x.dtype} as x")
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2] - before - after)


def _check(condition: bool, message: str) -> None:
    torch._check(condition, lambda: message)
