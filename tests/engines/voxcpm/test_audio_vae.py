"""The audio VAE in torch: equal to the official package, chunk-invariant and batch-invariant."""

import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from intone.server.engines.voxcpm.audio_vae import (
    AudioVAE,
    DecoderState,
    random_tensors,
    tensor_shapes,
)
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.engines.weights import Weights
from intone.server.errors import CheckpointError
from tests.oracles import voxcpm_oracle as oracle

CLOSE = 1e-5
"""Maximum error over maximum value: float32 sums of a few thousand terms in another order differ by about 1e-6."""

SMALL: dict[str, Any] = {"encoder_dim": 4, "decoder_dim": 64, "latent_dim": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1-odd-strides": (
        "voxcpm",
        {"encoder_dim": 8, "encoder_rates": [3, 7], "decoder_dim": 32, "decoder_rates": [7, 3], "latent_dim": 8},
    ),
    "v1-0.5B-strides": ("voxcpm", {**SMALL}),
    "v1-1.5-strides": (
        "voxcpm",
        {**SMALL, "encoder_rates": [2, 3, 6, 7, 7], "decoder_rates": [7, 7, 6, 3, 2], "sample_rate": 44100},
    ),
    "v2-odd-strides": (
        "voxcpm2",
        {"encoder_dim": 8, "encoder_rates": [3, 7], "decoder_dim": 32, "decoder_rates": [7, 3], "latent_dim": 8},
    ),
    "v2-strides": ("voxcpm2", {**SMALL}),
    "v2-24k": ("voxcpm2", {**SMALL, "decoder_rates": [8, 6, 5, 2, 2], "out_sample_rate": 24000}),
    "v2-no-rate": ("voxcpm2", {**SMALL, "sr_bin_boundaries": None}),
}


class Model:
    """A small untrained VAE."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.architecture, self.document = MODELS[name]
        self.config = AudioVAEConfig.from_json(self.architecture, self.document)
        self.tensors = random_tensors(self.config, torch.Generator().manual_seed(seed))
        self.vae = AudioVAE(self.config, Weights(self.tensors))

    def latents(self, batch: int, frames: int, seed: int = 1) -> Tensor:
        return torch.randn(batch, self.config.latent_dim, frames, generator=torch.Generator().manual_seed(seed))

    def decode(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents, self.vae.initial_state(latents.shape[0]))[0]


@pytest.fixture(autouse=True)
def one_thread(fixed_threads: None) -> None:
    """The models are tiny: more threads would only cost time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    return Model(request.param)


@pytest.fixture(scope="module")
def package(require: Callable[..., Any]) -> Iterator[types.SimpleNamespace]:
    require("oracle", oracle.installed(), "no official package: pip install --no-deps -r tests/oracles/voxcpm.txt")
    with oracle.official() as found:
        yield found


