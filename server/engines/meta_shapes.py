"""Shapes of operations on meta tensors, without torch's own meta kernels.

Those are in part written in Python, and their first use imports torch._dynamo and sympy: 1.5 s of CPU and 70 MB at each
start of a server. Constructors of models need few operations; for others torch is used.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Shape = Sequence[int]


class MetaShapes(TorchDispatchMode):
    """Inside, the operations of `RULES` on meta tensors compute shapes only; the dtype is that of the first tensor."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: torch would import torch._dynamo to leave this mode out of compilation."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        rule = RULES.get(func.overloadpacket)
        tensors = list(_tensors(args))
        on_meta = all(tensor.is_meta for tensor in tensors) if tensors else str(options.get("device")) == "meta"
        if rule is None or not on_meta:
            return func(*args, **options)
        dtype = tensors[0].dtype if tensors else options.get("dtype")
        return torch.empty(tuple(rule(*args)), dtype=dtype, device="meta")


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    flat = [part for arg in args for part in (arg if isinstance(arg, list | tuple) else [arg])]
    return [part for part in flat if isinstance(part, Tensor)]


def _broadcast(*args: Any) -> Shape:
    return np.broadcast_shapes(*(tensor.shape for tensor in _tensors(args)))  # that of torch imports sympy


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Shape:
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return shape


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Shape:
    shape = list(tensors[0].shape)
    shape.insert(dim % (len(shape) + 1), len(tensors))
    return shape


def _norm(x: Tensor, order: float = 2, dim: Sequence[int] | None = None, keepdim: bool = False) -> Shape:
    dims = {d % x.dim() for d in (range(x.dim()) if dim is None else dim)}
    return [1 if d in dims else size for d, size in enumerate(x.shape) if keepdim or d not in dims]


def _repeat(x: Tensor, repeats: Sequence[int]) -> Shape:
    sizes = [1] * (len(repeats) - x.dim()) + list(x.shape)
    return [size * count for size, count in zip(sizes, repeats, strict=True)]


def _index_select(x: Tensor, dim: int, index: Tensor) -> Shape:
    return [index.numel() if d == dim % x.dim() else size for d, size in enumerate(x.shape)]


def _arange(start: float, end: float | None = None, step: float = 1) -> Shape:
    first, last = (0, start) if end is None else (start, end)
    return [max(0, int(-((first - last) // step)))]


_ATEN = torch.ops.aten

RULES: Mapping[Any, Callable[..., Shape]] = {
    **dict.fromkeys(
        (
            *(_ATEN.add, _ATEN.sub, _ATEN.mul, _ATEN.div, _ATEN.neg, _ATEN.reciprocal, _ATEN.exp, _ATEN.pow),
            *(_ATEN.cos, _ATEN.sin, _ATEN.rsqrt, _ATEN.sqrt, _ATEN.clamp_min, _ATEN.lt, _ATEN.flip),
        ),
        _broadcast,
    ),
    _ATEN.cat: _cat,
    _ATEN.stack: _stack,
    _ATEN.linalg_vector_norm: _norm,
    _ATEN.repeat: _repeat,
    _ATEN.index_select: _index_select,
    _ATEN.arange: _arange,
    _ATEN.mm: lambda a, b: (a.shape[0], b.shape[1]),
    _ATEN.mv: lambda a, b: (a.shape[0],),
    _ATEN.addmm: lambda c, a, b: (a.shape[0], b.shape[1]),
}
"""Operation → the shape of its result, from its arguments."""
