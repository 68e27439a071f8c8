"""Every native operation with the shapes that `test_ops.py` checks and `bench/ops.py` times.

A new operation is one entry in `OPS`: how to call it, its reference, how to make its inputs, and its cases. Each case
says why it is there; those marked `perf` are real sizes and say which.
"""

from typing import Any

import torch
from torch import Tensor

from intone.server import ops
from intone.server.ops import reference
from tests.support.op_case import Case, Inputs, Op, normal
from tests.support.streaming_cases import STREAMING_OPS


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


def _add_rms_norm_inputs(case: Case, generator: torch.Generator) -> Inputs:
    rows, width = case.shape
    x, delta = (case.scale * normal(generator, rows, width) for _ in range(2))
    return x, delta, 1 + 0.1 * normal(generator, width), 1e-5


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


def _add_norm_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, columns, and whether the mean is taken away."""
    rows, width, centred = case.shape
    x, delta = (case.scale * normal(generator, rows, width) for _ in range(2))
    return x, delta, 1 + 0.1 * normal(generator, width), normal(generator, width), 1e-5, bool(centred)


ADD_NORM_CASES = (
    Case((1, 1, 0), "one number"),
    Case((3, 7, 1), "primes, below a warp"),
    Case((2, 33, 1), "one past a warp"),
    Case((5, 1031, 0), "a large prime, ragged tail"),
    Case((5, 1031, 1), "a large prime, ragged tail, with its mean"),
    Case((2, 64, 1), "tiny numbers, where epsilon counts", scale=1e-3),
    Case((1, 1280, 1), "IndexTTS, a code of one unit", perf=True),
    Case((1240, 512, 0), "IndexTTS, flow of 620 frames", perf=True),
)


def _silu_mul_inputs(case: Case, generator: torch.Generator) -> Inputs:
    return (case.scale * normal(generator, *case.shape),)


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
    return normal(generator, rows, heads, size), rotated, *_tables(size), positions


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
    stored = (normal(generator, 4 * rows, kv_heads, size) for _ in range(2))
    return x, heads, cos, sin, positions, places, *stored


ROPE_APPEND_CASES = (
    Case((1, 1, 1, 2), "one pair"),
    Case((3, 4, 2, 6), "odd sizes, below a warp"),
    Case((5, 16, 2, 64), "VoxCPM 1.5"),
    Case((2, 6, 6, 24), "as many heads of keys as of queries"),
    Case((64, 16, 2, 64), "VoxCPM 1.5, 64 units", perf=True),
)


def _local_attention_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is sequences, rows of each, heads of queries, of keys, size of a head."""
    sequences, count, heads, kv_heads, size = case.shape
    return normal(generator, sequences * count, heads + 2 * kv_heads, size), heads, *_tables(size), count


LOCAL_ATTENTION_CASES = (
    Case((1, 1, 1, 1, 2), "a row that sees itself"),
    Case((3, 2, 2, 1, 6), "odd sizes, below a warp"),
    Case((2, 9, 16, 2, 64), "VoxCPM 1.5: the flow of one unit"),
    Case((2, 11, 16, 2, 128), "VoxCPM 2: heads of 128"),
    Case((1, 32, 3, 3, 64), "the most rows, a key for each query"),
    Case((128, 9, 16, 2, 64), "VoxCPM 1.5, flow of 64 units", perf=True),
    Case((64, 5, 16, 2, 64), "VoxCPM 1.5, local encoder of 64 units", perf=True),
)

PAGE = 8


def _append_attention_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, heads, heads of keys, size of a head, pages of a row; rows without pages are not rotated."""
    rows, heads, kv_heads, size, pages = case.shape
    page = 64 if case.perf else PAGE
    count = rows * pages + 1
    keys, values = (normal(generator, count * page, kv_heads, size) for _ in range(2))
    tables = (torch.randperm(count - 1, generator=generator) + 1).view(rows, pages).to(torch.int32)
    lengths = torch.randint(0, pages * page, (rows,), generator=generator)
    lengths[0], lengths[-1] = 0, pages * page - 1
    rotation = (None, None) if heads == kv_heads else _tables(size)
    return normal(generator, rows, heads + 2 * kv_heads, size), heads, *rotation, keys, values, tables, lengths, page


APPEND_ATTENTION_CASES = (
    Case((1, 1, 1, 2, 1), "a single query"),
    Case((2, 6, 3, 6, 2), "odd sizes"),
    Case((3, 16, 2, 64, 5), "VoxCPM 1.5: eight queries for a key"),
    Case((2, 20, 20, 64, 3), "IndexTTS: a key for each query, not rotated"),
    Case((2, 16, 2, 128, 3), "VoxCPM 2: heads of 128"),
    Case((2, 6, 2, 24, 40), "more positions than a tile, three queries for a key"),
    Case((1, 16, 2, 64, 5), "VoxCPM 1.5, one unit of 320 positions", perf=True),
    Case((64, 16, 2, 64, 5), "VoxCPM 1.5, 64 units", perf=True),
    Case((8, 20, 20, 64, 4), "IndexTTS, 8 units of 256 positions", perf=True),
)


def _guided_step_inputs(case: Case, generator: torch.Generator) -> Inputs:
    batch, rows, size = case.shape
    x, velocity = normal(generator, batch, rows, size), normal(generator, 2 * batch, rows, size)
    return x, velocity, 1 + normal(generator, batch).abs(), 0.1 * normal(generator, batch)


GUIDED_STEP_CASES = (
    Case((1, 1, 1), "one number"),
    Case((3, 5, 7), "primes"),
    Case((2, 4, 64), "VoxCPM 1.5"),
    Case((64, 4, 64), "VoxCPM 1.5, 64 units", perf=True),
)


def _draw_codes_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, codes, largest top-k; some units have ended, some may not stop yet, some make their last."""
    rows, codes, top_k = case.shape
    count = rows + 2
    seen = torch.rand(count, codes, generator=generator) < 0.2
    temperature = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    kept = torch.randint(1, top_k + 1, (count,), generator=generator)
    top_p = 0.3 + 0.7 * torch.rand(count, generator=generator, dtype=torch.float64)
    penalty = torch.tensor([1.0, 10.0, 1.5] * count, dtype=torch.float64)[:count]
    least = torch.randint(1, 4, (count,), generator=generator)
    settings = torch.stack((temperature, kept.double(), top_p, penalty, least.double()), dim=1)
    counters = torch.randint(0, 5, (count, 6), generator=generator)
    counters[:, 5] = torch.rand(count, generator=generator) < 0.2
    if case.perf:  # none ends, however often it is called
        counters[:, 3:] = torch.tensor([1 << 40, 1 << 41, 0])
    slots = torch.randperm(count, generator=generator)[:rows]
    uniforms = torch.rand(rows, 3, generator=generator, dtype=torch.float64)
    stop_code = int(torch.randint(0, codes, (1,), generator=generator))
    logits = case.scale * normal(generator, rows, codes)
    return logits, slots, seen, settings, counters, uniforms, torch.tensor([1]), stop_code, top_k