@pytest.fixture
def official(package: types.SimpleNamespace, model: Model) -> torch.nn.Module:
    """The official VAE with the same weights, after a check of their names and shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation of weight_norm
        if model.config.version == 1:
            vae = package.v1.AudioVAE(package.v1.AudioVAEConfig(**model.document))
        else:
            vae = package.v2.AudioVAEV2(package.v2.AudioVAEConfigV2(**model.document))
    assert {name: tuple(t.shape) for name, t in vae.state_dict().items()} == tensor_shapes(model.config)
    vae.load_state_dict(model.tensors)
    return vae.eval()


def _assert_close(got: Tensor, want: Tensor) -> None:
    assert got.shape == want.shape
    error = ((got - want).abs() / want.abs().max()).flatten()
    worst = int(error.argmax())
    assert float(error[worst]) <= CLOSE, f"error {error[worst]:.3g} at element {worst}"


def test_decoding_is_the_official_one(model: Model, official: Any) -> None:
    latents = model.latents(2, 30)
    with torch.no_grad():
        want = official.decode(latents)[:, 0]
    assert 0.02 < float(want.std()) < 0.3  # neither silent nor saturated
    _assert_close(model.decode(latents), want)


@pytest.mark.parametrize("frames", [1, 16, 37])  # one frame, exactly one piece, several pieces with a partial one
def test_encoding_is_the_official_one(model: Model, official: Any, frames: int) -> None:
    samples = frames * model.vae.hop_in_samples
    audio = 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        want = official.encode(audio, model.config.sample_rate_hz)
    assert want.shape == (2, model.config.latent_dim, frames)
    _assert_close(model.vae.encode(audio), want)


def test_streaming_is_the_official_one(model: Model, official: Any) -> None:
    """Patch by patch; version 1 has no streaming decoder to compare with, only the whole."""
    state, latents, pieces = model.vae.initial_state(), model.latents(1, 24), []
    for patch in latents.split(4, dim=2):
        audio, state = model.vae.decode(patch, state)
        pieces.append(audio)
    with torch.no_grad():
        if model.config.version == 1:
            want = official.decode(latents)
        else:
            with official.streaming_decode() as decoder:
                want = torch.cat([decoder.decode_chunk(patch) for patch in latents.split(4, dim=2)], 2)
    _assert_close(torch.cat(pieces, 1), want[:, 0])


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=6))
def test_decoding_is_chunk_invariant(model: Model, sizes: list[int]) -> None:
    latents = model.latents(1, sum(sizes))
    state, pieces = model.vae.initial_state(), []
    for piece in latents.split(sizes, dim=2):
        audio, state = model.vae.decode(piece, state)
        assert audio.shape == (1, piece.shape[2] * model.vae.hop_out_samples)
        pieces.append(audio)
    _assert_close(torch.cat(pieces, 1), model.decode(latents))


def test_decoding_is_causal(model: Model) -> None:
    latents = model.latents(1, 12)
    changed = latents.clone()
    changed[:, :, 5:] += 3
    until = 5 * model.vae.hop_out_samples
    before, after = model.decode(latents), model.decode(changed)
    assert torch.equal(before[:, :until], after[:, :until])
    assert not torch.equal(before[:, until : until + 1], after[:, until : until + 1])


def test_decoding_is_batch_invariant(model: Model) -> None:
    streams = [model.latents(1, 9, seed) for seed in range(3)]
    alone = [model.vae.initial_state() for _ in streams]
    heard: list[Tensor] = []
    for index, latents in enumerate(streams):  # warm each by a different number of frames
        _, alone[index] = model.vae.decode(latents[:, :, : index + 1], alone[index])
    together = DecoderState.stack(alone)
    for index, latents in enumerate(streams):
        audio, alone[index] = model.vae.decode(latents[:, :, 5:], alone[index])
        heard.append(audio)
    audio, together = model.vae.decode(torch.cat([latents[:, :, 5:] for latents in streams]), together)
    _assert_close(audio, torch.cat(heard))
    for state, want in zip(together.split(), alone, strict=True):
        for got, tail in zip(state.tensors, want.tensors, strict=True):
            assert float((got - tail).abs().max()) <= CLOSE * max(1.0, float(tail.abs().max()))


def test_splitting_and_stacking_are_inverse(model: Model) -> None:
    _, state = model.vae.decode(model.latents(3, 4), model.vae.initial_state(3))
    again = DecoderState.stack(state.split())
    assert all(torch.equal(a, b) for a, b in zip(state.tensors, again.tensors, strict=True))


def test_a_state_is_immutable_and_owns_its_memory(model: Model) -> None:
    _, state = model.vae.decode(model.latents(2, 4), model.vae.initial_state(2))
    before = [t.clone() for t in state.tensors]
    first, _ = model.vae.decode(model.latents(2, 3, seed=7), state)
    second, _ = model.vae.decode(model.latents(2, 3, seed=7), state)
    assert torch.equal(first, second)
    assert all(torch.equal(t, b) for t, b in zip(state.tensors, before, strict=True))
    for kept in (state, *state.split()):
        assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in kept.tensors)


def test_the_receptive_field_is_as_computed(model: Model) -> None:
    """With weights of one sign and no biases nothing cancels, so non-zero audio shows what the first frame reaches."""
    tensors = {}
    for name, tensor in model.tensors.items():
        if name.endswith(("bias", "bias_embed.weight")):
            tensors[name] = torch.zeros_like(tensor)
        else:
            tensors[name] = tensor if name.endswith("boundaries") else torch.ones_like(tensor)
    vae = AudioVAE(model.config, Weights(tensors))
    latents = torch.zeros(1, model.config.latent_dim, vae.receptive_frames + 4)
    latents[:, :, 0] = 1
    audio, _ = vae.decode(latents, vae.initial_state())
    reached = audio.view(latents.shape[2], -1).abs().amax(1) > 0
    assert int(reached.nonzero().max()) == vae.receptive_frames - 1


def test_a_decoder_forgets_what_is_beyond_its_receptive_field(model: Model) -> None:
    frames = model.vae.receptive_frames
    latents = model.latents(1, 2 * frames + 8)
    _, warm = model.vae.decode(latents[:, :, frames : 2 * frames], model.vae.initial_state())
    audio, _ = model.vae.decode(latents[:, :, 2 * frames :], warm)
    _assert_close(audio, model.decode(latents)[:, -audio.shape[1] :])


def test_no_synchronization_with_the_device(model: Model) -> None:
    """Reading a value of a fake tensor fails."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert model.decode(torch.zeros(2, model.config.latent_dim, 3)).shape == (2, 3 * model.vae.hop_out_samples)
        audio = torch.zeros(2, 3 * model.vae.hop_in_samples)
        assert model.vae.encode(audio).shape == (2, model.config.latent_dim, 3)


