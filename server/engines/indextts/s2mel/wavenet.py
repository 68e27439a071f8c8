"""The convolutions at the end of the velocity field: gated and dilated, with skip sums (WaveNet, arXiv 1609.03499)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import WaveNetConfig
from intone.server.engines.indextts.checkpoint.folding import weight_normed_conv
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights


@dataclass(frozen=True, slots=True)
class GatedLayer:
    """One layer: x + Residual(g) and Skip(g) with g = tanh(a) · sigmoid(b), a and b the halves of Conv(x) + gate.

    Attributes:
        conv: `[2H, H, K]`; its bias is part of the gate.
        out: `[2H, H, 1]` and `[2H]`, residual half before skip half; the last layer has only the latter.
    """

    conv: Tensor
    dilation: int
    out: tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Gates:
    """What E time embeddings `[E, H]` add to the convolution of each layer: `[E, layers, 2H]`."""

    into: Linear
    layers: int

    def __call__(self, time: Tensor) -> Tensor:
        """Of times `[E, H]`."""
        return self.into(time).view(time.shape[0], self.layers, -1)


class WaveNet:
    """Immutable.

    Attributes:
        layers: in order.
        gates: of a time.
        context_frames: frames on either side that an output frame depends on.
    """

    def __init__(self, config: WaveNetConfig, weights: Weights) -> None:
        dilations = [config.dilation_rate**index for index in range(config.layers)]
        self.context_frames = (config.kernel - 1) // 2 * sum(dilations)
        wide, layers, biases = config.hidden, [], []
        for index, dilation in enumerate(dilations):
            conv, bias = weight_normed_conv(weights, f"in_layers.{index}.conv.conv", (2 * wide, wide, config.kernel))
            out = wide if index == config.layers - 1 else 2 * wide
            skip = weight_normed_conv(weights, f"res_skip_layers.{index}.conv.conv", (out, wide, 1))
            layers.append(GatedLayer(conv, dilation, skip))
            biases.append(bias)
        self.layers = tuple(layers)
        weight, bias = weight_normed_conv(weights, "cond_layer.conv.conv", (2 * wide * config.layers, wide, 1))
        self.gates = Gates(Linear(weight[:, :, 0], bias + torch.cat(biases)), len(layers))

    def __call__(self, x: Tensor, gates: Tensor) -> Tensor:
        """`[B, H, T]` and the gates `[layers, 2H]` of one time → `[B, H, T]`, with reflection padding."""
        width = x.shape[1]
        total = torch.zeros_like(x)
        for layer, gate in zip(self.layers, gates, strict=True):
            padding = (layer.conv.shape[2] - 1) // 2 * layer.dilation
            both = functional.conv1d(_reflected(x, padding), layer.conv, gate, dilation=layer.dilation)
            out = functional.conv1d(both[:, :width].tanh() * both[:, width:].sigmoid(), *layer.out)
            if out.shape[1] > width:
                x = x + out[:, :width]
            total = total + out[:, -width:]
        return total


def _reflected(x: Tensor, padding: int) -> Tensor:
    """Pad time by reflection; a sequence too short for that is extended with zeros, padded and cut again."""
    missing = max(0, padding + 1 - x.shape[2])
    padded = functional.pad(functional.pad(x, (0, missing)), (padding, padding), mode="reflect")
    return padded[:, :, : padded.shape[2] - missing]
