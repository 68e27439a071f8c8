"""Streaming layers with lookahead over `[B, C, T]`. Chunk-invariant: any chunking gives the same output.

A layer returns the samples that are final and keeps the rest in its tail; the last chunk is padded like the end of the
whole input. `causal_conv.py` has the layers without lookahead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.ops import SNAKE_BETA_REACH, snake_beta


class StreamPass:
    """One chunk's pass through a chain of layers: hands each its tail, in order, and collects the next tails.

    Attributes:
        last: this is the last chunk.
        next_tails: the tails for the next chunk, so far.
    """

    def __init__(self, tails: Sequence[Tensor], last: bool) -> None:
        self.last = last
        self.next_tails: list[Tensor] = []
        self._tails: Iterator[Tensor] = iter(tails)

    def next_tail(self) -> Tensor:
        """The tail of the current layer."""
        return next(self._tails)

    def keep(self, seen: Tensor, count: int) -> None:
        """Set the current layer's next tail: the last `count` samples, or all if there are fewer.

        A copy, so that a state does not keep the whole chunk alive.
        """
        self.next_tails.append(seen[:, :, max(0, seen.shape[2] - count) :].clone())


class Layer(Protocol):
    """The interface of the layers here."""

    @property
    def rate(self) -> int:
        """Output samples per input sample."""

    @property
    def lag(self) -> int:
        """Output samples that are not final: after n input samples, `max(0, rate · n - lag)` have been returned."""

    def tails(self, batch: int) -> list[Tensor]:
        """The tails before the first chunk."""

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """`[B, Cin, T]` → `[B, Cout, samples that have become final]`; either may be empty."""


@dataclass(frozen=True, slots=True)
class LookaheadConv:
    """Centred convolution with an odd kernel and zero padding.

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

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """As in `Layer`."""
        end = [x.new_zeros(*x.shape[:2], self.lag)] if stream_pass.last else []
        seen = torch.cat((stream_pass.next_tail(), x, *end), 2)
        stream_pass.keep(seen, 2 * self.lag)
        if seen.shape[2] <= 2 * self.lag:
            return x.new_zeros(x.shape[0], self.weight.shape[0], 0)
        return functional.conv1d(seen, self.weight, self.bias, dilation=self.dilation)


@dataclass(frozen=True, slots=True)
class LookaheadConvTranspose:
    """Upsampling by an even s with a kernel twice as long, s / 2 outputs cut at both ends.

    Input t contributes to two blocks of s outputs, its own and the next:

        input      0 . . . 1 . . . 2 . . .
        of 0       a a a a b b b b
        of 1               a a a a b b b b
        output         o o o o o o o o o o      cut at the start; the last block needs the next input

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
        """As in `Layer`: empty at first, then the last input."""
        return [self.weight.new_zeros(batch, self.weight.shape[0], 0)]

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """As in `Layer`."""
        tail = stream_pass.next_tail()
        seen = torch.cat((tail, x), 2)
        stream_pass.keep(seen, 1)
        if seen.shape[2] == 0:
            return x.new_zeros(x.shape[0], self.weight.shape[1], 0)
        blocks = functional.conv_transpose1d(seen, self.weight, self.bias, stride=self.rate)
        start = self.rate if tail.shape[2] else self.lag
        stop = blocks.shape[2] - (self.lag if stream_pass.last else self.rate)
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
        """As in `Layer`: empty at first."""
        return [self.alpha.new_zeros(batch, self.alpha.shape[0], 0)]

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """As in `Layer`."""
        tail = stream_pass.next_tail()
        seen = torch.cat((tail, x), 2)
        stream_pass.keep(seen, 2 * self.lag)
        # A tail that is not full starts with the first sample of the stream, which is an edge for the operation.
        before = max(0, tail.shape[2] - self.lag)
        after = 0 if stream_pass.last else self.lag
        if seen.shape[2] <= before + after:
            return x[:, :, :0]
        return snake_beta(seen.contiguous(), self.alpha, self.beta, before, after)


@dataclass(frozen=True, slots=True)
class Residual:
    """`x + inner(x)`; the input is buffered until the inner layers have returned its samples."""

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
        """As in `Layer`: the inner layers' tails, then the buffered input."""
        inner = [tail for layer in self.inner for tail in layer.tails(batch)]
        return [*inner, inner[0].new_zeros(batch, inner[0].shape[1], 0)]

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """As in `Layer`."""
        y = _through(self.inner, x, stream_pass)
        waiting = torch.cat((stream_pass.next_tail(), x), 2)
        ready = y.shape[2]
        stream_pass.keep(waiting, waiting.shape[2] - ready)
        return y + waiting[:, :, :ready]


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of branches, chains of layers of rate 1, each buffered to the largest lag."""

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
        """As in `Layer`: the branches' tails, then the buffered output of each."""
        inner = [tail for branch in self.branches for layer in branch for tail in layer.tails(batch)]
        return [*inner, *(inner[0].new_zeros(batch, inner[0].shape[1], 0) for _ in self.branches)]

    def __call__(self, x: Tensor, stream_pass: StreamPass) -> Tensor:
        """As in `Layer`."""
        made = [_through(branch, x, stream_pass) for branch in self.branches]
        waiting = [torch.cat((stream_pass.next_tail(), y), 2) for y in made]
        ready = min(y.shape[2] for y in waiting)
        for y in waiting:
            stream_pass.keep(y, y.shape[2] - ready)
        total = waiting[0][:, :, :ready]
        for y in waiting[1:]:
            total = total + y[:, :, :ready]
        return total / len(waiting)


def run(layers: Sequence[Layer], x: Tensor, tails: Sequence[Tensor], last: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one chunk through a chain of layers: the samples that have become final, and the next tails."""
    stream_pass = StreamPass(tails, last)
    return _through(layers, x, stream_pass), tuple(stream_pass.next_tails)


def lag_of(layers: Sequence[Layer]) -> int:
    """The lag of a chain, in output samples."""
    lag = 0
    for layer in layers:
        lag = lag * layer.rate + layer.lag
    return lag


def _through(layers: Sequence[Layer], x: Tensor, stream_pass: StreamPass) -> Tensor:
    for layer in layers:
        x = layer(x, stream_pass)
    return x
