"""CAM++: a recording's filter bank to a vector that says who speaks (arXiv 2303.00332). Knows no audio.

Batch norms are folded into a scale and a shift when the weights are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import CAMPPlusConfig
from intone.server.engines.weights import Weights

NORM_EPS = 1e-5
CONTEXT_FRAMES = 100
"""Frames that share one local context."""

KERNEL = 5
LOCAL_KERNEL = 3
STAGES = 2  # of two residual blocks each, and one convolution behind them; each of the three halves the bands
RESIDUAL_BLOCKS = 2

DEAD_KEYS = (r".*\.num_batches_tracked",)


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm in evaluation: `x · scale + shift`, channels in dimension 1."""

    scale: Tensor  # [C]
    shift: Tensor  # [C]

    @classmethod
    def read(cls, weights: Weights, name: str, affine: bool = True) -> "Norm":
        """From the four published tensors, or the two of a norm without weights."""
        scale = (weights[f"{name}.running_var"] + NORM_EPS).rsqrt()
        if affine:
            scale = weights[f"{name}.weight"] * scale
        shift = -weights[f"{name}.running_mean"] * scale
        return cls(scale, shift + weights[f"{name}.bias"] if affine else shift)

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, C, ...]` → the same shape."""
        places = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.shift.view(places), x, self.scale.view(places))


@dataclass(frozen=True, slots=True)
class Conv2d:
    """A 3 × 3 convolution over bands and time, and its norm; `stride` is that over the bands."""

    weight: Tensor
    norm: Norm
    stride: int

    def __call__(self, x: Tensor) -> Tensor:
        """`[1, C, F, T]` → `[1, C', ceil(F / stride), T]`."""
        padding = self.weight.shape[2] // 2
        return self.norm(functional.conv2d(x, self.weight, stride=(self.stride, 1), padding=padding))


@dataclass(frozen=True, slots=True)
class Residual:
    """Two convolutions round which the input goes, through one of size 1 where the first halves the bands."""

    first: Conv2d
    second: Conv2d
    around: Conv2d | None

    def __call__(self, x: Tensor) -> Tensor:
        """As `Conv2d`."""
        return (self.second(self.first(x).relu()) + (self.around(x) if self.around else x)).relu()


@dataclass(frozen=True, slots=True)
class Dense:
    """A context-aware masked layer; what it makes is put behind its input."""

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
        made = functional.conv1d(y, self.local, dilation=self.dilation, padding=self.dilation) * mask
        return torch.cat((x, made), dim=1)


class CAMPPlus:
    """The encoder; frozen once built."""

    def __init__(self, config: CAMPPlusConfig, weights: Weights) -> None:
        head, body = weights.scope("head"), weights.scope("xvector")
        self._head = (_conv2d(head, "conv1", "bn1", 1), tuple(_residuals(head)), _conv2d(head, "conv2", "bn2", 2))
        self._stem = body["tdnn.linear.weight"], Norm.read(body, "tdnn.nonlinear.batchnorm")
        self._blocks = tuple(
            (
                tuple(_dense(body.scope(f"block{b}.tdnnd{i + 1}"), dilation) for i in range(layers)),
                Norm.read(body, f"transit{b}.nonlinear.batchnorm"),
                body[f"transit{b}.linear.weight"],
            )
            for b, (layers, dilation) in enumerate(zip(config.blocks, config.dilations, strict=True), 1)
        )
        self._norm_out = Norm.read(body, "out_nonlinear.batchnorm")
        self._embed = body["dense.linear.weight"][:, :, 0]
        self._norm_embedding = Norm.read(body, "dense.nonlinear.batchnorm", affine=False)

    def __call__(self, features: Tensor) -> Tensor:
        """Filter bank without its mean over time, `[T, bands]`, T at least 3 → the embedding."""
        first, residuals, last = self._head
        x = first(features.T[None, None]).relu()  # [1, C, bands, T]
        for residual in residuals:
            x = residual(x)
        x = last(x).relu().flatten(1, 2)  # [1, C · bands / 8, T]
        stem, norm = self._stem
        x = norm(functional.conv1d(x, stem, stride=2, padding=KERNEL // 2)).relu()
        for layers, norm, narrow in self._blocks:
            for layer in layers:
                x = layer(x)
            x = functional.conv1d(norm(x).relu(), narrow)
        x = self._norm_out(x).relu()
        statistics = torch.cat((x.mean(2), x.std(2, unbiased=True)), dim=1)
        return self._norm_embedding(functional.linear(statistics, self._embed))[0]


def tensor_shapes(config: CAMPPlusConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of what is used."""
    shapes = dict(_head_shapes(config))
    width = config.channels
    shapes["xvector.tdnn.linear.weight"] = (width, config.head_channels * config.bands // 8, KERNEL)
    shapes |= _norm_shapes("xvector.tdnn.nonlinear.batchnorm", width)
    inner = config.bottleneck * config.growth
    for block, layers in enumerate(config.blocks, 1):
        for index in range(layers):
            prefix = f"xvector.block{block}.tdnnd{index + 1}."
            shapes |= _norm_shapes(f"{prefix}nonlinear1.batchnorm", width)
            shapes |= _norm_shapes(f"{prefix}nonlinear2.batchnorm", inner)
            shapes |= {
                f"{prefix}linear1.weight": (inner, width, 1),
                f"{prefix}cam_layer.linear_local.weight": (config.growth, inner, LOCAL_KERNEL),
                f"{prefix}cam_layer.linear1.weight": (inner // 2, inner, 1),
                f"{prefix}cam_layer.linear1.bias": (inner // 2,),
                f"{prefix}cam_layer.linear2.weight": (config.growth, inner // 2, 1),
                f"{prefix}cam_layer.linear2.bias": (config.growth,),
            }
            width += config.growth
        shapes |= _norm_shapes(f"xvector.transit{block}.nonlinear.batchnorm", width)
        shapes[f"xvector.transit{block}.linear.weight"] = (width // 2, width, 1)
        width //= 2
    shapes |= _norm_shapes("xvector.out_nonlinear.batchnorm", width)
    shapes["xvector.dense.linear.weight"] = (config.embedding, 2 * width, 1)
    return shapes | _norm_shapes("xvector.dense.nonlinear.batchnorm", config.embedding, affine=False)


def _head_shapes(config: CAMPPlusConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    channels = config.head_channels
    convs = {"head.conv1": ("head.bn1", 1, 3), "head.conv2": ("head.bn2", channels, 3)}
    for stage in range(1, STAGES + 1):
        for index in range(RESIDUAL_BLOCKS):
            prefix = f"head.layer{stage}.{index}."
            convs |= {f"{prefix}conv{n}": (f"{prefix}bn{n}", channels, 3) for n in (1, 2)}
        convs[f"head.layer{stage}.0.shortcut.0"] = (f"head.layer{stage}.0.shortcut.1", channels, 1)
    for name, (norm, inner, kernel) in convs.items():
        yield f"{name}.weight", (channels, inner, kernel, kernel)
        yield from _norm_shapes(norm, channels).items()


def _norm_shapes(name: str, channels: int, affine: bool = True) -> dict[str, tuple[int, ...]]:
    parts = ("running_mean", "running_var", *(("weight", "bias") if affine else ()))
    return {f"{name}.{part}": (channels,) for part in parts}


def _conv2d(weights: Weights, conv: str, norm: str, stride: int) -> Conv2d:
    return Conv2d(weights[f"{conv}.weight"], Norm.read(weights, norm), stride)


def _residuals(head: Weights) -> Iterator[Residual]:
    for stage in range(1, STAGES + 1):
        for index in range(RESIDUAL_BLOCKS):
            block, stride = head.scope(f"layer{stage}.{index}"), 2 if index == 0 else 1
            around = _conv2d(block, "shortcut.0", "shortcut.1", stride) if index == 0 else None
            yield Residual(_conv2d(block, "conv1", "bn1", stride), _conv2d(block, "conv2", "bn2", 1), around)


def _dense(weights: Weights, dilation: int) -> Dense:
    cam = weights.scope("cam_layer")
    return Dense(
        norm_in=Norm.read(weights, "nonlinear1.batchnorm"),
        squeeze=weights["linear1.weight"],
        norm=Norm.read(weights, "nonlinear2.batchnorm"),
        local=cam["linear_local.weight"],
        context=(cam["linear1.weight"], cam["linear1.bias"]),
        mask=(cam["linear2.weight"], cam["linear2.bias"]),
        dilation=dilation,
    )


def _local_means(y: Tensor) -> Tensor:
    """Each frame's mean over its segment, the last one possibly short: `[1, C, T]` → `[1, C, T]`."""
    means = functional.avg_pool1d(y, CONTEXT_FRAMES, CONTEXT_FRAMES, ceil_mode=True)
    return means.repeat_interleave(CONTEXT_FRAMES, dim=2)[:, :, : y.shape[2]]
