"""Every native operation with the shapes that `test_ops.py` checks and `bench/ops.py` times.

A new operation is one entry in `OPS`: how to call it, its reference, how to make its inputs, and its cases. Each case
says why it is there; those marked `perf` are real sizes and say which.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
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
    """An operation.

    Attributes:
        inputs: makes its arguments, numbers in float64, from a case and a generator.
        fixed: dtypes of arguments that do not have that of the others, by index.
        dtypes: of the others.
        changes: indices of arguments that are changed in place.
        exact: whether the result is integers.
    """

    call: Callable[..., Tensor]
    reference: Callable[..., Tensor]
    inputs: Callable[[Case, torch.Generator], Inputs]
    cases: tuple[Case, ...]
    fixed: dict[int, torch.dtype] = field(default_factory=dict)
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)
    changes: tuple[int, ...] = ()
    exact: bool = False


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


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _add_rms_norm_inputs(case: Case, generator: torch.Generator) -> Inputs:
    rows, width = case.shape
    x, delta = (case.scale * _normal(generator, rows, width) for _ in range(2))
    return x, delta, 1 + 0.1 * _normal(generator, width), 1e-5


ADD_RMS_NORM_CASES = (
    Case((1, 1), "one number"),
    Case((3, 7), "primes, below a warp"),
    Case((2, 33), "one past a warp"),
    Case((5, 1031), "a large prime, ragged tail"),
    Case((2, 64), "tiny numbers, where epsilon counts", scale=1e-3),
    Case((2, 64), "large numbers, near the end of float16 when squared", scale=1e2),
    Case((1, 1024), "VoxCPM 1.5, one unit", perf=True),
    Case((1152, 1024), "VoxCPM 1.5, flow of 64 units", perf=True),
)


def _silu_mul_inputs(case: Case, generator: torch.Generator) -> Inputs:
    return (case.scale * _normal(generator, *case.shape),)


SILU_MUL_CASES = (
    Case((1, 2), "one number"),
    Case((3, 14), "primes, below a warp"),
    Case((2, 2062), "a large prime, several blocks"),
    Case((2, 64), "far from zero", scale=30.0),
    Case((18, 8192), "VoxCPM 1.5, flow of one unit", perf=True),
    Case((1152, 8192), "VoxCPM 1.5, flow of 64 units", perf=True),
)

ROPE_POSITIONS = 700


def _tables(size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotations, `[positions, D]`, as in `nn.rope`."""
    rates = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(ROPE_POSITIONS, dtype=torch.float64), rates)
    return torch.cat((angles.cos(), angles.cos()), 1), torch.cat((-angles.sin(), angles.sin()), 1)


def _rope_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, all heads, rotated heads, size of a head."""
    rows, heads, rotated, size = case.shape
    positions = torch.randint(0, ROPE_POSITIONS, (rows,), generator=generator)
    return _normal(generator, rows, heads, size), rotated, *_tables(size), positions


ROPE_CASES = (
    Case((1, 1, 1, 2), "one pair"),
    Case((3, 5, 3, 6), "odd sizes, below a warp"),
    Case((2, 20, 18, 64), "VoxCPM 1.5, more pairs than threads"),
    Case((7, 3, 0, 4), "no head is rotated"),
    Case((18, 20, 18, 64), "VoxCPM 1.5, flow of one unit", perf=True),
    Case((1152, 20, 18, 64), "VoxCPM 1.5, flow of 64 units", perf=True),
)


def _rope_append_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, heads of queries, of keys, size of a head."""
    rows, heads, kv_heads, size = case.shape
    x, _, cos, sin, positions = _rope_inputs(Case((rows, heads + 2 * kv_heads, 0, size), ""), generator)
    places = torch.randperm(4 * rows, generator=generator)[:rows]
    stored = (_normal(generator, 4 * rows, kv_heads, size) for _ in range(2))
    return x, heads, cos, sin, positions, places, *stored


ROPE_APPEND_CASES = (
    Case((1, 1, 1, 2), "one pair"),
    Case((3, 4, 2, 6), "odd sizes, below a warp"),
    Case((5, 16, 2, 64), "VoxCPM 1.5"),
    Case((2, 6, 6, 24), "as many heads of keys as of queries"),
    Case((64, 16, 2, 64), "VoxCPM 1.5, 64 units", perf=True),
)

PAGE = 8


def _decode_attention_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, heads, heads of keys, size of a head, pages of a row; queries are part of wider rows."""
    rows, heads, kv_heads, size, pages = case.shape
    page = 64 if case.perf else PAGE
    count = rows * pages + 1
    wide = _normal(generator, rows, heads + kv_heads, size)
    keys, values = (_normal(generator, count * page, kv_heads, size) for _ in range(2))
    tables = (torch.randperm(count - 1, generator=generator) + 1).view(rows, pages).to(torch.int32)
    lengths = torch.randint(1, pages * page + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = 1, pages * page
    return wide, keys, values, tables, lengths, page, heads


def _of_wider_rows(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The attention of the first heads of rows that have more."""
    return lambda wide, *others: call(wide[:, : others[-1]], *others[:-1])


