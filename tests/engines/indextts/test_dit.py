"""The velocity field and its WaveNet against the official package, and exactness of what is skipped."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.random_weights import S2MEL
from intone.server.engines.indextts.s2mel.cfm import solve, time_table
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import MAX_FRAMES
from intone.server.engines.indextts.s2mel.wavenet import WaveNet
from intone.server.engines.weights import declared_shapes
from intone.server.errors import CheckpointError
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import BANDS, CHANNELS, STYLE, published, tiny_config, untrained, weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "dit", "indextts_oracle_acoustic.py")


@pytest.fixture(scope="module")
def official_wavenet(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "wavenet", "indextts_oracle_acoustic.py")


@pytest.fixture(scope="module")
def field() -> DiT:
    config = tiny_config()
    tensors = untrained(partial(DiT, config.dit, config.wavenet), 0, S2MEL)
    return DiT(config.dit, config.wavenet, weights(tensors))


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("case", "layers", "rate"), [("flat", 8, 1), ("dilated", 3, 2)])
@pytest.mark.parametrize("frames", [2, 3, 40])
def test_the_wavenet_equals_the_official(
    official_wavenet: dict[str, Tensor], case: str, layers: int, rate: int, frames: int
) -> None:
    config = tiny_config(wavenet_layers=layers, rate=rate).wavenet
    tensors = published(under(official_wavenet, f"{case}.w"), declared_shapes(partial(WaveNet, config)))
    ours = WaveNet(config, weights(tensors))
    gates = ours.gates(official_wavenet[f"{case}.in.time"][:, :, 0])[0]
    assert_close(ours(official_wavenet[f"{case}.in.{frames}"], gates), official_wavenet[f"{case}.out.{frames}"])


def test_the_wavenet_depends_on_its_context_only() -> None:
    config = tiny_config(wavenet_layers=8).wavenet
    dit = tiny_config().dit
    tensors = untrained(partial(DiT, dit, config), 1, S2MEL)
    ours = WaveNet(config, weights(tensors).scope("wavenet"))
    assert ours.context_frames == 16
    x, gates = noise(2, 1, CHANNELS, 60), ours.gates(noise(3, 1, CHANNELS))[0]
    assert torch.equal(ours(x, gates)[:, :, 36:], ours(x[:, :, 20:], gates)[:, :, 16:])
    assert not torch.equal(ours(x, gates)[:, :, 35], ours(x[:, :, 20:], gates)[:, :, 15])


@pytest.mark.parametrize(("depth", "layers", "prompt", "frames"), [(5, 3, 24, 70), (13, 8, 40, 75), (4, 8, 9, 31)])
def test_the_field_equals_the_official(
    official: dict[str, Tensor], depth: int, layers: int, prompt: int, frames: int
) -> None:
    """Only the frames solved for: the official field also computes the known frames, which are not used."""
    case = f"{depth}.{layers}.{prompt}.{frames}"
    config = tiny_config(depth=depth, wavenet_layers=layers)
    found = under(official, case)
    shapes = declared_shapes(partial(DiT, config.dit, config.wavenet))
    ours = DiT(config.dit, config.wavenet, weights(published(under(found, "w"), shapes)))
    x, given = found["in.x"].transpose(1, 2), found["in.given"].transpose(1, 2)
    condition = ours.inputs.condition(given[:, :prompt], found["in.content"], found["in.style"], guided=False)
    result = ours.velocity(x[:, prompt:], condition, ours.inputs.modulations(found["in.time"])[0])
    assert_close(result, found["out"].transpose(1, 2)[:, prompt:])


def test_the_unconditional_half_depends_on_the_noise_only(field: DiT) -> None:
    given, content, style, x = (
        noise(1, 2, 20, BANDS),
        noise(2, 2, 50, CHANNELS),
        noise(3, 2, STYLE),
        noise(4, 2, 30, BANDS),
    )
    time = field.inputs.modulations(torch.tensor([0.2]))[0]
    both = field.velocity(x, field.inputs.condition(given, content, style, guided=True), time)
    conditional = field.velocity(x, field.inputs.condition(given, content, style, guided=False), time)
    nothing = field.inputs.condition(given * 0, content * 0, style * 0, guided=False)
    assert_close(both[:2], conditional, 1e-6)
    assert_close(both[2:], field.velocity(x, nothing, time), 1e-6)
    assert float((both[:2] - both[2:]).abs().max()) > 0.1


def test_rows_of_a_batch_are_independent(field: DiT) -> None:
    given, content, style, z = (
        noise(1, 2, 20, BANDS),
        noise(2, 2, 50, CHANNELS),
        noise(3, 2, STYLE),
        noise(4, 2, 30, BANDS),
    )
    table = time_table(field.inputs, 3, CPU)
    together = solve(field, z, field.inputs.condition(given, content, style, guided=True), 0.7, table)
    for row in range(2):
        one = slice(row, row + 1)
        alone = solve(
            field, z[one], field.inputs.condition(given[one], content[one], style[one], guided=True), 0.7, table
        )
        assert_close(together[one], alone)


def test_steps_are_equal_and_end_at_1(field: DiT) -> None:
    table = time_table(field.inputs, 25, CPU)
    assert len(table.modulations) == 25
    assert max(abs(length - 0.04) for length in table.lengths) < 1e-6
    assert abs(sum(table.lengths) - 1) < 1e-6
    with pytest.raises(ValueError, match="0 steps"):
        time_table(field.inputs, 0, CPU)


def test_too_many_frames_are_refused(field: DiT) -> None:
    content = torch.zeros(1, MAX_FRAMES + 1, CHANNELS)
    with pytest.raises(ValueError, match=f"{MAX_FRAMES + 1} mel frames"):
        field.inputs.condition(torch.zeros(1, 1, BANDS), content, torch.zeros(1, STYLE), guided=False)


def test_mismatched_widths_are_refused() -> None:
    config = tiny_config()
    narrow = type(config.wavenet)(CHANNELS // 2, 8, 5, 1)
    with pytest.raises(CheckpointError, match=r"s2mel\.wavenet\.hidden_dim: found 32, expected 64"):
        DiT(config.dit, narrow, weights({}))
