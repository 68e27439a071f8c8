"""The native operations as typed functions, and access to the native classes, which `_C.pyi` describes.

`reference.py` defines the operations in plain PyTorch. The extension is loaded at the first call or by `ensure_built`,
which the server calls at start because it may have to compile.
"""

import functools
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from intone.server.ops import fakes, native, reference

if TYPE_CHECKING:
    from intone.server.ops import _C

PORTABLE = ("snake", "add_rms_norm", "silu_mul", "rope", "rope_append", "decode_attention", "sample_codes")
"""Operations of models on a GPU. Where a device has no kernel for one, as the CPU, its reference computes it."""

SNAKE_BETA_REACH = 5
"""Samples on either side that an output of `snake_beta` depends on."""


class Extension(Protocol):
    """The extension module, which has another name if it was compiled just in time. See `_C.pyi`."""

    __file__: str
    ConvChain: type["_C.ConvChain"]
    ConvGraph: type["_C.ConvGraph"]
    Gpt: type["_C.Gpt"]
    GraphLayerWeights: type["_C.GraphLayerWeights"]
    Linear: type["_C.Linear"]
    LocalFlow: type["_C.LocalFlow"]
    MelFlow: type["_C.MelFlow"]
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
        ExtensionError: there is no usable extension and no source to compile; the message says what to do.
    """
    module = native.load()
    fakes.register()
    for name in PORTABLE:  # for a device without a kernel
        torch.library.impl(f"intone::{name}", "CompositeExplicitAutograd")(getattr(reference, name))
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


def add_rms_norm(x: Tensor, delta: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The sum `x + delta` and its root mean square norm, scaled by `weight`; defined by `reference.add_rms_norm`.

    Args:
        x, delta: `[N, H]`, contiguous; float32, bfloat16 or float16. Computed in float32.
        weight: `[H]`, dtype of `x`.

    Returns:
        Sum and norm, `[N, H]` each.
    """
    ensure_built()
    both: Tensor = torch.ops.intone.add_rms_norm.default(x, delta, weight, eps)
    return both[0], both[1]


def silu_mul(x: Tensor) -> Tensor:
    """`SiLU(gate) · up` of contiguous rows `[N, 2F]`, gate first: `[N, F]`; defined by `reference.silu_mul`."""
    ensure_built()
    return torch.ops.intone.silu_mul.default(x)  # type: ignore[no-any-return]


def rope(x: Tensor, heads: int, cos: Tensor, sin: Tensor, positions: Tensor) -> Tensor:
    """Rotated heads `[N, heads, D]` of contiguous rows `[N, A, D]`; defined by `reference.rope`."""
    ensure_built()
    return torch.ops.intone.rope.default(x, heads, cos, sin, positions)  # type: ignore[no-any-return]


def rope_append(
    x: Tensor, heads: int, cos: Tensor, sin: Tensor, positions: Tensor, places: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """`rope` of queries and keys of contiguous rows `[N, heads + 2 · K, D]`, with keys and values stored.

    Defined by `reference.rope_append`; `keys` and `values`, `[places, K, D]`, are changed in place.
    """
    ensure_built()
    return torch.ops.intone.rope_append.default(  # type: ignore[no-any-return]
        x, heads, cos, sin, positions, places, keys, values
    )


def decode_attention(
    queries: Tensor, keys: Tensor, values: Tensor, tables: Tensor, lengths: Tensor, page: int
) -> Tensor:
    """Attention of one position of each row over its stored ones; defined by `reference.decode_attention`.

    `queries` `[B, heads, D]` may be part of wider rows; the result is `[B, heads · D]`, in the dtype of all.
    """
    ensure_built()
    return torch.ops.intone.decode_attention.default(  # type: ignore[no-any-return]
        queries, keys, values, tables, lengths, page
    )


def sample_codes(
    logits: Tensor, seen: Tensor, settings: Tensor, excluded: Tensor, uniforms: Tensor, max_top_k: int
) -> Tensor:
    """Draw a code `[B]` for each row of logits `[B, V]`, without reading a value back; `reference.sample_codes`."""
    ensure_built()
    return torch.ops.intone.sample_codes.default(  # type: ignore[no-any-return]
        logits, seen, settings, excluded, uniforms, max_top_k
    )
