"""CAM++ (arXiv 2303.00332): the filter bank of a recording to a speaker embedding.

Batch norms are folded into a scale and a shift when the weights are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import CAMPPlusConfig
from intone.server.engines.pieces import Pieces
from intone.server.engines.weights import Weights

NORM_EPS = 1e-5
CONTEXT_FRAMES = 100
"""Frames of a segment, whose mean is the local context."""

KERNEL = 5
LOCAL_KERNEL = 3
STAGES = 2  # of residual blocks; each stage and the convolution after them halve the bands
RESIDUAL_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm in evaluation: `x · scale + shift`, channels in dimension 1."""

    scale: Tensor  # [C]
    shift: Tensor  # [C]

    @classmethod
    def read(cls, weights: Weights, name: str, channels: int, affine: bool = True) -> "Norm":
        """From the published statistics and, with `affine`, weight and bias."""
        scale = (weights.tensor(f"{name}.running_var", (channels,)) + NORM_EPS).rsqrt()
        mean = weights.tensor(f"{name}.running_mean", (channels,))
        if not affine:
            return cls(scale, -mean * scale)
        weight, bias = weights.affine(name, (channels,))
        scale = weight * scale
        return cls(scale, -mean * scale + bias)

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, C, ...]` → the same shape."""
        shape = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A 2-D convolution over bands and time, and its norm; `stride` applies to the bands."""

    weight: Tensor
    norm: Norm
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, C, F, T]` → `[1, C', ceil(F / stride), T]`."""
        padding = self.weight.shape[2] // 2
        return self.norm(functional.conv2d(x, self.weight, stride=(self.stride, 1), padding=padding))


@dataclass(frozen=True, slots=True)
class Residual:
    """Two convolutions with a shortcut; `around` is its convolution of size 1 where the first halves the bands."""

    first: Conv2d
    second: Conv2d
    around: Conv2d | None

    def __call__(self, x: Tensor) -> Tensor:
        """As `Conv2d`."""
        return (self.second(self.first(x).relu()) + (self.around(x) if self.around else x)).relu()


@dataclass(frozen=True, slots=True)
class Dense:
    """A context-aware masked layer; its output is appended to its input (DenseNet)."""

    norm_in: Norm
    squeeze: Tensor  # [bottleneck, C, 1]
    norm: Norm
    local: Tensor  # [growth, bottleneck, 3]
    context: tuple[Tensor, Tensor]
    mask: tuple[Tensor, Tensor]
    dilation: int

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, C, T]` → `[1, C + growth, T]`."""
        y = self.norm(functional.conv1d(self.norm_in(x).relu(), self.squeeze)).relu()
        around = y.mean(2, keepdim=True) + _local_means(y)
        mask = functional.conv1d(functional.conv1d(around, *self.context).relu(), *self.mask).sigmoid()
        new = functional.conv1d(y, self.local, dilation=self.dilation, padding=self.dilation) * mask
        return torch.cat((x, new), dim=1)


@dataclass(frozen=True, slots=True)
class Block:
    """Dense layers, then a transition that halves the channels."""

    layers: tuple[Dense, ...]
    norm: Norm
    narrow: Tensor  # [C / 2, C, 1]


