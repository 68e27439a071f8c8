"""The cases of operations of streaming convolutions, whose past is in slots; part of the table in `op_cases.py`."""

import torch
from torch import Tensor

from intone.server import ops
from intone.server.ops import reference
from tests.support.op_case import Case, Inputs, Op, normal


def _tails(case: Case, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int, Tensor]:
    """Pasts of `rows` rows in a few slots, with other numbers around them; units in slots of their own."""
    batch, _, channels = case.shape[:3]
    tails = normal(generator, 2 * batch + 1, rows * channels + 7)
    return (
        tails,
        torch.randperm(2 * batch + 1, generator=generator)[:batch],
        3,
        normal(generator, batch, tails.shape[1]),
    )


def _causal_taps_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is units, rows, channels, taps, dilation, and whether there are activations."""
    batch, rows, channels, kernel, dilation, activated = case.shape
    alphas = [torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5 for _ in range(2)]
    before, then = alphas if activated else (None, None)
    taps, bias = normal(generator, kernel, channels) / kernel, normal(generator, channels)
    own = _tails(case, (kernel - 1) * dilation, generator)
    return normal(generator, batch, rows, channels), before, taps, bias, dilation, then, *own


CAUSAL_TAPS_CASES = (
    Case((1, 1, 1, 1, 1, 0), "one number, no past"),
    Case((2, 3, 5, 3, 2, 1), "fewer rows than the past"),
    Case((2, 65, 33, 7, 9, 1), "one past a block, in rows and channels"),
    Case((1, 130, 7, 7, 1, 0), "several blocks, without activations"),
    Case((1, 4, 64, 7, 1, 0), "VoxCPM 1.5, latents", perf=True),
    Case((1, 7056, 64, 7, 9, 1), "VoxCPM 1.5, last block, one patch", perf=True),
    Case((64, 28, 1024, 7, 9, 1), "VoxCPM 1.5, first block, 64 patches", perf=True),
)


def _causal_windows_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is units, rows, channels, rows of past, and whether there are scale, shift and activation."""
    batch, rows, channels, past, with_scale, activated = case.shape
    scale, shift = (normal(generator, channels) for _ in range(2)) if with_scale else (None, None)
    alpha = torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5 if activated else None
    return normal(generator, batch, rows, channels), scale, shift, alpha, past, *_tails(case, past, generator)


CAUSAL_WINDOWS_CASES = (
    Case((1, 1, 1, 1, 0, 0), "one number"),
    Case((2, 2, 3, 5, 1, 1), "fewer rows than the past"),
    Case((3, 5, 7, 1, 0, 1), "VoxCPM: a row of past"),
    Case((2, 9, 31, 0, 1, 0), "no past"),
    Case((1, 4, 2048, 1, 0, 1), "VoxCPM 1.5, first upsampling, one patch", perf=True),
    Case((64, 1764, 128, 1, 0, 1), "VoxCPM 1.5, last upsampling, 64 patches", perf=True),
)


def _causal_to_one_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is units, rows, channels, taps."""
    batch, rows, channels, kernel = case.shape
    alpha = torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5
    weight, bias = normal(generator, kernel, channels) / (kernel * channels) ** 0.5, normal(generator, 1)
    return normal(generator, batch, rows, channels), alpha, weight, bias, *_tails(case, kernel - 1, generator)


CAUSAL_TO_ONE_CASES = (
    Case((1, 1, 1, 1), "one number, no past"),
    Case((2, 3, 5, 7), "fewer rows than the past"),
    Case((2, 129, 67, 7), "one past a block, in rows and channels"),
    Case((1, 7056, 64, 7), "VoxCPM 1.5, one patch", perf=True),
    Case((64, 7056, 64, 7), "VoxCPM 1.5, 64 patches", perf=True),
)

_FLOAT = (torch.float32,)

STREAMING_OPS = {
    "causal_taps": Op(
        ops.causal_taps, reference.causal_taps, _causal_taps_inputs, CAUSAL_TAPS_CASES, dtypes=_FLOAT, changes=(9,)
    ),
    "causal_windows": Op(
        ops.causal_windows,
        reference.causal_windows,
        _causal_windows_inputs,
        CAUSAL_WINDOWS_CASES,
        dtypes=_FLOAT,
        changes=(8,),
    ),
    "causal_to_one": Op(
        ops.causal_to_one,
        reference.causal_to_one,
        _causal_to_one_inputs,
        CAUSAL_TO_ONE_CASES,
        dtypes=_FLOAT,
        changes=(7,),
    ),
}
