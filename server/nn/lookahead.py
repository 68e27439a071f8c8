"""Layers that look ahead, over `[B, C, T]`, streamed exactly: any way of cutting the input gives what the whole gives.

A layer gives whatever is final and keeps the rest in its tail; the last chunk gets the padding that the whole would
have had at its end. They know nothing of models or checkpoints. For layers that never look ahead see `causal_conv.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.ops import SNAKE_BETA_REACH, snake_beta


class Walk:
    """One chunk's way through layers: gives each its tail, in order, and collects the tails for the next chunk.

    Attributes:
        last: nothing follows this chunk.
        after: the tails so far.
    """

    def __init__(self, tails: Sequence[Tensor], last: bool) -> None:
        self.last = last
        self.after: list[Tensor] = []
        self._tails: Iterator[Tensor] = iter(tails)

    def take(self) -> Tensor:
        """The tail of the layer whose turn it is."""
        return next(self._tails)

    def keep(self, seen: Tensor, count: int) -> None:
        """The last `count` samples, or all where there are fewer, as that layer's next tail.

        A copy, so that a kept state does not keep the whole chunk.
        """
        self.after.append(seen[:, :, max(0, seen.shape[2] - count) :].clone())


class Layer(Protocol):
    """What the layers here have in common."""

    @property
    def rate(self) -> int:
        """Samples out to a sample in."""

    @property
    def lag(self) -> int:
        """Samples of the output that are not final: of n samples in, `max(0, rate · n - lag)` come out."""

    def tails(self, batch: int) -> list[Tensor]:
        """Before the first chunk."""

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """`[B, Cin, T]` → `[B, Cout, what has become final]`; either may be empty."""


@dataclass(frozen=True, slots=True)
class LookaheadConv:
    """Convolution of odd kernel, centred, zeros beyond both ends.

    Attributes:
        weight: `[Cout, Cin, K]`.
        bias: `[Cout]` or None.
    """

    weight: Tensor
    bias: Tensor | None = None
    dilation: int = 1

    @property
    def rate(self) -> int:
        """As in `Layer`."""
        return 1

    @property
    def lag(self) -> int:
        """As in `Layer`."""
        return (self.weight.shape[2] - 1) // 2 * self.dilation

    def tails(self, batch: int) -> list[Tensor]:
        """As in `Layer`: the zeros in front."""
        return [self.weight.new_zeros(batch, self.weight.shape[1], self.lag)]

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """As in `Layer`."""
        end = [x.new_zeros(*x.shape[:2], self.lag)] if walk.last else []
        seen = torch.cat((walk.take(), x, *end), 2)
        walk.keep(seen, 2 * self.lag)
        if seen.shape[2] <= 2 * self.lag:
            return x.new_zeros(x.shape[0], self.weight.shape[0], 0)
        return functional.conv1d(seen, self.weight, self.bias, dilation=self.dilation)


@dataclass(frozen=True, slots=True)
class LookaheadConvTranspose:
    """Upsampling by an even s with a kernel twice as long, s / 2 outputs cut at both ends.

    Input t sounds in two blocks of s outputs, its own and the next:

        input      0 . . . 1 . . . 2 . . .
        of 0       a a a a b b b b
        of 1               a a a a b b b b
        output         o o o o o o o o o o      cut in front; the last block waits for the input after it

    Attributes:
        weight: `[Cin, Cout, 2 · s]`.
        bias: `[Cout]`.
    """

    weight: Tensor
    bias: Tensor

    @property
    def rate(self) -> int:
        """As in `Layer`."""
        return self.weight.shape[2] // 2

    @property
    def lag(self) -> int:
        """As in `Layer`."""
        return self.rate // 2

    def tails(self, batch: int) -> list[Tensor]:
        """As in `Layer`: nothing yet, then the last input."""
        return [self.weight.new_zeros(batch, self.weight.shape[0], 0)]

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """As in `Layer`."""
        tail = walk.take()
        seen = torch.cat((tail, x), 2)
        walk.keep(seen, 1)
        if seen.shape[2] == 0:
            return x.new_zeros(x.shape[0], self.weight.shape[1], 0)
        blocks = functional.conv_transpose1d(seen, self.weight, self.bias, stride=self.rate)
        start = self.rate if tail.shape[2] else self.lag
        stop = blocks.shape[2] - (self.lag if walk.last else self.rate)
        return blocks[:, :, start:stop]


@dataclass(frozen=True, slots=True)
class AntiAliasedSnake:
    """`ops.snake_beta`. Attributes: `alpha` and `beta`, `[C]`, not logarithms."""

    alpha: Tensor
    beta: Tensor

    @property
    def rate(self) -> int:
        """As in `Layer`."""
        return 1

    @property
    def lag(self) -> int:
        """As in `Layer`."""
        return SNAKE_BETA_REACH

    def tails(self, batch: int) -> list[Tensor]:
        """As in `Layer`: nothing yet."""
        return [self.alpha.new_zeros(batch, self.alpha.shape[0], 0)]

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """As in `Layer`."""
        tail = walk.take()
        seen = torch.cat((tail, x), 2)
        walk.keep(seen, 2 * self.lag)
        # A tail that is not full holds all there was: its first sample is the first of all, an edge for the operation.
        before = max(0, tail.shape[2] - self.lag)
        after = 0 if walk.last else self.lag
        if seen.shape[2] <= before + after:
            return x[:, :, :0]
        return snake_beta(seen.contiguous(), self.alpha, self.beta, before, after)


@dataclass(frozen=True, slots=True)
class Residual:
    """`x + inner(x)`; the input waits for what the inner layers make of it."""

    inner: tuple[Layer, ...]

    @property
    def rate(self) -> int:
        """As in `Layer`."""
        return 1

    @property
    def lag(self) -> int:
        """As in `Layer`."""
        return sum(layer.lag for layer in self.inner)

    def tails(self, batch: int) -> list[Tensor]:
        """As in `Layer`: the inner layers' tails, then what waits."""
        inner = [tail for layer in self.inner for tail in layer.tails(batch)]
        return [*inner, inner[0].new_zeros(batch, inner[0].shape[1], 0)]

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """As in `Layer`."""
        y = _through(self.inner, x, walk)
        waiting = torch.cat((walk.take(), x), 2)
        ready = y.shape[2]
        walk.keep(waiting, waiting.shape[2] - ready)
        return y + waiting[:, :, :ready]


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of branches, each a chain of layers of rate 1; the faster ones wait for the slowest."""

    branches: tuple[tuple[Layer, ...], ...]

    @property
    def rate(self) -> int:
        """As in `Layer`."""
        return 1

    @property
    def lag(self) -> int:
        """As in `Layer`."""
        return max(sum(layer.lag for layer in branch) for branch in self.branches)

    def tails(self, batch: int) -> list[Tensor]:
        """As in `Layer`: the branches' tails, then what waits of each."""
        inner = [tail for branch in self.branches for layer in branch for tail in layer.tails(batch)]
        return [*inner, *(inner[0].new_zeros(batch, inner[0].shape[1], 0) for _ in self.branches)]

    def __call__(self, x: Tensor, walk: Walk) -> Tensor:
        """As in `Layer`."""
        made = [_through(branch, x, walk) for branch in self.branches]
        waiting = [torch.cat((walk.take(), y), 2) for y in made]
        ready = min(y.shape[2] for y in waiting)
        for y in waiting:
            walk.keep(y, y.shape[2] - ready)
        total = waiting[0][:, :, :ready]
        for y in waiting[1:]:
            total = total + y[:, :, :ready]
        return total / len(waiting)


def run(layers: Sequence[Layer], x: Tensor, tails: Sequence[Tensor], last: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One chunk through a chain of layers: what has become final, and the tails for the next chunk."""
    walk = Walk(tails, last)
    return _through(layers, x, walk), tuple(walk.after)


def lag_of(layers: Sequence[Layer]) -> int:
    """The lag of a chain, in samples of its output."""
    lag = 0
    for layer in layers:
        lag = lag * layer.rate + layer.lag
    return lag


def _through(layers: Sequence[Layer], x: Tensor, walk: Walk) -> Tensor:
    for layer in layers:
        x = layer(x, walk)
    return x
