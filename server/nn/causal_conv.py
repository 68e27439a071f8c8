"""Streaming causal convolutions over `[B, T, C]`. Chunk-invariant: any chunking of the input gives the same output.

Every layer is called as `layer(x, tail) -> (y, tail)`: `tail` `[B, tail_rows, C]` is the end of the previous input,
zeros at first. Time comes before channels because streaming has few rows: a matrix product then reads its weights once
for all streams, and upsampled rows need no reordering.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def fold_weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """The weight of a weight-normalized layer: `gain · direction / ‖direction‖`, the norm over all dims but 0."""
    norm = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    weight: Tensor = direction * (gain / norm)
    return weight


def _extend(tail: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` after its tail, and the next tail: a copy, so that a state does not keep the whole chunk alive."""
    seen = torch.cat((tail, x), 1)  # [B, tail_rows + T, C]
    return seen, seen[:, seen.shape[1] - tail.shape[1] :].clone()


def _windows(seen: Tensor, rows: int, stride: int, count: int) -> Tensor:
    """`count` windows of `rows` rows of contiguous `seen`, `stride` apart, flattened: `[B·count, rows·C]`.

    A copy, as one matrix for all streams: with the overlapping view torch would compute one product per stream.
    """
    batch, length, channels = seen.shape
    view = seen.as_strided((batch, count, rows * channels), (length * channels, stride * channels, 1))
    return view.reshape(batch * count, -1)


@dataclass(frozen=True)
class CausalConv:
    """Convolution whose kernel covers at least its stride. `[B, T, Cin]` → `[B, T / stride, Cout]`, T a multiple.

    Attributes:
        weight: `[Cout, K·Cin]`, the kernel's rows oldest first.
        bias: `[Cout]`.
        tail_rows: zeros before the first row; at least `K - stride`, more delay the kernel.
    """

    weight: Tensor
    bias: Tensor
    stride: int
    tail_rows: int
    channels: int

    @classmethod
    def build(cls, weight: Tensor, bias: Tensor, stride: int = 1, tail_rows: int | None = None) -> "CausalConv":
        """From a published weight `[Cout, Cin, K]`; `tail_rows` defaults to `K - stride`."""
        flat = weight.transpose(1, 2).flatten(1).contiguous()  # [Cout, K·Cin]
        rows = weight.shape[2] - stride if tail_rows is None else tail_rows
        return cls(flat, bias, stride, rows, weight.shape[1])

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk; see the module."""
        seen, tail = _extend(tail, x)
        kernel = self.weight.shape[1] // self.channels
        windows = _windows(seen, kernel, self.stride, x.shape[1] // self.stride)
        return F.linear(windows, self.weight, self.bias).view(x.shape[0], -1, self.bias.shape[0]), tail


@dataclass(frozen=True)
class CausalConvToOne:
    """Convolution to a single channel. `[B, T, C]` → `[B, T]`.

    One product gives what each row contributes to K outputs, and the diagonals are summed: windows would copy the input
    K times.

    Attributes:
        weight: `[K, C]`, the kernel's rows oldest first.
        bias: `[1]`.
    """

    weight: Tensor
    bias: Tensor

    @classmethod
    def build(cls, weight: Tensor, bias: Tensor) -> "CausalConvToOne":
        """From a published weight `[1, C, K]`."""
        return cls(weight[0].t().contiguous(), bias)

    @property
    def tail_rows(self) -> int:
        """Rows of past."""
        return self.weight.shape[0] - 1

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.weight.shape[1]

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk; see the module."""
        seen, tail = _extend(tail, x)
        parts = F.linear(seen, self.weight)  # [B, K - 1 + T, K]
        batch, length, kernel = parts.shape
        diagonals = parts.as_strided((batch, x.shape[1], kernel), (length * kernel, kernel, kernel + 1))
        return diagonals.sum(2) + self.bias, tail


@dataclass(frozen=True)
class CausalDepthwiseConv:
    """Convolution of each channel with its own dilated kernel. `[B, T, C]` → `[B, T, C]`.

    Attributes:
        taps: `[K, C]`, oldest first.
        bias: `[C]`.
    """

    taps: Tensor
    bias: Tensor
    dilation: int

    @classmethod
    def build(cls, weight: Tensor, bias: Tensor, dilation: int = 1) -> "CausalDepthwiseConv":
        """From a published weight `[C, 1, K]`."""
        return cls(weight[:, 0].t().contiguous(), bias, dilation)

    @property
    def tail_rows(self) -> int:
        """Rows of past."""
        return (self.taps.shape[0] - 1) * self.dilation

    @property
    def channels(self) -> int:
        """Channels of input and output."""
        return self.taps.shape[1]

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk; see the module. A sum of shifted rows, which is faster than a general convolution at few rows."""
        rows = x.shape[1]
        seen, tail = _extend(tail, x)
        y = torch.addcmul(self.bias, seen[:, :rows], self.taps[0])
        for k in range(1, self.taps.shape[0]):
            start = k * self.dilation
            y.addcmul_(seen[:, start : start + rows], self.taps[k])
        return y, tail


@dataclass(frozen=True)
class CausalConvTranspose:
    """Upsampling by s with a kernel of 2s, the last s outputs cut. `[B, T, Cin]` → `[B, T·s, Cout]`.

    Input row t contributes to blocks t and t+1 of the output, so block t is one product of rows t-1 and t.

    Attributes:
        weight: `[s·Cout, 2·Cin]`.
        bias: `[s·Cout]`.
    """

    weight: Tensor
    bias: Tensor
    stride: int

    @classmethod
    def build(cls, weight: Tensor, bias: Tensor, stride: int) -> "CausalConvTranspose":
        """From a published weight `[Cin, Cout, 2·stride]`."""
        halves = weight.view(weight.shape[0], -1, 2, stride)  # [Cin, Cout, 2, s]: half 0 meets row t, half 1 row t-1
        flat = halves.flip(2).permute(3, 1, 2, 0).reshape(stride * weight.shape[1], -1)
        return cls(flat.contiguous(), bias.repeat(stride), stride)

    @property
    def tail_rows(self) -> int:
        """Rows of past."""
        return 1

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return self.weight.shape[1] // 2

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk; see the module."""
        rows = x.shape[1]
        seen, tail = _extend(tail, x)
        y = F.linear(_windows(seen, 2, 1, rows), self.weight, self.bias)  # [B·T, s·Cout]
        return y.view(x.shape[0], rows * self.stride, -1), tail
