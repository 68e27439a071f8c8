"""The native vocoder: against the official package and the one in torch, on every instruction set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import BigVGANConfig
from intone.server.engines.indextts.vocoder import native_bigvgan
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.vocoder.native_bigvgan import NativeBigVGAN, graph_layers
from intone.server.engines.weights import declared_shapes
from intone.server.nn.lookahead import (
    AntiAliasedSnake,
    Layer,
    LookaheadConv,
    LookaheadConvTranspose,
    Mean,
    Residual,
)
from intone.server.ops import ensure_built, reference
from tests.oracles.indextts_golden import golden, under
from tests.support.bigvgan_tiny import CONFIGS, PUBLISHED, TINY, built, noise, untrained_vocoder
from tests.support.indextts_tiny import published

MAX_ERROR = 1e-5  # of the loudest sample
ISAS = ("portable", "avx2", "avx512")
NANO = replace(PUBLISHED, channels=256)
WIDE = BigVGANConfig(9, 320, (2, 2), (4, 4), (1, 3, 13), ((1,), (2, 7), (1, 3)), 22050)
"""Channels of 160, which threads divide by columns, and of 80, divided by rows; a kernel of one, and a long one."""


def isa_or_skip(isa: str) -> str:
    if ISAS.index(isa) > ISAS.index(ensure_built().best_isa()):
        pytest.skip(f"this processor has no {isa}")
    return isa


@cache
def native(config: BigVGANConfig, isa: str = "best") -> NativeBigVGAN:
    return NativeBigVGAN(untrained_vocoder(config), isa)


def in_pieces(vocoder: NativeBigVGAN, mel: Tensor, sizes: Sequence[int]) -> Tensor:
    state, audio, start = vocoder.initial_state(), [], 0
    for size in sizes:
        piece, _, state = vocoder.extend(mel[:, start : start + size], mel[:, :0], state, last=False)
        audio.append(piece)
        start += size
    return torch.cat([*audio, vocoder.extend(mel[:, start:], mel[:, :0], state, last=True)[0]])


def whole(vocoder: NativeBigVGAN, mel: Tensor) -> Tensor:
    return in_pieces(vocoder, mel, [])


def in_torch(config: BigVGANConfig, mel: Tensor) -> Tensor:
    vocoder = untrained_vocoder(config)
    return vocoder.decode(mel[None], vocoder.initial_state(), last=True)[0][0]


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    if expected.numel():
        error = float((found - expected).abs().max() / expected.abs().max())
        assert error <= MAX_ERROR, error


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("case", CONFIGS)
def test_audio_equals_the_official(case: str, isa: str, require: Callable[..., Any]) -> None:
    official, config = golden(require, "bigvgan", "indextts_oracle_bigvgan.py"), CONFIGS[case]
    tensors = published(under(official, f"{case}.w"), declared_shapes(partial(BigVGAN, config)))
    vocoder = NativeBigVGAN(built(config, tensors), isa_or_skip(isa))
    for frames, mel in under(official, f"{case}.in").items():
        for one, sound in zip(mel, official[f"{case}.out.{frames}"], strict=True):
            assert_near(whole(vocoder, one), sound)
            assert_near(in_pieces(vocoder, one, (5, 0, 21)), sound)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("config", [TINY, WIDE, NANO, CONFIGS["published"]], ids=["tiny", "wide", "nano", "published"])
def test_audio_equals_that_of_torch(config: BigVGANConfig, isa: str) -> None:
    for frames in (1, 2, 40):
        mel = noise(frames, config.mel_bands, frames)
        assert_near(whole(native(config, isa_or_skip(isa)), mel), in_torch(config, mel))


def test_threads_do_not_change_a_bit(threads: None) -> None:
    for config in (WIDE, NANO):
        mel = noise(2, config.mel_bands, 50)
        audio = whole(native(config), mel)
        torch.set_num_threads(1)
        assert torch.equal(audio, whole(native(config), mel))


def test_audio_is_as_exact_as_that_of_torch() -> None:
    """Fewer multiplications round more, but not by much: both against float64."""
    config, mel = NANO, noise(1, 80, 60)
    vocoder = untrained_vocoder(config)
    exact = exact_audio(vocoder, mel)
    scale = float(exact.abs().max())
    errors = [
        float((audio - exact).abs().max()) / scale for audio in (whole(native(config), mel), in_torch(config, mel))
    ]
    assert errors[0] <= MAX_ERROR and errors[0] <= 8 * errors[1], errors


def exact_audio(vocoder: BigVGAN, mel: Tensor) -> Tensor:
    """In float64, by plain convolutions of torch."""
    return through(vocoder.layers, mel[None].double())[0, 0].clamp(-1, 1)


def through(layers: Sequence[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        if isinstance(layer, Mean):
            x = torch.stack([through(branch, x) for branch in layer.branches]).mean(0)
        elif isinstance(layer, Residual):
            x = x + through(layer.inner, x)
        elif isinstance(layer, AntiAliasedSnake):
            x = reference.snake_beta(x, layer.alpha.double(), layer.beta.double(), 0, 0)
        elif isinstance(layer, LookaheadConv):
            bias = None if layer.bias is None else layer.bias.double()
            x = functional.conv1d(x, layer.weight.double(), bias, padding=layer.lag, dilation=layer.dilation)
        else:
            assert isinstance(layer, LookaheadConvTranspose)
            x = functional.conv_transpose1d(
                x, layer.weight.double(), layer.bias.double(), stride=layer.rate, padding=layer.lag
            )
    return x


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 20))
def test_any_chunking_gives_the_same_audio(sizes: list[int], rest: int) -> None:
    mel = noise(1, TINY.mel_bands, sum(sizes) + rest)
    pieces = in_pieces(native(TINY), mel, sizes)
    assert len(pieces) == mel.shape[1] * native(TINY).hop_samples
    assert_near(pieces, whole(native(TINY), mel))


@pytest.mark.parametrize("sizes", [(1,) * 60, (7, 0, 40, 3), (90, 10), (5, 38, 39)])
def test_chunks_of_the_published_shape(sizes: tuple[int, ...]) -> None:
    mel = noise(3, 80, 100)
    assert_near(in_pieces(native(CONFIGS["published"]), mel, sizes), whole(native(CONFIGS["published"]), mel))


def test_samples_are_returned_as_early_as_by_torch() -> None:
    vocoder, plain = native(TINY), untrained_vocoder(TINY)
    state, other = vocoder.initial_state(), plain.initial_state()
    for seed, count in enumerate((0, 3, 1, 12, 0, 40)):
        mel = noise(seed, TINY.mel_bands, count)
        final, pending, state = vocoder.extend(mel, mel[:, :0], state, last=False)
        expected, other = plain.decode(mel[None], other, last=False)
        assert len(final) == expected.shape[1] and len(pending) == plain.pending_samples(other)


@pytest.mark.parametrize("config", [TINY, CONFIGS["published"]], ids=["tiny", "published"])
@pytest.mark.parametrize("known", [0, 3, 18, 200])
def test_pending_samples_equal_those_of_torch(config: BigVGANConfig, known: int) -> None:
    """With a forecast of any length, and the state goes on as if there had been none."""
    vocoder, plain = native(config), untrained_vocoder(config)
    state, other = vocoder.initial_state(), plain.initial_state()
    for seed, count in enumerate((1, 0, 9, 41)):
        mel, following = noise(seed, config.mel_bands, count), noise(50 + seed, config.mel_bands, known)
        final, pending, state = vocoder.extend(mel, following, state, last=False)
        expected, provisional, other = plain.extend(mel, following, other, last=False)
        assert_near(final, expected)
        assert_near(pending, provisional)
    rest = noise(9, config.mel_bands, 7)
    final, pending, state = vocoder.extend(rest, rest[:, :0], state, last=True)
    assert_near(final, plain.extend(rest, rest[:, :0], other, last=True)[0])
    assert len(pending) == 0 and state.ended and state.rows == 58


@pytest.mark.parametrize("isa", ISAS)
def test_streams_together_give_what_each_alone_gives(isa: str, threads: None) -> None:
    graph = ensure_built().ConvGraph(layers=graph_layers(untrained_vocoder(WIDE).layers), isa=isa_or_skip(isa))
    mels = [noise(seed, WIDE.mel_bands, count) for seed, count in enumerate((30, 1, 0, 77))]
    none = [mel[:, :0] for mel in mels]
    together, alone = [graph.new_state() for _ in mels], [graph.new_state() for _ in mels]
    for last in (False, True):
        found = graph.run(mels, none, together, last=last, provisional=not last)
        for mel, state, (final, pending) in zip(mels, alone, found, strict=True):
            ((expected, provisional),) = graph.run([mel], [mel[:, :0]], [state], last=last, provisional=not last)
            assert torch.equal(final, expected) and torch.equal(pending, provisional)


def test_long_mel_is_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mel, vocoder = noise(4, TINY.mel_bands, 130), native(TINY)
    at_once = whole(vocoder, mel)
    monkeypatch.setattr(native_bigvgan, "MAX_FRAMES", 33)
    assert_near(whole(vocoder, mel), at_once)
    state = vocoder.initial_state()
    final, pending, state = vocoder.extend(mel, mel[:, :4], state, last=False)
    assert_near(final, at_once[: len(final)])
    assert len(final) + len(pending) == len(at_once) and state.rows == 130


def test_tails_are_small() -> None:
    """A stream keeps what later samples depend on, not what it was given."""
    graph = ensure_built().ConvGraph(layers=graph_layers(untrained_vocoder(TINY).layers))
    state = graph.new_state()
    kept = []
    for seed in range(5):
        graph.run(
            [noise(seed, TINY.mel_bands, 300)], [torch.zeros(TINY.mel_bands, 0)], [state], last=False, provisional=False
        )
        kept.append(state.bytes)
    assert kept[1] == kept[2] == kept[3] == kept[4] < 100_000


def test_wrong_calls_are_refused() -> None:
    vocoder = native(TINY)
    graph = ensure_built().ConvGraph(layers=graph_layers(untrained_vocoder(TINY).layers))
    mel, none, state = torch.zeros(5, 9), torch.zeros(5, 0), graph.new_state()
    with pytest.raises(ValueError, match=r"mel is \(4, 9\), expected \[5, N\]"):
        vocoder.extend(torch.zeros(4, 9), none, vocoder.initial_state(), last=True)
    for message, inputs, following, states, flags in (
        (r"the input is \[4, 9\]", [torch.zeros(4, 9)], [none], [state], (False, False)),
        ("the input is .* Double", [mel.double()], [none], [state], (False, False)),
        ("found 1 states for 2 inputs", [mel, mel], [none, none], [state], (False, False)),
        ("a state is given twice", [mel, mel], [none, none], [state, state], (False, False)),
        ("a state is None", [mel], [none], [None], (False, False)),
        ("nothing follows the last input", [mel], [mel], [state], (True, False)),
        ("of another graph", [mel], [none], [_other_state()], (False, False)),
    ):
        with pytest.raises(RuntimeError, match=message):
            graph.run(inputs, following, states, last=flags[0], provisional=flags[1])
    graph.run([mel], [none], [state], last=True, provisional=False)
    with pytest.raises(RuntimeError, match="nothing follows the last input"):
        graph.run([mel], [none], [state], last=False, provisional=False)


def _layer(**changes: Any) -> Any:
    given = {"sources": [0], "target": 1, "residual": None, "weight": torch.ones(3, 5, 3), "bias": None}
    given |= {"alpha": None, "beta": None, "dilation": 1, "up": 1, "gain": 1.0}
    return ensure_built().GraphLayerWeights(**{**given, **changes})


def _other_state() -> Any:
    return ensure_built().ConvGraph(layers=[_layer()]).new_state()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "has 0 sources"),
        ({"sources": [1]}, "reads signal 1, expected 0 to 0"),
        ({"target": 2}, "makes signal 2, expected 1"),
        ({"residual": 0}, "its residual differs"),
        ({"residual": -3}, "reads signal -3"),
        ({"weight": torch.ones(3, 5, 4)}, "kernel 4 and dilation 1 do not go with up 1"),
        ({"weight": torch.ones(3, 5)}, r"weight is \[3, 5\]"),
        ({"weight": torch.ones(3, 5, 3).double()}, "weight is .* Double"),
        ({"weight": torch.ones(4, 5, 2), "up": 2, "dilation": 2}, "kernel 2 and dilation 2 do not go with up 2"),
        ({"bias": torch.ones(4)}, r"bias is \[4\]"),
        ({"alpha": torch.ones(5)}, "both alpha and beta"),
        ({"alpha": torch.ones(5), "beta": torch.ones(4)}, r"beta is \[4\]"),
        ({"dilation": 0}, "dilation is 0"),
        ({"dilation": 30000}, "reaches over 90000 rows"),
    ],
)
def test_wrong_layers_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        ensure_built().ConvGraph(layers=[_layer(**changes)])
