"""The convolutions at the end of the velocity field: gated, dilated, with skip sums (WaveNet, arXiv 1609.03499).

Knows nothing of time or flows: what the flow's time adds to each gate is an argument.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import WaveNetConfig
from intone.server.engines.indextts.checkpoint.folding import weight_normed
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights


def tensor_shapes(config: WaveNetConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape."""
    wide = config.hidden
    shapes = _conv_shapes("cond_layer", 2 * wide * config.layers, wide, 1)
    for index in range(config.layers):
        last = index == config.layers - 1
        shapes |= _conv_shapes(f"in_layers.{index}", 2 * wide, wide, config.kernel)
        shapes |= _conv_shapes(f"res_skip_layers.{index}", wide if last else 2 * wide, wide, 1)
    return shapes


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


class WaveNet:
    """Frozen once built.

    Attributes:
        context_frames: frames on either side that a frame of the result depends on.
    """

    def __init__(self, config: WaveNetConfig, weights: Weights) -> None:
        dilations = [config.dilation_rate**index for index in range(config.layers)]
        self.context_frames = (config.kernel - 1) // 2 * sum(dilations)
        layers, biases = [], []
        for index, dilation in enumerate(dilations):
            conv, bias = _conv(weights, f"in_layers.{index}")
            layers.append(GatedLayer(conv, dilation, _conv(weights, f"res_skip_layers.{index}")))
            biases.append(bias)
        self._layers = tuple(layers)
        weight, bias = _conv(weights, "cond_layer")
        self._gate_in = Linear(weight[:, :, 0], bias + torch.cat(biases))

    def gates(self, time: Tensor) -> Tensor:
        """For E time embeddings `[E, H]`, what every layer's convolution has added to it: `[E, layers, 2H]`."""
        return self._gate_in(time).view(time.shape[0], len(self._layers), -1)

    def __call__(self, x: Tensor, gates: Tensor) -> Tensor:
        """`[B, H, T]` and the gates `[layers, 2H]` of one time → `[B, H, T]`; both ends are padded by reflection."""
        width = x.shape[1]
        total = torch.zeros_like(x)
        for layer, gate in zip(self._layers, gates, strict=True):
            padding = (layer.conv.shape[2] - 1) // 2 * layer.dilation
            both = functional.conv1d(_reflected(x, padding), layer.conv, gate, dilation=layer.dilation)
            told = functional.conv1d(both[:, :width].tanh() * both[:, width:].sigmoid(), *layer.out)
            if told.shape[1] > width:
                x = x + told[:, :width]
            total = total + told[:, -width:]
        return total


def _reflected(x: Tensor, padding: int) -> Tensor:
    """Pad time by reflection; a sequence too short to be reflected is first made longer with zeros, then cut again."""
    missing = max(0, padding + 1 - x.shape[2])
    padded = functional.pad(functional.pad(x, (0, missing)), (padding, padding), mode="reflect")
    return padded[:, :, : padded.shape[2] - missing]


def _conv_shapes(name: str, out: int, into: int, kernel: int) -> dict[str, tuple[int, ...]]:
    full = f"{name}.conv.conv"
    return {f"{full}.weight_g": (out, 1, 1), f"{full}.weight_v": (out, into, kernel), f"{full}.bias": (out,)}


def _conv(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    full = f"{name}.conv.conv"
    return weight_normed(weights, full), weights[f"{full}.bias"]
