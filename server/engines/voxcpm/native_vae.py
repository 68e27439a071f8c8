"""The audio VAE of VoxCPM, native: the same numbers as `audio_vae.py`, on the CPU. Knows only tensors."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import (
    DecoderState,
    Layer,
    Stage,
    StageReader,
    receptive_frames,
)
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.engines.voxcpm.packed_cache import PackedLayers
from intone.server.engines.weights import Weights
from intone.server.nn.causal_conv import CausalConv, CausalConvToOne, CausalConvTranspose, CausalDepthwiseConv
from intone.server.ops import ensure_built


class NativeAudioVAE:
    """As `AudioVAE`: its attributes, its methods, its states. float32 on the CPU.

    Any cut of a stream, and any company of other streams, gives the same audio to the bit. It computes on as many
    threads as torch is set to, without the interpreter's lock.
    """

    def __init__(
        self,
        config: AudioVAEConfig,
        weights: Weights,
        isa: str = "best",
        layers: PackedLayers | None = None,
    ) -> None:
        """`weights` as for `AudioVAE`; `isa` names an instruction set, which only tests do.

        Packed layers come from `layers`, which then are all that is looked at; None packs them.

        Raises:
            RuntimeError: this processor does not have it.
        """
        layers = layers or PackedLayers()
        read = StageReader(config, weights)
        taken = partial(ensure_built().ConvChain.of_packed, isa=isa)
        self.config = config
        self.hop_in_samples = prod(config.encoder_rates)
        self.hop_out_samples = prod(config.decoder_rates)
        self.receptive_frames = receptive_frames(config)
        # One after the other: what is folded takes as much memory again until it is packed.
        self.encoder = layers.part("vae.encoder", taken, lambda: _chain(read.encoder(), isa))
        self.decoder = layers.part("vae.decoder", taken, lambda: _chain(read.decoder(), isa))

    def encode(self, audio: Tensor) -> Tensor:
        """As `AudioVAE.encode`."""
        if audio.dim() != 2 or audio.shape[1] == 0 or audio.shape[1] % self.hop_in_samples:
            raise ValueError(f"audio is {tuple(audio.shape)}, expected [B, a multiple of {self.hop_in_samples}]")
        silence = _silence(self.encoder, 1)
        heard = self.encoder.run([row.unsqueeze(1) for row in audio], [silence] * audio.shape[0])
        return torch.stack([result.output.T for result in heard]).contiguous()

    def initial_state(self, batch: int = 1) -> DecoderState:
        """As `AudioVAE.initial_state`."""
        return DecoderState(tuple(_silence(self.decoder, batch)))

    def decode(self, latents: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """As `AudioVAE.decode`."""
        decoded = self.decode_each(list(latents), state.split())
        return torch.stack([audio for audio, _ in decoded]), DecoderState.stack([after for _, after in decoded])

    def decode_each(
        self, frames: Sequence[Tensor], states: Sequence[DecoderState]
    ) -> list[tuple[Tensor, DecoderState]]:
        """As `AudioVAE.decode_each`; all streams are decoded together."""
        wanted = self.config.latent_dim
        for latents in frames:
            if latents.dim() != 2 or latents.shape[0] != wanted or latents.shape[1] == 0:
                raise ValueError(f"latents are {tuple(latents.shape)}, expected [{wanted}, 1 or more] of each stream")
        decoded = self.decoder.run([latents.T for latents in frames], [list(state.tensors) for state in states])
        return [(result.output[:, 0].tanh_(), DecoderState(tuple(result.tails))) for result in decoded]


def _chain(stages: Sequence[Stage], isa: str) -> Any:
    native = ensure_built()
    return native.ConvChain(stages=[_described(native, stage) for stage in stages], isa=isa)


def _silence(chain: Any, batch: int) -> list[Tensor]:
    """The tails of `batch` streams before their first row."""
    return [torch.zeros(batch, rows, channels) for rows, channels in chain.tail_shapes]


def _described(native: Any, stage: Stage) -> Any:
    """A stage as one matrix, which a window of rows is multiplied with, and what stands before that."""
    conv = stage.conv
    taps = conv if isinstance(conv, CausalDepthwiseConv) else None
    weight, bias = stage.then if stage.then is not None else _matrix(conv)
    return native.StageWeights(
        alpha=stage.alpha,
        scale=stage.scale,
        shift=stage.shift,
        taps=taps.taps if taps else None,
        taps_bias=taps.bias if taps else None,
        taps_alpha=stage.then_alpha,
        weight=weight,
        bias=bias,
        dilation=taps.dilation if taps else 1,
        window=weight.shape[1] // conv.channels,
        stride=conv.stride if isinstance(conv, CausalConv) else 1,
        up=conv.stride if isinstance(conv, CausalConvTranspose) else 1,
        tail_rows=conv.tail_rows,
        residual=stage.residual,
    )


def _matrix(conv: Layer) -> tuple[Tensor, Tensor]:
    if isinstance(conv, CausalConvToOne):
        return conv.weight.reshape(1, -1), conv.bias
    assert isinstance(conv, CausalConv | CausalConvTranspose), "a depthwise convolution is followed by a linear layer"
    return conv.weight, conv.bias
