"""The vocoder against the official one, whole and in chunks; its latency, and `peek`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from intone.server import ops
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN, BigVGANState
from intone.server.engines.weights import declared_shapes
from intone.server.errors import CheckpointError
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.bigvgan_tiny import CONFIGS, PUBLISHED, TINY, built, noise, untrained_tensors, untrained_vocoder
from tests.support.indextts_tiny import published

SCRIPT = "indextts_oracle_bigvgan.py"


def whole(vocoder: BigVGAN, mel: Tensor) -> Tensor:
    return vocoder.decode(mel, vocoder.initial_state(mel.shape[0]), last=True)[0]


def in_pieces(vocoder: BigVGAN, mel: Tensor, sizes: Sequence[int]) -> Tensor:
    state, audio, start = vocoder.initial_state(mel.shape[0]), [], 0
    for size in sizes:
        piece, state = vocoder.decode(mel[:, :, start : start + size], state, last=False)
        audio.append(piece)
        start += size
    return torch.cat([*audio, vocoder.decode(mel[:, :, start:], state, last=True)[0]], 1)


@pytest.fixture(scope="module")
def official(require: Callable[..., Any]) -> dict[str, Tensor]:
    return golden(require, "bigvgan", SCRIPT)


@pytest.mark.parametrize("case", CONFIGS)
def test_whole_audio_equals_the_official(case: str, official: dict[str, Tensor]) -> None:
    folded = under(official, f"{case}.w")
    vocoder = built(CONFIGS[case], published(folded, declared_shapes(partial(BigVGAN, CONFIGS[case]))))
    assert {
        name.removesuffix("_g").removesuffix("_v") for name in declared_shapes(partial(BigVGAN, CONFIGS[case]))
    } == set(folded)
    inputs = under(official, f"{case}.in")
    assert len(inputs) >= 3
    for frames, mel in inputs.items():
        sound = official[f"{case}.out.{frames}"]
        assert 0.02 < float(sound.abs().max()) < 1  # neither silent nor clipped
        assert_close(whole(vocoder, mel), sound)


@pytest.mark.parametrize("sizes", [(1,) * 60, (7, 0, 40, 3), (90, 10), (100,), (5, 38, 39)])
def test_chunked_audio_equals_the_official(sizes: tuple[int, ...], official: dict[str, Tensor]) -> None:
    config = CONFIGS["published"]
    vocoder = built(config, published(under(official, "published.w"), declared_shapes(partial(BigVGAN, config))))
    assert_close(in_pieces(vocoder, official["published.in.100"], sizes), official["published.out.100"])


def test_the_activation_equals_the_official(require: Callable[..., Any]) -> None:
    found = golden(require, "activation", SCRIPT)
    alpha, beta = found["w.act.alpha"].exp(), found["w.act.beta"].exp()
    for samples, x in under(found, "in").items():
        assert_close(ops.snake_beta(x, alpha, beta), found[f"out.{samples}"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 20))
def test_any_chunking_gives_the_same_audio(sizes: list[int], rest: int) -> None:
    vocoder = untrained_vocoder(TINY)
    mel = noise(1, 1, TINY.mel_bands, sum(sizes) + rest)
    pieces = in_pieces(vocoder, mel, sizes)
    assert pieces.shape[1] == mel.shape[2] * vocoder.hop_samples
    if pieces.shape[1]:
        assert_close(pieces, whole(vocoder, mel), 1e-5)


def test_the_latency_of_the_published_vocoder() -> None:
    vocoder = untrained_vocoder(CONFIGS["published"])
    assert (vocoder.hop_samples, vocoder.lag_samples, vocoder.lookahead_frames) == (256, 9501, 38)


def settled_frames(vocoder: BigVGAN) -> int:
    """From this many frames on, all states have tails of the same shapes."""
    return -(-(vocoder.lag_samples + 10) // vocoder.hop_samples)


def rows_of(state: BigVGANState) -> list[BigVGANState]:
    return [
        replace(state, tails=tuple(tail[row : row + 1] for tail in state.tails)) for row in range(len(state.tails[0]))
    ]


def test_a_batch_gives_the_same_audio_as_each_stream_alone() -> None:
    vocoder = untrained_vocoder(TINY)
    settled = settled_frames(vocoder)
    past = [noise(seed, 1, TINY.mel_bands, count) for seed, count in enumerate((settled, settled + 5, 3 * settled))]
    states = [vocoder.decode(mel, vocoder.initial_state(), last=False)[1] for mel in past]
    tails = tuple(torch.cat(parts) for parts in zip(*(state.tails for state in states), strict=True))
    following = noise(9, 3, TINY.mel_bands, 7)
    audio, after = vocoder.decode(following, replace(states[0], tails=tails), last=False)
    rest = vocoder.decode(following, after, last=True)[0]
    for row, (state, split) in enumerate(zip(states, rows_of(after), strict=True)):
        alone, _ = vocoder.decode(following[row : row + 1], state, last=False)
        assert_close(audio[row], alone[0])
        assert_close(vocoder.decode(following[row : row + 1], split, last=True)[0], rest[row : row + 1])


def test_tails_stop_growing() -> None:
    vocoder = untrained_vocoder(CONFIGS["published"])
    state, shapes = vocoder.initial_state(), []
    for frame in range(settled_frames(vocoder) + 3):
        state = vocoder.decode(noise(frame, 1, 80, 1), state, last=False)[1]
        shapes.append([tuple(tail.shape) for tail in state.tails])
    assert shapes[-1] == shapes[-2] == shapes[-3] == shapes[-4] and shapes[-1] != shapes[4]
    assert state.frames == settled_frames(vocoder) + 3


def test_decoding_twice_from_one_state_gives_the_same() -> None:
    vocoder = untrained_vocoder(TINY)
    state = vocoder.decode(noise(1, 1, TINY.mel_bands, 20), vocoder.initial_state(), last=False)[1]
    before = [tail.clone() for tail in state.tails]
    mel = noise(2, 1, TINY.mel_bands, 9)
    first, second = (vocoder.decode(mel, state, last=False)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(tail, was) for tail, was in zip(state.tails, before, strict=True))


@pytest.mark.parametrize("frames", [0, 1, 9, 40])
def test_peek_at_the_true_future_is_exact(frames: int) -> None:
    vocoder = untrained_vocoder(TINY)
    mel = noise(4, 2, TINY.mel_bands, frames + 60)
    audio, state = vocoder.decode(mel[:, :, :frames], vocoder.initial_state(2), last=False)
    before = [tail.clone() for tail in state.tails]
    peeked = vocoder.peek(mel[:, :, frames : frames + vocoder.lookahead_frames], state)
    assert peeked.shape[1] == vocoder.pending_samples(state) == frames * vocoder.hop_samples - audio.shape[1]
    assert all(torch.equal(tail, was) for tail, was in zip(state.tails, before, strict=True))
    exact = whole(vocoder, mel)[:, : frames * vocoder.hop_samples]
    if frames:
        assert_close(torch.cat((audio, peeked), 1), exact)
        assert torch.equal(vocoder.peek(mel[:, :, frames:], state), peeked)  # frames further away are ignored


def test_peek_is_more_accurate_with_more_frames() -> None:
    vocoder = untrained_vocoder(CONFIGS["published"])
    mel = noise(4, 1, 80, 100)
    exact = whole(vocoder, mel)[:, : 50 * 256]
    audio, state = vocoder.decode(mel[:, :, :50], vocoder.initial_state(), last=False)
    errors = []
    for expected in (0, 8, 16, 24, 38):
        peeked = torch.cat((audio, vocoder.peek(mel[:, :, 50 : 50 + expected], state)), 1)
        errors.append(float((peeked - exact).abs().max() / exact.abs().max()))
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.05 and errors[2] < 0.05 and errors[-1] < 1e-5


def test_peek_without_frames_assumes_the_end() -> None:
    vocoder = untrained_vocoder(TINY)
    _, state = vocoder.decode(noise(1, 1, TINY.mel_bands, 12), vocoder.initial_state(), last=False)
    empty = torch.zeros(1, TINY.mel_bands, 0)
    rest, ended = vocoder.decode(empty, state, last=True)
    assert torch.equal(vocoder.peek(empty, state), rest)
    assert ended.ended and vocoder.pending_samples(ended) == 0
    with pytest.raises(AssertionError, match="nothing follows"):
        vocoder.decode(empty, ended, last=True)


def test_no_value_is_read_back_from_the_device() -> None:
    """Fake tensors have no values: reading one raises."""
    vocoder = untrained_vocoder(TINY)
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = vocoder.initial_state(2)
        for frames in (3, 40):
            audio, state = vocoder.decode(torch.zeros(2, TINY.mel_bands, frames), state, last=False)
        assert audio.shape == (2, 43 * vocoder.hop_samples - vocoder.lag_samples)
        assert vocoder.peek(torch.zeros(2, TINY.mel_bands, 4), state).shape == (2, vocoder.lag_samples)


def test_untrained_audio_is_neither_silent_nor_clipped() -> None:
    for config in (CONFIGS["published"], replace(PUBLISHED, channels=256)):
        sound = whole(untrained_vocoder(config), noise(5, 1, 80, 40))
        assert 0.01 < float(sound.std()) < 0.4 and float(sound.abs().max()) < 1


def test_audio_never_exceeds_full_scale() -> None:
    sound = whole(untrained_vocoder(TINY), 1e4 * noise(5, 1, TINY.mel_bands, 40))
    assert float(sound.max()) == 1 and float(sound.min()) == -1


def test_shapes_of_the_published_file() -> None:
    shapes = declared_shapes(partial(BigVGAN, PUBLISHED))
    assert shapes["ups.0.0.weight_g"] == (1536, 1, 1) and shapes["ups.5.0.weight_v"] == (48, 24, 4)
    assert shapes["resblocks.17.convs2.2.weight_v"] == (24, 24, 11)
    assert "conv_post.bias" not in shapes and shapes["activation_post.act.alpha"] == (24,)
    folded = [name for name in shapes if not name.endswith("weight_g")]
    assert len(folded) == 667 and sum("filter" in name for name in folded) == 218


def test_another_filter_is_refused() -> None:
    tensors = untrained_tensors(TINY)
    name = "resblocks.1.activations.3.downsample.lowpass.filter"
    tensors[name] = tensors[name] + 1e-3 * torch.arange(12.0)
    with pytest.raises(CheckpointError, match=rf"{name}: differs by 1\.1e-02"):
        built(TINY, tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_kernels": (4, 7)}, "7 for a rate of 4"),
        ({"rates": (3, 4), "rate_kernels": (6, 8)}, "6 for a rate of 3"),
        ({"rate_kernels": (4,)}, "1 for 2 rates"),
        ({"channels": 10}, "10 cannot be halved 2 times"),
        ({"block_kernels": (5, 4)}, r"\(5, 4\), expected odd ones"),
        ({"block_kernels": (5,)}, r"\(5,\), expected odd ones, each with its dilations"),
    ],
)
def test_another_vocoder_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        declared_shapes(partial(BigVGAN, replace(TINY, **changes)))


def test_mel_of_another_width_is_refused() -> None:
    vocoder = untrained_vocoder(TINY)
    with pytest.raises(ValueError, match=r"mel is \(1, 4, 9\), expected \[B, 5, N\]"):
        vocoder.decode(torch.zeros(1, 4, 9), vocoder.initial_state(), last=True)