PUBLISHED = {  # from the published sizes: 0.5B, 1.5, 2
    "0.5B": ("voxcpm", {}, 640, 640, 20, 243, 116160),
    "1.5": (
        "voxcpm",
        {"encoder_dim": 64, "encoder_rates": [2, 3, 6, 7, 7], "decoder_dim": 2048, "decoder_rates": [7, 7, 6, 3, 2]},
        1764,
        1764,
        22,
        299,
        159488,
    ),
    "2": ("voxcpm2", None, 640, 1920, 21, 312, 161856),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes(size: str) -> None:
    architecture, document, hop_in, hop_out, frames, tensors, floats = PUBLISHED[size]
    config = AudioVAEConfig.from_json(architecture, document)
    shapes = tensor_shapes(config)
    assert len(shapes) == tensors
    zeros = torch.zeros(1)
    vae = AudioVAE(config, Weights({name: zeros.expand(shape) for name, shape in shapes.items()}))
    assert (vae.hop_in_samples, vae.hop_out_samples, vae.receptive_frames) == (hop_in, hop_out, frames)
    assert sum(t.numel() for t in vae.initial_state().tensors) == floats


def test_random_weights_depend_on_the_generator_only() -> None:
    first, again, other = Model("v2-strides").tensors, Model("v2-strides").tensors, Model("v2-strides", seed=1).tensors
    assert all(torch.equal(t, again[name]) for name, t in first.items())
    assert not torch.equal(first["encoder.fc_mu.weight_v"], other["encoder.fc_mu.weight_v"])


@pytest.mark.parametrize(
    ("architecture", "document", "words"),
    [
        ("voxcpm3", {}, "architecture 'voxcpm3'"),
        ("voxcpm", {"depthwise": False}, "depthwise is False; only True is supported"),
        ("voxcpm2", {"use_noise_block": True}, "use_noise_block is True; only False"),
        ("voxcpm2", {"cond_type": "concat"}, "cond_type is 'concat'; only 'scale_bias' or 'scale_bias_init'"),
        ("voxcpm2", {"cond_out_layer": True}, "cond_out_layer is True"),
        ("voxcpm", {"encoder_rates": [2, 1]}, r"encoder_rates is \[2, 1\], expected a list of integers, 2 or more"),
        ("voxcpm", {"decoder_rates": []}, "decoder_rates is"),
        ("voxcpm", {"latent_dim": "64"}, "latent_dim is '64', expected an integer, 1 or more"),
        ("voxcpm", {"latent_dim": None}, "latent_dim is None"),
        ("voxcpm", {"sample_rate": True}, "sample_rate is True"),
        ("voxcpm", {"decoder_dim": 8}, "decoder_dim 8 cannot be halved 4 times"),
    ],
)
def test_an_invalid_configuration_is_refused(architecture: str, document: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        AudioVAEConfig.from_json(architecture, document)


def test_version_1_may_set_an_output_rate_and_ignores_other_keys_of_version_2() -> None:
    config = AudioVAEConfig.from_json("voxcpm", {"out_sample_rate": 24000, "sr_bin_boundaries": [1], "unknown": "x"})
    assert config == AudioVAEConfig(out_sample_rate_hz=24000)


@pytest.mark.parametrize("shape", [(1, 0), (1, 41), (42,)])
def test_audio_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[B, a multiple of 21\]"):
        Model("v1-odd-strides").vae.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 8, 0), (1, 7, 2), (8, 2)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    vae = Model("v1-odd-strides").vae
    with pytest.raises(ValueError, match=r"expected \[B, 8, 1 or more\]"):
        vae.decode(torch.zeros(shape), vae.initial_state())
