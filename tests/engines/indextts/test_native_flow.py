"""The native solver of the flow against the field in torch and the official package, on every instruction set."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.random_weights import S2MEL
from intone.server.engines.indextts.s2mel.cfm import TimeTable, solve, time_table
from intone.server.engines.indextts.s2mel.dit import DiT, modulated
from intone.server.engines.indextts.s2mel.flow_inputs import MAX_FRAMES, Condition
from intone.server.engines.indextts.s2mel.native_flow import NativeFlow, _tensors
from intone.server.engines.weights import declared_shapes
from intone.server.nn.attention import attend
from intone.server.ops import ensure_built
from tests.oracles.indextts_golden import golden, under
from tests.support.indextts_tiny import BANDS, CHANNELS, STYLE, published, tiny_config, untrained, weights

CPU = torch.device("cpu")
CLOSE = 2e-5


def field_of(depth: int = 5, layers: int = 3, rate: int = 1) -> DiT:
    config = tiny_config(depth=depth, wavenet_layers=layers, rate=rate)
    tensors = untrained(partial(DiT, config.dit, config.wavenet), depth, S2MEL)
    return DiT(config.dit, config.wavenet, weights(tensors))


def given(field: DiT, known: int, new: int, guided: bool) -> tuple[Tensor, Condition]:
    generator = torch.Generator().manual_seed(known + new)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    parts = noise(1, known, BANDS), noise(1, known + new, CHANNELS), noise(1, STYLE)
    return noise(1, new, BANDS), field.inputs.condition(*parts, guided=guided)


@pytest.fixture(params=("portable", "avx2", "avx512"))
def level(request: pytest.FixtureRequest, require: Callable[..., Any]) -> str:
    levels = ("portable", "avx2", "avx512")
    if levels.index(request.param) > levels.index(ensure_built().best_isa()):
        require("avx512", None, f"this processor has no {request.param}")
    return str(request.param)


@pytest.mark.parametrize(
    ("depth", "layers", "rate", "known", "new", "guidance"),
    [
        (5, 3, 1, 24, 70, 0.7),
        (13, 8, 1, 430, 240, 0.7),  # several blocks of rows, of queries and of keys
        (4, 8, 1, 9, 31, 0.7),  # an even number of layers; the WaveNet reaches the first frame
        (5, 3, 2, 40, 33, 0.7),  # dilated
        (5, 3, 2, 1, 2, 0.7),  # shorter than the padding
        (1, 1, 1, 0, 64, 0.0),  # one layer, nothing known, no guidance
        (3, 2, 1, 100, 1, 2.0),
    ],
)
def test_solves_of_the_field_in_torch(
    level: str, depth: int, layers: int, rate: int, known: int, new: int, guidance: float
) -> None:
    field = field_of(depth, layers, rate)
    noise, condition = given(field, known, new, guidance > 0)
    table = time_table(field.inputs, 3, CPU)
    found = NativeFlow(field, isa=level).solve(noise, condition, guidance, table)
    assert float((found - solve(field, noise, condition, guidance, table)).abs().max()) <= CLOSE


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "dit", "indextts_oracle_acoustic.py")


@pytest.mark.parametrize(("depth", "layers", "prompt", "frames"), [(5, 3, 24, 70), (13, 8, 40, 75), (4, 8, 9, 31)])
def test_the_official_velocity(official: dict[str, Tensor], depth: int, layers: int, prompt: int, frames: int) -> None:
    """From a step of length 1."""
    config = tiny_config(depth=depth, wavenet_layers=layers)
    found = under(official, f"{depth}.{layers}.{prompt}.{frames}")
    shapes = declared_shapes(partial(DiT, config.dit, config.wavenet))
    field = DiT(config.dit, config.wavenet, weights(published(under(found, "w"), shapes)))
    flow = NativeFlow(field)
    x, known = found["in.x"].transpose(1, 2), found["in.given"].transpose(1, 2)[:, :prompt]
    times = field.inputs.modulations(found["in.time"])
    for row, wanted in enumerate(found["out"].transpose(1, 2)[:, prompt:]):
        one = slice(row, row + 1)
        condition = field.inputs.condition(known[one], found["in.content"][one], found["in.style"][one], guided=False)
        noise = x[one, prompt:]
        step = TimeTable((1.0,), (times[0],))
        assert float((flow.solve(noise, condition, 0.0, step)[0] - noise[0] - wanted).abs().max()) <= 1e-4


@pytest.mark.parametrize("packed", ["fp32", "bf16", "int8"])
def test_threads_and_blocks_do_not_matter(packed: str) -> None:
    """Bit for bit: blocks of rows are smaller for more threads."""
    field = field_of()
    flow, (noise, condition) = NativeFlow(field, packed), given(field, 150, 140, True)
    table, before, found = time_table(field.inputs, 2, CPU), torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(flow.solve(noise, condition, 0.7, table))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


Frames = list[tuple[Tensor, Tensor]]
"""Keys and values of frames in each layer, `[R, T, heads, head_dim]`."""


def transformed(field: DiT, h: Tensor, norms: Tensor, before: Frames, kept: Frames) -> Tensor:
    """All layers in torch, on frames that follow those in `before`; their keys and values are appended to `kept`."""
    start = before[0][0].shape[1] if before else 0
    rope, skips = field.rope.at(start, start + h.shape[1]), []
    for index, layer in enumerate(field.layers):
        if layer.skip is not None:
            h = layer.skip(torch.cat((h, skips.pop()), dim=2))
        normed = modulated(h, norms[2 * index])
        keys_values = layer.keys_values(normed).unflatten(2, (2, -1, field.head_dim))
        queries = rope.rotate(layer.queries(normed).unflatten(2, (-1, field.head_dim)))
        keys, values = rope.rotate(keys_values[:, :, 0]), keys_values[:, :, 1]
        kept.append((keys, values))
        if before:
            keys, values = (torch.cat(parts, dim=1) for parts in zip(before[index], (keys, values), strict=True))
        h = h + layer.out(attend(queries, keys, values, causal=False))
        h = h + layer.down(layer.gate_up(modulated(h, norms[2 * index + 1])))
        if index < len(field.layers) // 2:
            skips.append(h)
    return modulated(h, norms[-1])


def solve_after_cached(
    field: DiT, noise: Tensor, condition: Condition, cached: int, guidance: float, table: TimeTable
) -> Tensor:
    """As `solve`, where the first `cached` of the known frames have seen the known ones only, and are bfloat16."""
    x, known = noise, condition.rows[:, : condition.prompt]
    rest = Condition(condition.rows[:, cached:], condition.prompt - cached)
    for length, time in zip(table.lengths, table.modulations, strict=True):
        kept: Frames = []
        transformed(field, known, time.norms, [], kept)
        before = [(keys[:, :cached].bfloat16().float(), values[:, :cached].bfloat16().float()) for keys, values in kept]
        velocity = field.velocity(
            x, rest, time, lambda h, first, norms, _, b=before: transformed(field, h, norms, b, [])[:, first:]
        )
        if guidance > 0:
            conditional, unconditional = velocity.chunk(2)
            velocity = torch.lerp(unconditional, conditional, 1 + guidance)
        x = x + length * velocity
    return x


@pytest.mark.parametrize(
    ("known", "new", "cached", "guidance"), [(200, 70, 176, 0.7), (60, 90, 16, 0.7), (33, 5, 16, 0.0)]
)
def test_solves_after_cached_frames(level: str, known: int, new: int, cached: int, guidance: float) -> None:
    """Keys and values that lie between two bfloat16 are rounded either way: less exact than without a cache."""
    field = field_of(5, 3)
    noise, condition = given(field, known, new, guidance > 0)
    flow, table = NativeFlow(field, isa=level), time_table(field.inputs, 3, CPU)
    sequences = [rows[:known] for rows in condition.rows]
    frames = [flow.cache(rows, cached, time.norms) for rows in sequences for time in table.modulations]
    assert all(each.frames == cached and each.nbytes == 5 * 2 * 2 * cached * CHANNELS for each in frames)
    rest = Condition(condition.rows[:, cached:], known - cached, cached=frames)
    found, exact = (flow.solve(noise, which, guidance, table) for which in (rest, condition))
    wanted = solve_after_cached(field, noise, condition, cached, guidance, table)
    assert float((found - wanted).abs().max()) <= 1e-3 < 0.2 * float((found - exact).abs().max())


def test_cached_frames_of_another_kind_are_refused() -> None:
    field = field_of(3, 2)
    noise, condition = given(field, 40, 6, True)
    flow, table = NativeFlow(field), time_table(field.inputs, 1, CPU)
    norms, deeper = table.modulations[0].norms, field_of(4, 2)
    frames = [flow.cache(rows[:40], 16, norms) for rows in condition.rows]
    longer = flow.cache(condition.rows[0][:40], 32, norms)
    other_norms = time_table(deeper.inputs, 1, CPU).modulations[0].norms
    other = NativeFlow(deeper).cache(condition.rows[0], 16, other_norms)
    for rows, cached, told in (
        (condition.rows[:, 16:], frames[:1], "found 1 cached sequences, expected 2 or none"),
        (condition.rows[:, 16:], [frames[0], longer], "of different numbers"),
        (condition.rows[:, 16:], [frames[0], other], "another model"),
        (condition.rows[:, 37:], frames, "3 known frames after the cached ones, expected 4"),
    ):
        with pytest.raises(RuntimeError, match=told):
            flow.solve(noise, Condition(rows, 0, cached=cached), 0.7, table)
    for count in (0, 8, 48):
        with pytest.raises(RuntimeError, match="expected a multiple of 16"):
            flow.cache(condition.rows[0][:40], count, norms)


def test_wrong_arguments_are_refused() -> None:
    field = field_of(3, 2)
    noise, condition = given(field, 5, 6, True)
    table = time_table(field.inputs, 2, CPU)
    flow, tensors = NativeFlow(field), dict(_tensors(field))
    for change, told in (
        ({"type": "int4"}, "found weights 'int4'"),
        ({"heads": 7}, "cannot be divided into 7 heads"),
        ({"dilations": []}, "found 0 dilations"),
        ({"dilations": [1, 0]}, "dilation 0"),
        ({"tensors": {**tensors, "layers.0.qkv": torch.zeros(64, 64)}}, "layers.0.qkv has 64 inputs and 64 outputs"),
        ({"tensors": {**tensors, "cos": torch.zeros(3, 4)}}, "cos and sin are"),
        ({"tensors": {k: v for k, v in tensors.items() if k != "frames_in"}}, "frames_in is missing"),
        ({"tensors": {**tensors, "frames_in": tensors["frames_in"].double()}}, "frames_in is Double"),
    ):
        how: dict[str, Any] = {"heads": 4, "dilations": [1, 1], "tensors": tensors, "type": "fp32", **change}
        with pytest.raises(RuntimeError, match=told):
            ensure_built().MelFlow(wavenet_type="fp32", **how)
    with pytest.raises(RuntimeError, match="noise is"):
        flow.solve(noise[:, :, 1:], condition, 0.7, table)
    with pytest.raises(RuntimeError, match="which do not match 1 steps"):
        flow.solve(noise, condition, 0.7, TimeTable((0.5,), table.modulations))
    with pytest.raises(RuntimeError, match=f"expected at most {MAX_FRAMES}"):
        flow.solve(noise, Condition(torch.zeros(1, MAX_FRAMES + 1, CHANNELS), 0), 0.0, table)