class CAMPPlus:
    """The encoder; immutable."""

    def __init__(self, config: CAMPPlusConfig, weights: Weights) -> None:
        head, body = weights.scope("head"), weights.scope("xvector")
        channels, width = config.head_channels, config.channels
        self._first = _conv2d(head, "conv1", "bn1", (channels, 1, 3), 1)
        self._residuals = tuple(_residuals(head, channels))
        self._last = _conv2d(head, "conv2", "bn2", (channels, channels, 3), 2)
        self._stem = body.tensor("tdnn.linear.weight", (width, channels * config.bands // 8, KERNEL))
        self._stem_norm = Norm.read(body, "tdnn.nonlinear.batchnorm", width)
        self._blocks = tuple(_blocks(config, body))
        width = self._blocks[-1].narrow.shape[0]
        self._norm_out = Norm.read(body, "out_nonlinear.batchnorm", width)
        self._embed = body.tensor("dense.linear.weight", (config.embedding, 2 * width, 1))[:, :, 0]
        self._norm_embedding = Norm.read(body, "dense.nonlinear.batchnorm", config.embedding, affine=False)

    def __call__(self, features: Tensor) -> Pieces[Tensor]:
        """Filter bank minus its mean over time, `[T, bands]`, T at least 3 → `[embedding]`; a block in each piece."""
        x = self._first(features.T[None, None]).relu()  # [1, C, bands, T]
        for residual in self._residuals:
            x = residual(x)
            yield
        x = self._last(x).relu().flatten(1, 2)  # [1, C · bands / 8, T]
        x = self._stem_norm(functional.conv1d(x, self._stem, stride=2, padding=KERNEL // 2)).relu()
        for block in self._blocks:
            for layer in block.layers:
                x = layer(x)
            x = functional.conv1d(block.norm(x).relu(), block.narrow)
            yield
        x = self._norm_out(x).relu()
        statistics = torch.cat((x.mean(2), x.std(2, unbiased=True)), dim=1)
        return self._norm_embedding(functional.linear(statistics, self._embed))[0]


def _conv2d(weights: Weights, conv: str, norm: str, shape: tuple[int, int, int], stride: int) -> Conv2d:
    """`shape` is (out, in, kernel)."""
    out, inner, kernel = shape
    return Conv2d(weights.tensor(f"{conv}.weight", (out, inner, kernel, kernel)), Norm.read(weights, norm, out), stride)


def _residuals(head: Weights, channels: int) -> Iterator[Residual]:
    shape = (channels, channels, 3)
    for stage in range(1, STAGES + 1):
        for index in range(RESIDUAL_BLOCKS):
            block, stride = head.scope(f"layer{stage}.{index}"), 2 if index == 0 else 1
            around = None
            if index == 0:
                around = _conv2d(block, "shortcut.0", "shortcut.1", (channels, channels, 1), stride)
            first = _conv2d(block, "conv1", "bn1", shape, stride)
            yield Residual(first, _conv2d(block, "conv2", "bn2", shape, 1), around)


def _blocks(config: CAMPPlusConfig, body: Weights) -> Iterator[Block]:
    width = config.channels
    for number, (layers, dilation) in enumerate(zip(config.blocks, config.dilations, strict=True), 1):
        dense = []
        for index in range(layers):
            dense.append(_dense(config, body.scope(f"block{number}.tdnnd{index + 1}"), width, dilation))
            width += config.growth
        transition = body.scope(f"transit{number}")
        norm, narrow = Norm.read(transition, "nonlinear.batchnorm", width), (width // 2, width, 1)
        yield Block(tuple(dense), norm, transition.tensor("linear.weight", narrow))
        width //= 2


def _dense(config: CAMPPlusConfig, weights: Weights, width: int, dilation: int) -> Dense:
    inner, cam = config.bottleneck * config.growth, weights.scope("cam_layer")
    return Dense(
        norm_in=Norm.read(weights, "nonlinear1.batchnorm", width),
        squeeze=weights.tensor("linear1.weight", (inner, width, 1)),
        norm=Norm.read(weights, "nonlinear2.batchnorm", inner),
        local=cam.tensor("linear_local.weight", (config.growth, inner, LOCAL_KERNEL)),
        context=cam.affine("linear1", (inner // 2, inner, 1)),
        mask=cam.affine("linear2", (config.growth, inner // 2, 1)),
        dilation=dilation,
    )


def _local_means(y: Tensor) -> Tensor:
    """The mean of each frame's segment; the last segment may be shorter: `[1, C, T]` → `[1, C, T]`."""
    means = functional.avg_pool1d(y, CONTEXT_FRAMES, CONTEXT_FRAMES, ceil_mode=True)
    return means.repeat_interleave(CONTEXT_FRAMES, dim=2)[:, :, : y.shape[2]]
