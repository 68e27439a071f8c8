"""Whole steps of an engine on the fake GPU of `fake_cuda`: what waits for the device, or copies to or from it beside
`nn.transfer`, raises.

The host's tensors are fake, too, so that a value that is read from one of them is zero.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from intone.server.engines import devices
from intone.server.nn import graphs, stage_clock, transfer
from tests.support.fake_cuda import fake_cuda

READS = (Tensor.tolist, Tensor.item, Tensor.numpy, Tensor.__float__, Tensor.__int__, Tensor.__bool__)


RESERVED_BYTES = 3_100_000_000
"""Of the fake GPU, by `devices.reserved_bytes`."""


class HiddenCopyError(AssertionError):
    """A copy between host and device that may wait for queued work."""


class OnlyTransfers(TorchDispatchMode):
    """Copies between devices are errors, except those of `nn.transfer`, and all while `permitted`, as at first.

    Attributes:
        capturing: whether what runs is being captured: then those of `nn.transfer` are errors, too.
        captures: all that captured.
    """

    def __init__(self) -> None:
        super().__init__()
        self.permitted = True  # while engines are built
        self.capturing = False
        self.captures: list[FakeCapture] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given, results = (_kinds(part) for part in ((args, kwargs), made))
        copied = func is torch.ops.aten.copy_.default and len(given) > 1
        if not self.permitted and (copied or (given and results and not results <= given)):
            raise HiddenCopyError(f"{func} between {' and '.join(sorted(given | results))}")
        return made


def _kinds(values: Any) -> set[str]:
    """The kinds of devices of all tensors in nested values."""
    return {part.device.type for part in tree_leaves(values) if isinstance(part, Tensor)}


class _HostReads(TorchFunctionMode):
    """Values of the host's tensors may be read; they are zero. Those of the device's may not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS and args[0].device.type == "cpu":
            return _read(func, _zeros(args[0]))
        return func(*args, **(kwargs or {}))


def _zeros(like: Tensor) -> "np.ndarray[Any, Any]":
    return np.zeros(like.shape, dtype=str(like.dtype).removeprefix("torch."))


def _read(func: Any, zeros: "np.ndarray[Any, Any]") -> Any:
    if func is Tensor.numpy:
        return zeros
    if func is Tensor.tolist:
        return zeros.tolist()
    kinds: dict[Any, Callable[[Any], Any]] = {Tensor.__float__: float, Tensor.__int__: int, Tensor.__bool__: bool}
    return kinds.get(func, lambda value: value)(zeros.item())


class _Mark:
    """An event of the device."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: "_Mark") -> float:
        return 0.0


class FakeCapture:
    """Stands for `graphs.Capture`: runs what would be captured once, where a copy to or from the host is an error."""

    mode: OnlyTransfers

    def __init__(self, device: torch.device, urgent: bool) -> None:
        self.mode.captures.append(self)
        self.urgent = urgent

    def __call__(self, body: graphs.Program) -> graphs.Program:
        before, self.mode.permitted = self.mode.permitted, False
        self.mode.capturing = True
        try:
            body()
        finally:
            self.mode.permitted, self.mode.capturing = before, False
        return body


@contextmanager
def fake_steps(patch: pytest.MonkeyPatch) -> Iterator["OnlyTransfers"]:
    """Engines that are built and stepped inside compute on a fake GPU."""
    mode = OnlyTransfers()

    def permitted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            if mode.capturing:
                raise HiddenCopyError("a transfer cannot be captured")
            before, mode.permitted = mode.permitted, True
            try:
                return call(*given)
            finally:
                mode.permitted = before

        return run

    replacements = {
        transfer.fill: permitted(lambda buffer, values: buffer.copy_(values)),
        transfer.send: permitted(lambda values, device: values.to(device)),
        transfer.fetch: permitted(_zeros),
        devices.own_stream: lambda device, urgent: nullcontext,
        devices.allow_tf32: lambda device, allowed: None,
        devices.free_bytes: lambda device: 1 << 30,
        devices.reserved_bytes: lambda device: RESERVED_BYTES,
        stage_clock._event: _Mark,
    }
    patch.setattr(graphs, "Capture", type("Capture", (FakeCapture,), {"mode": mode}))
    for module in [module for name, module in sys.modules.items() if name.startswith("intone.server")]:
        for name, value in list(vars(module).items()):
            if callable(value) and not isinstance(value, type) and value in replacements:
                patch.setattr(module, name, replacements[value])
    with fake_cuda(), _HostReads(), mode:
        yield mode
