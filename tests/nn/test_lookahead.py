"""Streaming layers with lookahead: chunk-invariant, with the minimum delay."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from intone.server.nn.lookahead import (
    AntiAliasedSnake,
    Layer,
    LookaheadConv,
    LookaheadConvTranspose,
    Mean,
    Residual,
    lag_of,
    run,
)

MAX_ERROR = 2e-6


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def conv(kernel: int, dilation: int = 1, seed: int = 0) -> LookaheadConv:
    return LookaheadConv(noise(seed, 3, 3, kernel) / 3, noise(seed + 1, 3), dilation)


def snake() -> AntiAliasedSnake:
    return AntiAliasedSnake(0.5 + torch.rand(3), 0.5 + torch.rand(3))


torch.manual_seed(0)
CHAINS: dict[str, tuple[Layer, ...]] = {
    "kernel of one": (conv(1),),
    "kernel": (conv(7),),
    "dilated": (conv(3, dilation=5),),
    "by two": (LookaheadConvTranspose(noise(2, 3, 3, 4), noise(3, 3)),),
    "by four": (LookaheadConvTranspose(noise(2, 3, 3, 8), noise(3, 3)),),
    "snake": (snake(),),
    "residual": (Residual((snake(), conv(3, 2), conv(5))),),
    "mean": (Mean(((conv(3), conv(3, 4)), (conv(9),), (snake(),))),),
}
CHAINS["all"] = tuple(layer for name, chain in CHAINS.items() for layer in chain if name != "mean") + CHAINS["mean"]


def start(chain: Sequence[Layer], batch: int = 1) -> list[Tensor]:
    return [tail for layer in chain for tail in layer.tails(batch)]


def rate_of(chain: Sequence[Layer]) -> int:
    return int(torch.tensor([layer.rate for layer in chain]).prod())


@pytest.mark.parametrize("name", CHAINS)
@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 9), max_size=12), rest=st.integers(0, 20))
def test_layers_are_chunk_invariant(name: str, sizes: list[int], rest: int) -> None:
    chain = CHAINS[name]
    x = noise(5, 2, 3, sum(sizes) + rest)
    whole, _ = run(chain, x, start(chain, 2), last=True)
    assert whole.shape == (2, 3, x.shape[2] * rate_of(chain))
    tails: Sequence[Tensor] = start(chain, 2)
    made, seen = [], 0
    for size in sizes:
        y, tails = run(chain, x[:, :, seen : seen + size], tails, last=False)
        made.append(y)
        seen += size
        assert sum(y.shape[2] for y in made) == max(0, rate_of(chain) * seen - lag_of(chain))
    made.append(run(chain, x[:, :, seen:], tails, last=True)[0])
    if whole.numel():
        error = float((torch.cat(made, 2) - whole).abs().max() / whole.abs().max())
        assert error <= MAX_ERROR


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "all"])
def test_samples_are_returned_as_early_as_possible(name: str) -> None:
    """The first sample that is not returned yet depends on the next input."""
    chain = CHAINS[name]
    x = noise(6, 1, 3, 80)
    other = x.clone()
    other[:, :, 40] += 10
    given_out, _ = run(chain, x[:, :, :40], start(chain), last=False)
    one, two = (run(chain, each, start(chain), last=True)[0] for each in (x, other))
    differs = (one != two).any(1)[0].nonzero().flatten()
    assert int(differs[0]) == given_out.shape[2]


def test_convolutions_equal_those_of_torch() -> None:
    x = noise(7, 2, 3, 30)
    layer = conv(5, dilation=3)
    want = functional.conv1d(x, layer.weight, layer.bias, dilation=3, padding=6)
    assert float((run([layer], x, layer.tails(2), last=True)[0] - want).abs().max()) <= MAX_ERROR
    up = LookaheadConvTranspose(noise(2, 3, 4, 8), noise(3, 4))
    want = functional.conv_transpose1d(x, up.weight, up.bias, stride=4, padding=2)
    assert float((run([up], x, up.tails(2), last=True)[0] - want).abs().max()) <= MAX_ERROR


def test_tails_own_their_memory() -> None:
    chain = CHAINS["all"]
    _, tails = run(chain, noise(8, 1, 3, 500), start(chain), last=False)
    assert all(tail.untyped_storage().nbytes() == 4 * tail.numel() for tail in tails)
