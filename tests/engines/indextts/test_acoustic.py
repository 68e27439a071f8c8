"""Codes to mel for whole units: against the official package, and the differences of the two variants."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.checkpoint.sizes import random_part
from intone.server.engines.indextts.checkpoint.weights import part_shapes, unused_names
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel, AcousticSettings
from intone.server.engines.indextts.s2mel.codec import FeatureQuantizer, code_table
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import (
    BANDS,
    CODES,
    GPT_DIM,
    HIDDEN,
    STYLE,
    AcousticFixture,
    published,
    tiny_config,
    tiny_prompt,
    weights,
)

V2, V25 = tiny_config(Variant.V2), tiny_config(Variant.V25)


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "acoustic", "indextts_oracle_acoustic.py")


@pytest.fixture(scope="module")
def speaker25() -> AcousticFixture:
    return AcousticFixture.build(Variant.V25)


# ---- against the official package -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def official_model(official: dict[str, Tensor]) -> AcousticModel:
    s2mel = published(under(official, "s2mel.w"), part_shapes(V25)["s2mel"])
    book = published(under(official, "codec.w"), part_shapes(V25)["codec"])
    return AcousticModel(V25, weights(s2mel), weights(book))


@pytest.mark.parametrize(
    ("case", "factor", "steps", "guidance"), [("plain", 1.0, 25, 0.7), ("slow", 1.3, 6, 0.7), ("unguided", 1.0, 1, 0.0)]
)
def test_a_whole_unit_equals_the_official_one(
    official: dict[str, Tensor], official_model: AcousticModel, case: str, factor: float, steps: int, guidance: float
) -> None:
    model, found = official_model, under(official, case)
    prompt = model.prompt(official["in.given"][0], official["in.heard"][0], official["in.style"][0])
    before = prompt.mel.shape[0]
    assert_close(prompt.condition, found["out.content"][0, :before])
    count = model.frames(20, factor)
    assert count == found["out.mel"].shape[2] - before
    condition, _ = model.regulator.whole(model.source.of_codes(official["in.codes"][0], None), count)
    assert_close(condition, found["out.content"][0, before:])
    settings = AcousticSettings(0, model.time_table(steps), guidance, factor)
    mel = model.fill(prompt.known_frames(), condition, found["in.noise"][0, :, before:].t().contiguous(), settings)
    assert_close(mel.t(), found["out.mel"][0, :, before:], 2e-5)
    assert (
        float(found["out.mel"][0, :, :before].abs().max()) == 0
    )  # the official result includes the known frames, as zeros


def test_used_and_unused_names_are_all_published_names(official: dict[str, Tensor]) -> None:
    for prefix, ignored, shapes in (
        ("s2mel.w", unused_names(V25)["s2mel"], part_shapes(V25)["s2mel"]),
        ("codec.w", unused_names(V25)["codec"], part_shapes(V25)["codec"]),
    ):
        names = set(under(official, prefix))
        unused = {name for name in names if re.fullmatch(ignored, name)}
        used = {re.sub(r"weight_[gv]$", "weight", name) for name in shapes}
        assert names == used | unused and not used & unused
    assert "cfm.estimator.transformer.layers.2.skip_in_linear.weight" in under(official, "s2mel.w")


# ---- what a unit is made of -----------------------------------------------------------------------------------------


def test_merged_latent_layers_equal_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    s2mel, book = random_part(V2, "s2mel", generator), random_part(V2, "codec", generator)
    model = AcousticModel(V2, weights(s2mel), weights(book))
    layers = nn.Sequential(nn.Linear(GPT_DIM, 256), nn.Linear(256, 128), nn.Linear(128, HIDDEN))
    layers.load_state_dict(under(s2mel, "gpt_layer"))
    codes, hidden = torch.randint(0, CODES, (11,), generator=generator), torch.randn(11, GPT_DIM, generator=generator)
    with torch.inference_mode():
        features = code_table(V2.codec, weights(book))[codes] + layers(hidden)
        assert_close(model.source.of_codes(codes, hidden), model.regulator.content_in(features))


@pytest.mark.parametrize(("config", "quantised"), [(V2, True), (V25, False)], ids=["v2", "v2.5"])
def test_features_of_a_recording_are_quantised_in_version_2_only(config: Any, quantised: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    s2mel, book = random_part(config, "s2mel", generator), random_part(config, "codec", generator)
    model = AcousticModel(config, weights(s2mel), weights(book))
    features = torch.randn(35, HIDDEN, generator=generator)
    prompt = model.prompt(torch.randn(BANDS, 60), features, torch.randn(STYLE))
    features_used = (
        FeatureQuantizer(config.codec, weights(book))(features.unsqueeze(0))[1][0] if quantised else features
    )
    expected, moments = model.regulator.whole(model.regulator.content_in(features_used), 60)
    assert_close(prompt.condition, expected)
    assert_close(prompt.moments, moments.sums, 1e-9)
    assert prompt.initial_moments().frames == 60


def test_version_2_needs_a_hidden_state_per_code() -> None:
    speaker = AcousticFixture.build(Variant.V2)
    codes, hidden = speaker.codes(5)
    for wrong, message in ((None, "found none"), (hidden[:4] if hidden is not None else None, "found 4")):
        with pytest.raises(ValueError, match=message):
            speaker.offline(codes, wrong)


def test_an_empty_recording_is_refused(speaker25: AcousticFixture) -> None:
    with pytest.raises(ValueError, match="0 frames"):
        speaker25.model.prompt(torch.zeros(BANDS, 0), torch.zeros(3, HIDDEN), torch.zeros(STYLE))


@pytest.mark.parametrize("frames", [1, 3, 15, 16, 17])
def test_a_recording_may_be_shorter_than_the_wavenet_s_context(speaker25: AcousticFixture, frames: int) -> None:
    """Works for any number of known frames."""
    prompt = tiny_prompt(speaker25.model, frames)
    mel = speaker25.model.whole(prompt.known_frames(), *speaker25.codes(5), speaker25.settings)
    assert mel.shape == (BANDS, 17) and bool(mel.isfinite().all())


@pytest.mark.parametrize("config", [V2, V25], ids=["v2", "v2.5"])
def test_untrained_tensors_have_the_published_shapes(config: Any) -> None:
    tensors = random_part(config, "s2mel", torch.Generator().manual_seed(0))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == part_shapes(config)["s2mel"]