DRAW_CODES_CASES = (
    Case((2, 2, 1), "greedy of two codes"),
    Case((7, 5, 5), "all of few codes"),
    Case((16, 257, 30), "one past a block", scale=2.0),
    Case((8, 1026, 64), "the largest top-k of the kernel", scale=3.0),
    Case((3, 8194, 30), "IndexTTS 2.5", scale=3.0),
    Case((1, 8194, 30), "IndexTTS 2.5, one unit", scale=3.0, perf=True),
    Case((16, 8194, 30), "IndexTTS 2.5, 16 units", scale=3.0, perf=True),
)


def _int8_linear_inputs(case: Case, generator: torch.Generator) -> Inputs:
    """The shape is rows, inputs, outputs, and whether there is a bias."""
    rows, inputs, outputs, biased = case.shape
    weight = torch.randint(-127, 128, (outputs, inputs), generator=generator, dtype=torch.int8)
    scale = (0.5 + torch.rand(outputs, generator=generator, dtype=torch.float64)) / (74 * inputs**0.5)
    return normal(generator, rows, inputs), weight, scale, normal(generator, outputs) if biased else None


INT8_LINEAR_CASES = (
    Case((1, 64, 16, 0), "one row, one turn of one warp"),
    Case((9, 128, 32, 1), "one row past a tile"),
    Case((18, 640, 16, 0), "VoxCPM: rows of the flow; one turn past a round of all warps"),
    Case((33, 64, 48, 1), "one row past four tiles"),
    Case((64, 64, 16, 0), "the most rows"),
    Case((1, 1280, 3840, 1), "IndexTTS, a code", perf=True),
    Case((18, 1024, 8192, 0), "VoxCPM 1.5, flow of one unit, gate and up", perf=True),
    Case((18, 4096, 1024, 0), "VoxCPM 1.5, flow of one unit, down", perf=True),
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
    "add_norm": Op(
        lambda *given: torch.ops.intone.add_norm.default(*given),
        reference.add_norm,
        _add_norm_inputs,
        ADD_NORM_CASES,
        {0: torch.float32, 2: torch.float32, 3: torch.float32},
        changes=(0,),
    ),
    "silu_mul": Op(ops.silu_mul, reference.silu_mul, _silu_mul_inputs, SILU_MUL_CASES),
    "rope": Op(ops.rope, reference.rope, _rope_inputs, ROPE_CASES, _TABLE_TYPES),
    "rope_append": Op(
        ops.rope_append, reference.rope_append, _rope_append_inputs, ROPE_APPEND_CASES, _TABLE_TYPES, changes=(6, 7)
    ),
    "local_attention": Op(
        ops.local_attention, reference.local_attention, _local_attention_inputs, LOCAL_ATTENTION_CASES, _TABLE_TYPES
    ),
    "append_attention": Op(
        ops.append_attention,
        reference.append_attention,
        _append_attention_inputs,
        APPEND_ATTENTION_CASES,
        _TABLE_TYPES,
        changes=(4, 5),
    ),
    "draw_codes": Op(
        ops.draw_codes,
        reference.draw_codes,
        _draw_codes_inputs,
        DRAW_CODES_CASES,
        {3: torch.float32, 5: torch.float64},
        (torch.float32,),
        changes=(2, 4),
        exact=True,
    ),
    "guided_step": Op(
        ops.guided_step,
        reference.guided_step,
        _guided_step_inputs,
        GUIDED_STEP_CASES,
        {0: torch.float32, 2: torch.float32, 3: torch.float32},
        result=torch.float32,
    ),
    "int8_linear": Op(
        ops.int8_linear,
        reference.int8_linear,
        _int8_linear_inputs,
        INT8_LINEAR_CASES,
        {2: torch.float32},
        (torch.bfloat16, torch.float16),
    ),
    **STREAMING_OPS,
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
