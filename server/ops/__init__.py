"""The native operations as typed functions, and access to the native classes, which `_C.pyi` describes.

`reference.py` defines the operations in plain PyTorch. The extension is loaded at the first call or by `ensure_built`,
which the server calls at start because it may have to compile.
"""

import functools
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from intone.server.ops import native, reference

if TYPE_CHECKING:
    from intone.server.ops import _C

SNAKE_BETA_REACH = 5
"""Samples on either side that an output of `snake_beta` depends on."""


class Extension(Protocol):
    """The extension module, which has another name if it was compiled just in time. See `_C.pyi`."""

    __file__: str
    ConvChain: type["_C.ConvChain"]
    Gpt: type["_C.Gpt"]
    Linear: type["_C.Linear"]
    LocalFlow: type["_C.LocalFlow"]
    SamplingSettings: type["_C.SamplingSettings"]
    StageWeights: type["_C.StageWeights"]
    Transformer: type["_C.Transformer"]
    TransformerLayer: type["_C.TransformerLayer"]

    def best_isa(self) -> str:
        """See `_C.pyi`."""


@functools.cache
def ensure_built() -> Extension:
    """Load the extension, compiling it if necessary, and register the shape functions of its operations.

    Raises:
        ImportError: there is no usable extension and no source to compile; the message says what to do.
    """
    module = native.load()
    torch.library.register_fake("intone::snake", _snake_fake)
    torch.library.register_fake("intone::snake_beta", _snake_beta_fake)
    return cast(Extension, module)


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Periodic activation `x + sin²(αx) / (α + 1e-9)`; defined by `reference.snake`.

    Args:
        x: `[B, C, T]`, contiguous or channels last; float32, bfloat16 or float16. Computed in float32.
        alpha: `[C]`, dtype of `x`.

    Returns:
        `[B, C, T]`, dtype and layout of `x`.

    Raises:
        RuntimeError: an argument is invalid; the message names it.
    """
    if x.device.type == "cuda":  # no kernel yet; elementwise, so torch computes it correctly
        return reference.snake(x, alpha)
    ensure_built()
    return torch.ops.intone.snake.default(x, alpha)  # type: ignore[no-any-return]


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor, before: int = 0, after: int = 0) -> Tensor:
    """Anti-aliased activation `x + sin²(αx) / (β + 1e-9)`; defined by `reference.snake_beta`.

    An output depends on `SNAKE_BETA_REACH` samples on either side. So a stream can be computed in windows, with
    `before` and `after` at least that large at inner edges.

    Args:
        x: `[B, C, T]`, contiguous; float32, bfloat16 or float16. Computed in float32.
        alpha, beta: `[C]`, dtype of `x`, not logarithms.
        before, after: outputs dropped at either end, together at most T.

    Returns:
        `[B, C, T - before - after]`, dtype of `x`.

    Raises:
        RuntimeError: an argument is invalid; the message names it.
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
