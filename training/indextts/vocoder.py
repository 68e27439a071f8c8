"""Trainable BigVGAN with a source, on whole segments: it computes what `vocoder/bigvgan.py` does, with gradients."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.ops import reference
from training.indextts.parameters import Parameters, initial

SOURCE_LEVEL = 0.15
"""Amplitude of the unfiltered source in the output of an untrained vocoder."""

BRANCH_GAIN = 0.2
"""Initial gain of the residual branches, relative to the server's random weights."""

DIRECTION_SCALE = 0.1
"""Scales the directions of weight norm, which changes no weight: Adam turns shorter ones faster. Normal random numbers
turn by a thousandth per step, and 300 steps taught the vocoder the phases but not the levels."""

OPERATIONS = "intone_anti_alias"


class BigVGAN(Parameters):
    """The vocoder."""

    def __init__(self, config: IndexTTSConfig, seed: int = 0) -> None:
        super().__init__(lay(initial(config, "vocoder", seed), config), ("filter",))
        self.config = config.vocoder

    def forward(self, rows: Tensor) -> Tensor:
        """Frames with the rows of the source, `[B, rows, F]` → `[B, F · hop]`, not limited to ±1."""
        config = self.config
        x = self._conv("conv_pre", rows)
        kinds = list(zip(config.block_kernels, config.block_dilations, strict=True))
        for stage, rate in enumerate(config.rates):
            up = f"ups.{stage}.0"
            x = functional.conv_transpose1d(x, self._weight(up), self[f"{up}.bias"], rate, rate // 2)
            made = [self._block(f"resblocks.{stage * len(kinds) + at}", x, kinds[at][1]) for at in range(len(kinds))]
            x = torch.stack(made).mean(0)
        x = self._activated("activation_post", x)
        return functional.conv1d(x, self._weight("conv_post"), padding=3)[:, 0]

    def _block(self, name: str, x: Tensor, dilations: tuple[int, ...]) -> Tensor:
        for step, dilation in enumerate(dilations):
            y = self._conv(f"{name}.convs1.{step}", self._activated(f"{name}.activations.{2 * step}", x), dilation)
            y = self._conv(f"{name}.convs2.{step}", self._activated(f"{name}.activations.{2 * step + 1}", y))
            x = x + y
        return x

    def _conv(self, name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = self._weight(name)
        padding = (weight.shape[2] - 1) // 2 * dilation
        return functional.conv1d(x, weight, self[f"{name}.bias"], padding=padding, dilation=dilation)

    def _weight(self, name: str) -> Tensor:
        gain, direction = self[f"{name}.weight_g"], self[f"{name}.weight_v"]
        weight: Tensor = gain * direction / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
        return weight

    def _activated(self, name: str, x: Tensor) -> Tensor:
        return snake_beta(x, self[f"{name}.act.alpha"].exp(), self[f"{name}.act.beta"].exp())


def snake_beta(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`ops.snake_beta` of whole segments `[B, C, T]`, with gradients; native where `anti_alias.cpp` is loaded."""
    if x.is_cpu and x.dtype == torch.float32 and hasattr(getattr(torch.ops, OPERATIONS), "activation_forward"):
        taps = reference.anti_alias_filter().float()
        result: Tensor = _Activation.apply(x.contiguous(), alpha, 1 / (beta + 1e-9), taps)  # type: ignore[no-untyped-call]
        return result
    return reference.snake_beta(x, alpha, beta, 0, 0)


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, inverse: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha, inverse, taps)
        result: Tensor = torch.ops.intone_anti_alias.activation_forward(x, alpha, inverse, taps)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, alpha, inverse, taps = ctx.saved_tensors
        grads = torch.ops.intone_anti_alias.activation_backward(x, alpha, inverse, taps, grad.contiguous())
        return grads[0], grads[1], grads[2], None


def lay(tensors: dict[str, Tensor], config: IndexTTSConfig) -> dict[str, Tensor]:
    """Let the first channels of a random vocoder pass the source on to the output; returns the tensors.

    Each frame holds `points` pulses and `noise` values. The first upsampling spreads them over its rows, the second
    over its own, so that one channel of pulses and one of noise are left, which the last one interpolates. What is
    left to learn is the filter: finding a source takes a small vocoder days.
    """
    source, vocoder = config.source, config.vocoder
    assert source is not None and len(vocoder.rates) == 3
    first, second, third = vocoder.rates
    points, noise = source.points, source.noise
    assert points == first * second and noise % first == 0 and second % (noise // first) == 0
    pre = _folded(tensors, "conv_pre")
    pre[: points + noise] = 0
    rows = vocoder.mel_bands - points - noise
    for place in range(points + noise):
        pre[place, rows + place, 3] = 1.0
    pre[points + noise :, rows:] *= 0.1
    _unfold(tensors, "conv_pre", pre)
    up = _cleared(tensors, "ups.0.0", points + noise, second + noise // first)
    for slot in range(first):
        for inner in range(second):
            up[slot * second + inner, inner, first // 2 + slot] = 1.0
        for inner in range(noise // first):
            up[points + slot * (noise // first) + inner, second + inner, first // 2 + slot] = 1.0
    _unfold(tensors, "ups.0.0", up)
    up = _cleared(tensors, "ups.1.0", second + noise // first, 2)
    for inner in range(second):
        up[inner, 0, second // 2 + inner] = 1.0
    for inner in range(noise // first):
        spacing = second // (noise // first)
        up[second + inner, 1, second // 2 + inner * spacing] = math.sqrt(spacing)
    _unfold(tensors, "ups.1.0", up)
    up = _cleared(tensors, "ups.2.0", 2, 2)
    up[0, 0] = 1 - (torch.arange(2 * third) - third + 0.5).abs() / third
    up[1, 1, third // 2] = math.sqrt(third)
    _unfold(tensors, "ups.2.0", up)
    last = _folded(tensors, "conv_post")
    last[0, :2] = 0
    last[0, 0, 3], last[0, 1, 3] = SOURCE_LEVEL, 0.1 * SOURCE_LEVEL
    _unfold(tensors, "conv_post", last)
    return {name: _scale(name) * tensor for name, tensor in tensors.items()}


def _scale(name: str) -> float:
    """Factor on an initial tensor."""
    if name.endswith("weight_v"):
        return DIRECTION_SCALE
    if ".convs2." in name and name.endswith("weight_g"):
        return BRANCH_GAIN
    return 0.0 if name.startswith(("conv_pre.bias", "ups")) and name.endswith("bias") else 1.0


def _cleared(tensors: dict[str, Tensor], name: str, inputs: int, outputs: int) -> Tensor:
    """A transposed convolution's weight whose first outputs depend on none of its inputs, nor others on the first."""
    weight = _folded(tensors, name)
    weight[:, :outputs] = 0
    weight[:inputs] *= 0.1
    return weight


def _folded(tensors: dict[str, Tensor], name: str) -> Tensor:
    gain, direction = tensors[f"{name}.weight_g"], tensors[f"{name}.weight_v"]
    weight: Tensor = gain * direction / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    return weight


def _unfold(tensors: dict[str, Tensor], name: str, weight: Tensor) -> None:
    tensors[f"{name}.weight_v"] = weight
    tensors[f"{name}.weight_g"] = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)
