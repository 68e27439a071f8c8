"""The length regulator against the official package, its map from frames to features, and chunks."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.random_weights import S2MEL
from intone.server.engines.indextts.s2mel import length_regulator
from intone.server.engines.indextts.s2mel.length_regulator import (
    LengthRegulator,
    exact_ratio,
    mel_frames,
    nominal_ratio,
    source_features,
)
from intone.server.engines.weights import declared_shapes
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import CHANNELS, HIDDEN, published, tiny_config, untrained, weights

CONFIG = tiny_config().regulator
REGULATED = ((100, 172), (25, 43), (13, 22), (1, 1), (40, 55))


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "regulator", "indextts_oracle_acoustic.py")


@pytest.fixture(scope="module")
def regulator() -> LengthRegulator:
    tensors = untrained(partial(LengthRegulator, CONFIG), 0, S2MEL)
    return LengthRegulator(CONFIG, weights(tensors))


def content(rows: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, CHANNELS, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("features", "frames"), REGULATED)
def test_a_whole_unit_equals_the_official(official: dict[str, Tensor], features: int, frames: int) -> None:
    tensors = published(under(official, "w"), declared_shapes(partial(LengthRegulator, CONFIG)))
    ours = LengthRegulator(CONFIG, weights(tensors))
    found, _ = ours.whole(ours.content_in(official[f"in.{features}.{frames}"][0]), frames)
    assert_close(found, official[f"out.{features}.{frames}"][0])


@given(features=st.integers(1, 3000), factor=st.floats(0.3, 3.0))
@settings(max_examples=300, deadline=None)
def test_the_map_equals_nearest_neighbour_interpolation(features: int, factor: float) -> None:
    frames = max(1, mel_frames(features, factor))
    numbers = torch.arange(features, dtype=torch.float32).view(1, 1, -1)
    expected = functional.interpolate(numbers, size=frames, mode="nearest")[0, 0].long().numpy()
    assert np.array_equal(source_features(0, frames, exact_ratio(features, frames), features), expected)


def test_the_map_of_every_short_length_equals_nearest_neighbour_interpolation() -> None:
    for features in range(1, 400):
        for factor in (0.5, 0.78, 1.0, 1.1, 2.0, 1 / 1.72):
            frames = max(1, mel_frames(features, factor))
            numbers = torch.arange(features, dtype=torch.float32).view(1, 1, -1)
            expected = functional.interpolate(numbers, size=frames, mode="nearest")[0, 0].long().numpy()
            found = source_features(0, frames, exact_ratio(features, frames), features)
            assert np.array_equal(found, expected), (features, factor)


def test_the_map_of_a_stream_is_exact_for_multiples_of_25_features() -> None:
    whole = source_features(0, mel_frames(1500), nominal_ratio(), 1500)
    for features in range(25, 1501, 25):
        frames = mel_frames(features)
        assert frames * 25 == features * 43
        assert np.array_equal(source_features(0, frames, exact_ratio(features, frames), features), whole[:frames])


@given(features=st.integers(1, 3000), factor=st.sampled_from([0.5, 0.8, 1.0, 1.3, 2.0]))
@settings(max_examples=200, deadline=None)
def test_the_map_of_a_stream_is_off_by_at_most_one_frame(features: int, factor: float) -> None:
    frames = mel_frames(features, factor)
    exact = source_features(0, frames, exact_ratio(features, frames), features)
    nominal = source_features(0, frames, nominal_ratio(factor), features)
    assert np.abs(exact - nominal).max(initial=0) <= math.ceil(1 / (1.72 * factor))
    assert nominal.max(initial=0) < features


@pytest.mark.parametrize("features", [0, 1, 2, 24, 25, 26, 1500])
def test_frames_are_rounded_down(features: int) -> None:
    assert mel_frames(features) == math.floor(features * 1.72)
    assert mel_frames(features, 0.5) == int(features * 1.72 * 0.5)


def test_chunks_with_fixed_moments_equal_the_whole(regulator: LengthRegulator) -> None:
    """With the norms fixed to the moments of the whole, the context of the convolutions is sufficient."""
    rows = content(90)
    lead = regulator.context_frames
    whole, moments = regulator.condition(rows, regulator.empty_moments(), 0, 90)
    heavy = length_regulator.Moments(90 * 10**9, moments.sums * 10**9)  # too many frames for new ones to matter
    pieces, start = [], 0
    for stop in (7, 31, 32, 80, 90):
        ahead = min(90, stop + lead)
        skip = min(start, lead)
        found, after = regulator.condition(rows[start - skip : ahead], heavy, skip, stop - start)
        assert after.frames == heavy.frames + stop - start
        pieces.append(found[: stop - start])
        start = stop
    assert_close(torch.cat(pieces), whole, 1e-5)


def test_moments_do_not_depend_on_the_chunking(regulator: LengthRegulator) -> None:
    """The first norm's input does not depend on other norms, so its sums equal those of the whole."""
    rows = content(60)
    _, whole = regulator.condition(rows, regulator.empty_moments(), 0, 60)
    seen, start = regulator.empty_moments(), 0
    for stop in (10, 40, 60):
        skip = min(start, regulator.context_frames)
        ahead = min(60, stop + 9)
        _, seen = regulator.condition(rows[start - skip : ahead], seen, skip, stop - start)
        start = stop
    assert seen.frames == whole.frames == 60
    assert_close(seen.sums[0], whole.sums[0], 1e-9)


def test_moments_are_sums_over_channels_and_frames(regulator: LengthRegulator) -> None:
    tensors = untrained(partial(LengthRegulator, CONFIG), 0, S2MEL)
    rows = content(30)
    _, moments = regulator.condition(rows, regulator.empty_moments(), 0, 30)
    first = functional.conv1d(rows.t().unsqueeze(0), tensors["model.0.weight"], tensors["model.0.bias"], padding=1)
    expected = torch.stack((first.double().sum(), first.double().square().sum()))
    assert_close(moments.sums[0], expected, 1e-6)


def test_projection_commutes_with_the_map(regulator: LengthRegulator) -> None:
    features = torch.randn(9, HIDDEN, generator=torch.Generator().manual_seed(3))
    index = torch.tensor([0, 0, 1, 4, 8])
    assert_close(regulator.content_in(features)[index], regulator.content_in(features[index]), 1e-6)