DECODE_ATTENTION_CASES = (
    Case((1, 1, 1, 2, 1), "a single query"),
    Case((2, 3, 3, 5, 2), "odd sizes"),
    Case((3, 16, 2, 64, 5), "VoxCPM 1.5: eight queries for a key"),
    Case((2, 20, 20, 64, 3), "IndexTTS: a key for each query"),
    Case((2, 16, 2, 128, 3), "VoxCPM 2: heads of 128"),
    Case((2, 6, 2, 24, 40), "more positions than a tile, three queries for a key"),
    Case((1, 16, 2, 64, 5), "VoxCPM 1.5, one unit of 320 positions", perf=True),
    Case((64, 16, 2, 64, 5), "VoxCPM 1.5, 64 units", perf=True),
    Case((8, 20, 20, 64, 4), "IndexTTS, 8 units of 256 positions", perf=True),
)


def _sample_codes_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, codes, largest top-k."""
    rows, codes, top_k = case.shape
    logits = case.scale * _normal(generator, rows, codes)
    seen = torch.rand(rows, codes, generator=generator) < 0.2
    temperature = 0.5 + torch.rand(rows, generator=generator, dtype=torch.float64)
    kept = torch.randint(1, top_k + 1, (rows,), generator=generator)
    top_p = 0.3 + 0.7 * torch.rand(rows, generator=generator, dtype=torch.float64)
    penalty = torch.tensor([1.0, 10.0, 1.5] * rows, dtype=torch.float64)[:rows]
    least = torch.randint(1, 4, (rows,), generator=generator)
    settings = torch.stack((temperature, kept.double(), top_p, penalty, least.double()), dim=1)
    excluded = torch.randint(-1, codes, (rows,), generator=generator)
    uniforms = torch.rand(rows, generator=generator, dtype=torch.float64)
    return logits, seen, settings, excluded, uniforms, top_k


SAMPLE_CODES_CASES = (
    Case((2, 2, 1), "greedy of two codes"),
    Case((7, 5, 5), "all of few codes"),
    Case((16, 257, 30), "one past a block", scale=2.0),
    Case((8, 1026, 64), "the largest top-k of the kernel", scale=3.0),
    Case((3, 8194, 30), "IndexTTS 2.5", scale=3.0),
    Case((1, 8194, 30), "IndexTTS 2.5, one unit", scale=3.0, perf=True),
    Case((16, 8194, 30), "IndexTTS 2.5, 16 units", scale=3.0, perf=True),
)

_TABLE_TYPES = {2: torch.float32, 3: torch.float32}

OPS = {
    "snake": Op(ops.snake, reference.snake, _snake_inputs, SNAKE_CASES),
    "snake_beta": Op(ops.snake_beta, reference.snake_beta, _snake_beta_inputs, SNAKE_BETA_CASES),
    "add_rms_norm": Op(
        lambda *given: torch.ops.intone.add_rms_norm.default(*given),
        reference.add_rms_norm,
        _add_rms_norm_inputs,
        ADD_RMS_NORM_CASES,
    ),
    "silu_mul": Op(ops.silu_mul, reference.silu_mul, _silu_mul_inputs, SILU_MUL_CASES),
    "rope": Op(ops.rope, reference.rope, _rope_inputs, ROPE_CASES, _TABLE_TYPES),
    "rope_append": Op(
        ops.rope_append, reference.rope_append, _rope_append_inputs, ROPE_APPEND_CASES, _TABLE_TYPES, changes=(6, 7)
    ),
    "decode_attention": Op(
        _of_wider_rows(ops.decode_attention),
        _of_wider_rows(reference.decode_attention),
        _decode_attention_inputs,
        DECODE_ATTENTION_CASES,
    ),
    "sample_codes": Op(
        ops.sample_codes,
        reference.sample_codes,
        _sample_codes_inputs,
        SAMPLE_CODES_CASES,
        {2: torch.float32, 4: torch.float64},
        (torch.float32,),
        exact=True,
    ),
}


def cast(op: Op, inputs: Inputs, device: str, dtype: torch.dtype) -> Inputs:
    """The arguments of the operation on a device, copies, in a dtype; layouts are kept. float64 casts all numbers."""

    def of(index: int, given: Any) -> Any:
        if not isinstance(given, Tensor):
            return given
        if not given.is_floating_point():
            return given.to(device=device, copy=True)
        kind = dtype if dtype == torch.float64 else op.fixed.get(index, dtype)
        return given.to(device=device, dtype=kind, copy=True)

    return tuple(of(index, given) for index, given in enumerate(inputs))
