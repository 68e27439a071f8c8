"""BigVGAN as one native call for each chunk, on the CPU: `csrc/runtimes/conv_graph.h`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.nn.lookahead import AntiAliasedSnake, Layer, LookaheadConv, LookaheadConvTranspose, Mean, Residual
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops import _C

MAX_FRAMES = 512
"""Frames that are decoded at once: bounds the memory of a call to 200 MB at the published size."""


class NativeBigVGAN:
    """The vocoder with packed weights; immutable, shared by all streams. Equals `BigVGAN` to 1e-5 of the peak.

    Attributes:
        hop_samples, lag_samples, lookahead_frames: as in `BigVGAN`.
        weight_bytes: size of the packed weights, twice that of the weights.
    """

    def __init__(self, vocoder: BigVGAN, isa: str = "best") -> None:
        """Packs the weights of `vocoder`, which is not needed after; `isa` as in `_C.ConvGraph`."""
        self._graph = ensure_built().ConvGraph(layers=graph_layers(vocoder.layers), isa=isa)
        assert (self._graph.rate, self._graph.lag) == (vocoder.hop_samples, vocoder.lag_samples)
        self.weight_bytes = self._graph.weight_bytes
        self._mel_bands = vocoder.config.mel_bands
        self.hop_samples, self.lag_samples = vocoder.hop_samples, vocoder.lag_samples
        self.lookahead_frames = vocoder.lookahead_frames

    def initial_state(self) -> "_C.ConvGraphState":
        """The state of a stream before its first frame."""
        return self._graph.new_state()

    def extend(
        self, mel: Tensor, following: Tensor, state: "_C.ConvGraphState", last: bool
    ) -> tuple[Tensor, Tensor, "_C.ConvGraphState"]:
        """As `BigVGAN.extend`; the state is changed and returned."""
        if mel.dim() != 2 or mel.shape[0] != self._mel_bands:
            raise ValueError(f"mel is {tuple(mel.shape)}, expected [{self._mel_bands}, N]")
        near = following[:, : 0 if last else self.lookahead_frames]
        *pieces, rest = mel.split(MAX_FRAMES, 1)
        made = [
            self._graph.run([piece], [mel[:, :0]], [state], last=False, provisional=False)[0][0] for piece in pieces
        ]
        ((final, pending),) = self._graph.run([rest], [near], [state], last=last, provisional=not last)
        return torch.cat((*made, final), 1)[0].clamp(-1.0, 1.0), pending[0].clamp(-1.0, 1.0), state


@dataclass
class _Builder:
    """Numbers signals from 1 on, one for each layer; 0 is the mel.

    Attributes:
        sources: the signals whose mean the next layer reads.
    """

    layers: list["_C.GraphLayerWeights"] = field(default_factory=list)
    sources: list[int] = field(default_factory=lambda: [0])

    def add(
        self, layer: LookaheadConv | LookaheadConvTranspose, snake: AntiAliasedSnake | None, residual: int | None
    ) -> None:
        """A convolution with the activation before it and the signal that is added to it."""
        weight, bias, dilation, up = layer.weight, layer.bias, 1, 1
        if isinstance(layer, LookaheadConv):
            dilation = layer.dilation
        else:
            up = layer.rate
            both = torch.stack((weight[:, :, up:], weight[:, :, :up]), 3)  # of the input before, and of its own
            weight = both.permute(2, 1, 0, 3).reshape(-1, len(weight), 2)
            bias = layer.bias.repeat(up)
        target = len(self.layers) + 1
        self.layers.append(
            ensure_built().GraphLayerWeights(
                sources=self.sources,
                target=target,
                residual=residual,
                weight=weight,
                bias=bias,
                alpha=None if snake is None else snake.alpha,
                beta=None if snake is None else snake.beta,
                dilation=dilation,
                up=up,
                gain=1 / len(self.sources),
            )
        )
        self.sources = [target]

    def chain(self, layers: Sequence[Layer], residual: int | None = None) -> None:
        """Layers one after another; `residual` is added to the last one's output."""
        snake = None
        for layer in layers:
            if isinstance(layer, AntiAliasedSnake):
                snake = layer
            elif isinstance(layer, Residual):
                self.chain(layer.inner, self.sources[0])
            elif isinstance(layer, Mean):
                start = self.sources
                self.sources = [self._branch(branch, start) for branch in layer.branches]
            elif isinstance(layer, LookaheadConv | LookaheadConvTranspose):
                self.add(layer, snake, residual if layer is layers[-1] else None)
                snake = None
            else:
                raise TypeError(f"no native layer for {layer}")

    def _branch(self, layers: Sequence[Layer], sources: list[int]) -> int:
        self.sources = sources
        self.chain(layers)
        return self.sources[0]


def graph_layers(layers: Sequence[Layer]) -> list["_C.GraphLayerWeights"]:
    """The layers of a chain as `ConvGraph` takes them: each convolution with the activation before it."""
    builder = _Builder()
    builder.chain(layers)
    return builder.layers
