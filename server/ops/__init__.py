"""The native operations as typed functions, and access to the native classes, which `_C.pyi` describes.

`reference.py` defines the operations in plain PyTorch. The extension is loaded at the first call or by `ensure_built`,
which the server calls at start because it may have to compile.
"""

import functools
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from intone.server.errors import ExtensionError
from intone.server.ops import fakes, native, reference

if TYPE_CHECKING:
    from intone.server.ops import _C

PORTABLE = (
    "snake",
    "add_rms_norm",
    "add_norm",
    "silu_mul",
    "rope",
    "rope_append",
    "local_attention",
    "append_attention",
    "draw_codes",
    "guided_step",
    "int8_linear",
    "causal_taps",
    "causal_windows",
    "causal_to_one",
)
"""Operations of models on a GPU. Where a device has no kernel for one, as the CPU, its reference computes it."""

SNAKE_BETA_REACH = 5
"""Samples on either side that an output of `snake_beta` depends on."""


class Extension(Protocol):
    """The extension module, which has another name if it was compiled just in time. See `_C.pyi`."""

    __file__: str
    CachedFrames: type["_C.CachedFrames"]
    ConvChain: type["_C.ConvChain"]
    ConvGraph: type["_C.ConvGraph"]
    DecoderLayer: type["_C.DecoderLayer"]
    DecoderStack: type["_C.DecoderStack"]
    Gpt: type["_C.Gpt"]
    GraphLayerWeights: type["_C.GraphLayerWeights"]
    Linear: type["_C.Linear"]
    LocalFlow: type["_C.LocalFlow"]
    MelFlow: type["_C.MelFlow"]
    SamplingSettings: type["_C.SamplingSettings"]
    StageWeights: type["_C.StageWeights"]

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


def ensure_built_for(device: str) -> None:
    """`ensure_built`; and on a GPU, that no operation is computed by its reference, which is many times slower.

    Raises:
        ExtensionError: as `ensure_built`, or the extension was built without kernels for a GPU.
    """
    ensure_built()
    if torch.device(device).type == "cpu":
        return
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    missing = [name for name in (*PORTABLE, "snake_beta") if not has_kernel(f"intone::{name}", "CUDA")]
    if missing:
        raise ExtensionError(
            f"the native extension was built without CUDA kernels for {', '.join(missing)}. Build it again where there "
            f"is an nvcc of torch's CUDA release ({torch.version.cuda}), in a clone of intone: pip install "
            "--no-build-isolation --no-deps . Or set device to cpu"
        )


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


def add_norm(x: Tensor, delta: Tensor, weight: Tensor, bias: Tensor, eps: float, *, centred: bool) -> Tensor:
    """Add `delta` to `x`, both `[N, H]`, in place, and norm the sum; defined by `reference.add_norm`.

    `x`, `weight` and `bias` are float32; the result has the dtype of `delta`.
    """
    ensure_built()
    return torch.ops.intone.add_norm.default(x, delta, weight, bias, eps, centred)  # type: ignore[no-any-return]


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


def local_attention(x: Tensor, heads: int, cos: Tensor, sin: Tensor, count: int) -> Tensor:
    """Attention within sequences of `count` of the rows `[S · count, heads + 2 · K, D]`; `reference.local_attention`.

    At most 32 rows, and no more than 3200 / (D + 1), on a GPU.
    """
    ensure_built()
    return torch.ops.intone.local_attention.default(x, heads, cos, sin, count)  # type: ignore[no-any-return]


def append_attention(
    x: Tensor,
    heads: int,
    cos: Tensor | None,
    sin: Tensor | None,
    keys: Tensor,
    values: Tensor,
    tables: Tensor,
    lengths: Tensor,
    page: int,
) -> Tensor:
    """Append a position to each sequence and attend from it; defined by `reference.append_attention`.

    `x` `[B, heads + 2 · K, D]` is contiguous; `keys` and `values`, `[places, K, D]`, are changed in place.
    """
    ensure_built()
    return torch.ops.intone.append_attention.default(  # type: ignore[no-any-return]
        x, heads, cos, sin, keys, values, tables, lengths, page
    )


def draw_codes(
    logits: Tensor,
    slots: Tensor,
    seen: Tensor,
    settings: Tensor,
    counters: Tensor,
    uniforms: Tensor,
    column: Tensor,
    stop_code: int,
    max_top_k: int,
) -> Tensor:
    """The next code `[B]` of units in slots, without reading a value back; defined by `reference.draw_codes`."""
    ensure_built()
    return torch.ops.intone.draw_codes.default(  # type: ignore[no-any-return]
        logits, slots, seen, settings, counters, uniforms, column, stop_code, max_top_k
    )


def guided_step(x: Tensor, velocity: Tensor, guidance: Tensor, length: Tensor) -> Tensor:
    """A step of the solver with guidance, `[B, P, D]`, contiguous; defined by `reference.guided_step`."""
    ensure_built()
    return torch.ops.intone.guided_step.default(x, velocity, guidance, length)  # type: ignore[no-any-return]


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ (scale · weight)ᵀ + bias` for few rows `[M, K]`; defined by `reference.int8_linear`.

    On a GPU `x` is bfloat16 or float16 with at most 64 rows, K a multiple of 64 and N of 16; all contiguous.
    """
    ensure_built()
    return torch.ops.intone.int8_linear.default(x, weight, scale, bias)  # type: ignore[no-any-return]


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
    """Streaming depthwise convolution of units in slots, float32, contiguous; defined by `reference.causal_taps`."""
    ensure_built()
    return torch.ops.intone.causal_taps.default(  # type: ignore[no-any-return]
        x, alpha, taps, bias, dilation, then_alpha, tails, slots, first, after
    )


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
    """Rows of a streaming convolution as a matrix, float32, contiguous; defined by `reference.causal_windows`."""
    ensure_built()
    return torch.ops.intone.causal_windows.default(  # type: ignore[no-any-return]
        x, scale, shift, alpha, past, tails, slots, first, after
    )


def causal_to_one(
    x: Tensor, alpha: Tensor, weight: Tensor, bias: Tensor, tails: Tensor, slots: Tensor, first: int, after: Tensor
) -> Tensor:
    """Samples `[B, T]` of rows `[B, T, C]`, float32, contiguous; defined by `reference.causal_to_one`."""
    ensure_built()
    return torch.ops.intone.causal_to_one.default(  # type: ignore[no-any-return]
        x, alpha, weight, bias, tails, slots, first, after
    )
