"""The native audio VAE against the one in torch; invariance to chunks, batches and threads; all instruction sets."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.audio_vae import AudioVAE, DecoderState, random_tensors
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.engines.voxcpm.native_vae import NativeAudioVAE
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

CLOSE = 1e-5
"""Maximum error over maximum value: float32 sums of a few thousand terms in another order differ by about 1e-6."""

ISAS = ("avx512", "avx2", "portable")
SMALL: dict[str, Any] = {"encoder_dim": 4, "decoder_dim": 64, "latent_dim": 8}
ODD = {"encoder_dim": 8, "encoder_rates": [3, 7], "decoder_dim": 48, "decoder_rates": [7, 3], "latent_dim": 5}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1-odd-strides": ("voxcpm", ODD),  # delays the encoder by a sample; 48 channels fill half a panel
    "v1-1.5-strides": (
        "voxcpm",
        {**SMALL, "encoder_rates": [2, 3, 6, 7, 7], "decoder_rates": [7, 7, 6, 3, 2], "sample_rate": 44100},
    ),
    "v2-odd-strides": ("voxcpm2", ODD),
    "v2-strides": ("voxcpm2", SMALL),  # ends with a single channel
    "v2-no-rate": ("voxcpm2", {**SMALL, "sr_bin_boundaries": None}),
    "nano": ("voxcpm", sizes.document("nano")["audio_vae_config"]),
}


def config_of(name: str) -> AudioVAEConfig:
    return AudioVAEConfig.from_json(*MODELS[name])


@cache
def tensors_of(name: str) -> dict[str, Tensor]:
    return random_tensors(config_of(name), torch.Generator().manual_seed(0))


@cache
def python(name: str) -> AudioVAE:
    return AudioVAE(config_of(name), Weights(tensors_of(name)))


@cache
def native(name: str, isa: str = "best") -> NativeAudioVAE:
    return NativeAudioVAE(config_of(name), Weights(tensors_of(name)), isa)


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=ISAS)
def isa(request: pytest.FixtureRequest, require: Callable[..., Any]) -> str:
    try:
        native("v2-odd-strides", request.param)
    except RuntimeError as error:
        require(request.param, "this processor has no" not in str(error), str(error))
        raise
    return str(request.param)


@pytest.fixture(autouse=True)
def one_thread(fixed_threads: None) -> None:
    """The models are tiny: more threads would only cost time."""
    torch.set_num_threads(1)


def latents(name: str, frames: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(config_of(name).latent_dim, frames, generator=generator)


def whole(vae: NativeAudioVAE, stream: Tensor) -> Tensor:
    return vae.decode_each([stream], [vae.initial_state()])[0][0]


def relative_error(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("frames", [1, 4, 37])  # 37 takes several passes, the last one partial
def test_decoding_equals_torch(name: str, isa: str, frames: int) -> None:
    streams = torch.stack([latents(name, frames, seed) for seed in (1, 2)])
    want, want_after = python(name).decode(streams, python(name).initial_state(2))
    audio, after = native(name, isa).decode(streams, native(name, isa).initial_state(2))
    assert float(want.std()) > 0.001 and relative_error(audio, want) <= CLOSE
    for got, tail in zip(after.tensors, want_after.tensors, strict=True):
        assert relative_error(got, tail) <= CLOSE


@pytest.mark.parametrize("frames", [1, 4, 37])
def test_encoding_equals_torch(name: str, isa: str, frames: int) -> None:
    samples = frames * python(name).hop_in_samples
    audio = 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(2))
    got = native(name, isa).encode(audio)
    assert got.is_contiguous() and relative_error(got, python(name).encode(audio)) <= CLOSE


@pytest.mark.parametrize("size", ["0.5b", "1.5", "2"])
def test_published_sizes(size: str) -> None:
    document = sizes.document(size)
    config = AudioVAEConfig.from_json(document["architecture"], document.get("audio_vae_config"))
    tensors = random_tensors(config, torch.Generator().manual_seed(0))
    reference = AudioVAE(config, Weights(tensors))
    audio = 0.3 * torch.randn(1, 2 * reference.hop_in_samples, generator=torch.Generator().manual_seed(2))
    frames = torch.randn(1, config.latent_dim, 5, generator=torch.Generator().manual_seed(3))
    encoded, (decoded, _) = reference.encode(audio), reference.decode(frames, reference.initial_state())
    del reference  # hundreds of megabytes
    vae = NativeAudioVAE(config, Weights(tensors))
    assert relative_error(vae.encode(audio), encoded) <= CLOSE
    first, state = vae.decode(frames[:, :, :4], vae.initial_state())
    second, _ = vae.decode(frames[:, :, 4:], state)
    assert relative_error(torch.cat((first, second), 1), decoded) <= CLOSE
    assert torch.equal(vae.decode(frames, vae.initial_state())[0], torch.cat((first, second), 1))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_decoding_is_chunk_invariant(name: str, cuts: list[int]) -> None:
    vae, stream = native(name), latents(name, sum(cuts))
    state, pieces = vae.initial_state(), []
    for piece in stream.split(cuts, dim=1):
        ((audio, state),) = vae.decode_each([piece], [state])
        pieces.append(audio)
    assert torch.equal(torch.cat(pieces), whole(vae, stream))


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_decoding_is_batch_invariant(isa: str, data: st.DataObject) -> None:
    """Streams join, pause and alternate in any order, with some frames each."""
    vae = native("v2-odd-strides", isa)
    streams = [latents("v2-odd-strides", 40, seed) for seed in range(4)]
    states, heard = [vae.initial_state() for _ in streams], [0] * len(streams)
    pieces: list[list[Tensor]] = [[] for _ in streams]
    for _ in range(4):
        turn = data.draw(st.lists(st.tuples(st.sampled_from(range(4)), st.integers(1, 10)), unique_by=lambda t: t[0]))
        parts = [streams[i][:, heard[i] : heard[i] + frames] for i, frames in turn]
        for (i, frames), (audio, state) in zip(turn, vae.decode_each(parts, [states[i] for i, _ in turn]), strict=True):
            pieces[i].append(audio)
            states[i] = state
            heard[i] += frames
    for i, stream in enumerate(streams):
        if heard[i]:
            assert torch.equal(torch.cat(pieces[i]), whole(vae, stream[:, : heard[i]]))


def test_a_state_is_immutable(name: str) -> None:
    vae = native(name)
    ((_, state),) = vae.decode_each([latents(name, 5)], [vae.initial_state()])
    before = [tail.clone() for tail in state.tensors]
    forks = vae.decode_each([latents(name, 3, 7), latents(name, 3, 7), latents(name, 3, 8)], [state] * 3)
    assert all(torch.equal(tail, kept) for tail, kept in zip(state.tensors, before, strict=True))
    assert torch.equal(forks[0][0], forks[1][0]) and not torch.equal(forks[0][0], forks[2][0])
    floats = sum(tail.numel() for tail in state.tensors)
    assert state.tensors[0].untyped_storage().nbytes() == 4 * floats  # its own memory


def test_states_equal_those_of_torch(name: str) -> None:
    """A voice prepared with one implementation can be continued with the other."""
    first, second = latents(name, 6)[None], latents(name, 6, 2)[None]
    mine, theirs = native(name), python(name)
    want, _ = theirs.decode(second, theirs.decode(first, theirs.initial_state())[1])
    from_theirs, _ = mine.decode(second, theirs.decode(first, theirs.initial_state())[1])
    from_mine, _ = theirs.decode(second, mine.decode(first, mine.initial_state())[1])
    assert relative_error(from_theirs, want) <= CLOSE and relative_error(from_mine, want) <= CLOSE
    shapes = [tail.shape for tail in theirs.initial_state(3).tensors]
    assert [tail.shape for tail in mine.initial_state(3).tensors] == shapes


def test_attributes_equal_those_of_torch(name: str) -> None:
    for attribute in ("config", "hop_in_samples", "hop_out_samples", "receptive_frames"):
        assert getattr(native(name), attribute) == getattr(python(name), attribute)


def test_the_same_on_any_number_of_threads() -> None:
    """Large enough for both ways of dividing the work, by tiles and by columns, and for slices of depth."""
    config = AudioVAEConfig(encoder_dim=64, encoder_rates=(4, 8, 16), decoder_dim=512, decoder_rates=(8, 4))
    vae = NativeAudioVAE(config, Weights(random_tensors(config, torch.Generator().manual_seed(0))))
    generator = torch.Generator().manual_seed(1)
    stream, audio = torch.randn(1, 64, 9, generator=generator), torch.randn(2, 20 * 512, generator=generator)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append((vae.decode(stream, vae.initial_state())[0], vae.encode(audio)))
    assert all(torch.equal(sound, found[0][0]) and torch.equal(heard, found[0][1]) for sound, heard in found)
    assert torch.equal(vae.encode(audio[1:]), found[0][1][1:])


def test_instruction_sets_run_different_code(isa: str) -> None:
    """Portable code on x86 rounds products before adding them; the others use FMA."""
    stream = latents("nano", 4)
    ours, portable = whole(native("nano", isa), stream), whole(native("nano", "portable"), stream)
    assert torch.equal(ours, portable) == (isa == "portable") and relative_error(ours, portable) <= CLOSE


def test_snake_is_exact_to_float32(isa: str) -> None:
    """An identity stage followed by one with an activation computes x + sin²(αx) / α."""
    module = ensure_built()
    values = torch.linspace(-60, 60, 16 * 4001).view(-1, 16)
    alpha = torch.rand(16, generator=torch.Generator().manual_seed(5)) + 0.5
    plain = {
        "scale": None,
        "shift": None,
        "taps": None,
        "taps_bias": None,
        "taps_alpha": None,
        "weight": torch.eye(16),
        "bias": torch.zeros(16),
        "dilation": 1,
        "window": 1,
        "stride": 1,
        "up": 1,
        "tail_rows": 0,
        "residual": False,
    }
    stages = [module.StageWeights(alpha=None, **plain), module.StageWeights(alpha=alpha, **plain)]
    nothing = [torch.zeros(1, 0, 16)] * 2
    found = module.ConvChain(stages=stages, isa=isa).run([values], [nothing])[0].output.double()
    exact = values.double() + torch.sin((alpha * values).double()).square() / alpha.double()
    assert float((found - exact).abs().max()) <= 4e-6  # half a unit in the last place of 60 is 1.9e-6


def test_the_gil_is_released(turns_while: Callable[..., int]) -> None:
    vae, stream = native("nano"), latents("nano", 200)
    assert turns_while(lambda: whole(vae, stream)) > 100


@pytest.mark.parametrize("shape", [(5, 0), (4, 2), (1, 5, 2)])
def test_latents_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    vae = native("v1-odd-strides")
    with pytest.raises(ValueError, match=r"expected \[5, 1 or more\]"):
        vae.decode_each([torch.zeros(shape)], [vae.initial_state()])


@pytest.mark.parametrize("shape", [(1, 0), (1, 41), (42,)])
def test_audio_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[B, a multiple of 21\]"):
        native("v1-odd-strides").encode(torch.zeros(shape))


def test_states_of_another_model_are_refused() -> None:
    vae, stream = native("v1-odd-strides"), latents("v1-odd-strides", 2)
    other = python("v2-strides").initial_state()
    with pytest.raises(RuntimeError, match=r"found \d+ tails, expected \d+"):
        vae.decode_each([stream], [other])
    own = list(vae.initial_state().tensors)
    for wrong in (own[1][:, 1:], own[1].double(), own[1].transpose(1, 2).contiguous().transpose(1, 2)):
        if wrong.is_contiguous() and wrong.shape == own[1].shape and wrong.dtype == own[1].dtype:
            continue  # one row: every layout is the same
        with pytest.raises(RuntimeError, match="tail 1 is "):
            vae.decode_each([stream], [DecoderState((own[0], wrong, *own[2:]))])
    with pytest.raises(RuntimeError, match="found 1 states for 2 streams"):
        vae.decode_each([stream, stream], [vae.initial_state()])


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(RuntimeError, match="found instruction set 'neon512'"):
        native("nano", "neon512")
