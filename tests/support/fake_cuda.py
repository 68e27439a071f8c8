"""Tensors that claim to be on a GPU and have no values: what they compute reads none back and mixes no devices."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from intone.server.engines.weights import Shapes

CUDA = torch.device("cuda:0")


class _WithoutGuards(TorchFunctionMode):
    """Methods that hold a guard of the device, which a torch without CUDA lacks, by operations that hold none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__getitem__:
            return _indexed(args[0], args[1])
        if func is Tensor.__setitem__:
            view, value = _indexed(args[0], args[1]), args[2]
            return torch.ops.aten.copy_(view, value) if isinstance(value, Tensor) else torch.ops.aten.fill_(view, value)
        if func is Tensor.copy_:
            return torch.ops.aten.copy_(*args, **(kwargs or {}))
        if func is Tensor.contiguous:
            return torch.ops.aten.clone(args[0], memory_format=torch.contiguous_format)
        if func in (functional.conv1d, functional.conv_transpose1d):
            return _convolved(func is functional.conv_transpose1d, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolved(
    transposed: bool,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Tensor:
    """An empty tensor of the shape of a convolution over time."""
    assert {part.device for part in (x, weight, bias) if part is not None} == {x.device}
    assert (weight.shape[0] if transposed else weight.shape[1] * groups) == x.shape[1]
    reach = dilation * (weight.shape[2] - 1) + 1
    if transposed:
        return x.new_empty(x.shape[0], weight.shape[1] * groups, (x.shape[2] - 1) * stride - 2 * padding + reach)
    return x.new_empty(x.shape[0], weight.shape[0], (x.shape[2] + 2 * padding - reach) // stride + 1)


def _indexed(x: Tensor, index: Any) -> Tensor:
    aten, dim = torch.ops.aten, 0
    parts = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [part for part in parts if not isinstance(part, Tensor)]:
        at = next(n for n, part in enumerate(parts) if part is Ellipsis)
        missing = x.dim() - sum(part is not None for part in parts) + 1
        parts = (*parts[:at], *[slice(None)] * missing, *parts[at + 1 :])
    gathered: list[Tensor | None] = []
    for part in parts:
        if part is None:
            x, dim = x.unsqueeze(dim), dim + 1
        elif isinstance(part, slice):
            x, dim = aten.slice(x, dim, part.start, part.stop, part.step or 1), dim + 1
        elif isinstance(part, list | Tensor):
            gathered += [None] * (dim - len(gathered))
            gathered.append(part if isinstance(part, Tensor) else torch.tensor(part, device=x.device))
            dim += 1
        else:
            x = aten.select(x, dim, int(part))
    return aten.index(x, gathered) if gathered else x


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Tensors made inside are fake; a value that is read, or an operation over two devices, raises."""
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True), _WithoutGuards():
        yield


def on_cuda(shapes: Shapes, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Tensors of these names and shapes on the fake GPU."""
    return {name: torch.empty(shape, dtype=dtype, device=CUDA) for name, shape in shapes.items()}
