"""The decoder of VoxCPM's audio VAE for a GPU: a few fused kernels for each stage, the tails of all units in slots.

Computes what `audio_vae.AudioVAE.decode` does. A convolution to many channels is the product of a matrix of windows, by
cuBLAS; the other layers are kernels of `csrc/cuda`.
"""

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.voxcpm.audio_vae import AudioVAE, DecoderState, Stage
from intone.server.nn.causal_conv import CausalConvToOne, CausalConvTranspose, CausalDepthwiseConv


class SlotDecoder:
    """The decoder and the tails of units in `slots` slots.

    Attributes:
        tails: `[slots, W]`, for each unit the tails of all stages, one after the other.
    """

    def __init__(self, vae: AudioVAE, slots: int) -> None:
        shapes = [part.shape[1:] for part in vae.initial_state().tensors]
        sizes = [prod(shape) for shape in shapes]
        self._stages = tuple(zip(vae.decoder, (sum(sizes[:n]) for n in range(len(sizes))), strict=True))
        self.tails = vae.decoder[0].conv.bias.new_zeros(slots, sum(sizes))

    def admit(self, slot: int, state: DecoderState) -> None:
        """Give the unit in a slot its first tails."""
        torch.cat([part.flatten() for part in state.tensors], out=self.tails[slot])

    def decode(self, latents: Tensor, slots: Tensor) -> Tensor:
        """The next frames of units: latents `[B, N, D]` and their slots `[B]`, int64 → audio `[B, T]`."""
        after = self.tails.new_empty(slots.shape[0], self.tails.shape[1])
        x = latents
        for stage, first in self._stages:
            x = self._through(stage, x, slots, first, after)
        self.tails.index_copy_(0, slots, after)
        return x

    def _through(self, stage: Stage, x: Tensor, slots: Tensor, first: int, after: Tensor) -> Tensor:
        conv, own = stage.conv, (self.tails, slots, first, after)
        if isinstance(conv, CausalConvTranspose):
            windows = ops.causal_windows(x, stage.scale, stage.shift, stage.alpha, conv.tail_rows, *own)
            y = functional.linear(windows, conv.weight, conv.bias)
            return y.view(x.shape[0], x.shape[1] * conv.stride, -1)
        if isinstance(conv, CausalConvToOne):
            assert stage.alpha is not None, "every decoder has an activation before its last layer"
            return ops.causal_to_one(x, stage.alpha, conv.weight, conv.bias, *own)
        assert isinstance(conv, CausalDepthwiseConv), "a decoder has no other layer"
        y = ops.causal_taps(x, stage.alpha, conv.taps, conv.bias, conv.dilation, stage.then_alpha, *own)
        if stage.then is not None:
            y = functional.linear(y, *stage.then)
        return y.add_(x) if stage.residual else y
