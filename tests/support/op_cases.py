"""Every native operation with the shapes that `test_ops.py` checks and `bench/ops.py` times.

A new operation is one entry in `OPS`: how to call it, its reference, how to make its inputs, and its cases. Each case
says why it is there; those marked `perf` are real sizes and say which.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server import ops
from intone.server.ops import reference

Inputs = tuple[Any, ...]
"""Tensors first, then numbers."""


@dataclass(frozen=True)
class Case:
    """Inputs by shape, of variance `scale`²; `dropped` are outputs left out at either end, for windows."""

    shape: tuple[int, ...]
    why: str
    channels_last: bool = False
    scale: float = 1.0
    dropped: tuple[int, int] = (0, 0)
    perf: bool = False


@dataclass(frozen=True)
class Op:
    """An operation; `inputs` makes its arguments, float64, from a case and a generator."""

    call: Callable[..., Tensor]
    reference: Callable[..., Tensor]
    inputs: Callable[[Case, torch.Generator], Inputs]
    cases: tuple[Case, ...]


def _snake_inputs(case: Case, generator: torch.Generator) -> Inputs:
    batch, channels, time = case.shape
    x = case.scale * torch.randn(batch, channels, time, generator=generator, dtype=torch.float64)
    alpha = torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5
    if case.channels_last:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    return x, alpha


SNAKE_CASES = (
    Case((1, 5, 7), "primes, below a vector"),
    Case((1, 5, 7), "primes, below a vector, each element with its own alpha", channels_last=True),
    Case((2, 32, 33), "batch, one past a vector"),
    Case((2, 33, 32), "batch, one past a vector", channels_last=True),
    Case((1, 13, 1031), "a large prime: one past a conversion block, ragged tail"),
    Case((1, 1031, 13), "the same along channels", channels_last=True),
    Case((3, 64, 1), "one frame: both layouts at once, more channels than time"),
    Case((1, 1, 4099), "one channel: both layouts at once, more time than channels"),
    Case((2, 0, 5), "no channels"),
    Case((1, 7, 501), "many periods from zero", scale=1e3),
    Case((1, 7, 501), "thousands of periods from zero, near the end of float16", scale=1e4),
    Case((4, 96, 257), "enough rows for every thread"),
    Case((1, 1024, 7), "VoxCPM 1.5, first block, one frame of 40 ms", channels_last=True, perf=True),
    Case((1, 64, 1764), "VoxCPM 1.5, last block, one frame of 40 ms", channels_last=True, perf=True),
    Case((1, 64, 7056), "VoxCPM 1.5, last block, one patch of 160 ms", channels_last=True, perf=True),
    Case((1, 64, 7056), "the same with time contiguous", perf=True),
)


def _snake_beta_inputs(case: Case, generator: torch.Generator) -> Inputs:
    x, alpha = _snake_inputs(case, generator)
    beta = torch.rand(case.shape[1], generator=generator, dtype=torch.float64) + 0.5
    return x, alpha, beta, *case.dropped


SNAKE_BETA_CASES = (
    Case((1, 3, 1), "one sample: everything is an edge"),
    Case((1, 2, 2), "both edges in every output"),
    Case((2, 3, 5), "shorter than the reach of an output"),
    Case((1, 5, 11), "one output that depends on neither edge"),
    Case((2, 7, 33), "batch, one past a vector"),
    Case((1, 3, 512), "a block of outputs, with both edges"),
    Case((1, 3, 513), "one output in a block of its own, at the edge"),
    Case((1, 3, 517), "the last block is all edge"),
    Case((1, 13, 2053), "a large prime: several blocks, ragged tail"),
    Case((1, 3, 40), "the middle of a stream", dropped=(5, 5)),
    Case((1, 3, 11), "the middle of a stream, one output", dropped=(5, 5)),
    Case((2, 3, 1050), "the middle of a stream, several blocks", dropped=(5, 5)),
    Case((1, 3, 9), "the start of a stream, some outputs known", dropped=(2, 5)),
    Case((1, 3, 6), "the end of a stream, no sample new", dropped=(5, 0)),
    Case((1, 3, 10), "no output yet", dropped=(5, 5)),
    Case((2, 0, 5), "no channels"),
    Case((1, 7, 501), "periods from zero; at many, the doubled signal itself is rounded to parts of one", scale=4.0),
    Case((4, 96, 257), "enough rows for every thread"),
    Case((1, 768, 182), "BigVGAN, first stage, 0.5 s with its past", dropped=(5, 5), perf=True),
    Case((1, 192, 1386), "BigVGAN, third stage, 0.5 s with its past", dropped=(5, 5), perf=True),
    Case((1, 24, 11018), "BigVGAN, last stage, 0.5 s with its past", dropped=(5, 5), perf=True),
)

OPS = {
    "snake": Op(ops.snake, reference.snake, _snake_inputs, SNAKE_CASES),
    "snake_beta": Op(ops.snake_beta, reference.snake_beta, _snake_beta_inputs, SNAKE_BETA_CASES),
}


def cast(inputs: Inputs, device: str, dtype: torch.dtype) -> Inputs:
    """The arguments of the operation on a device, in a dtype; layouts are kept."""
    return tuple(t.to(device=device, dtype=dtype) if isinstance(t, Tensor) else t for t in inputs)
