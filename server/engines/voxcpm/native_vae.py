"""The native audio VAE of VoxCPM on the CPU, equivalent to `audio_vae.py`."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.engines.packed_cache import PackedLayers
from intone.server.engines.voxcpm.audio_vae import (
    DecoderState,
    EncoderState,
    Layer,
    Stage,
    StageReader,
    receptive_frames,
)
from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from intone.server.engines.weights import Weights
from intone.server.nn.causal_conv import CausalConv, CausalConvToOne, CausalConvTranspose, CausalDepthwiseConv
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops._C import ConvChain, StageWeights


class NativeAudioVAE:
    """As `AudioVAE`, with the same attributes, methods and states. float32 on the CPU.

    Chunk-invariant and batch-invariant, bit for bit. Releases the GIL and uses as many threads as torch is set to.
    """

    def __init__(
        self,
        config: AudioVAEConfig,
        weights: Weights,
        isa: str = "best",
        layers: PackedLayers | None = None,
    ) -> None:
        """`weights` as for `AudioVAE`; `isa` is an instruction set, only set by tests.

        With packed tensors in `layers` the weights are not read; None packs them.

        Raises:
            RuntimeError: this processor lacks the instruction set.
        """
        layers = layers or PackedLayers()
        read = StageReader(config, weights)
        load = partial(ensure_built().ConvChain.of_packed, isa=isa)
        self.config = config
        self.hop_in_samples = prod(config.encoder_rates)
        self.hop_out_samples = prod(config.decoder_rates)
        self.receptive_frames = receptive_frames(config)
        # One after the other: folded weights take as much memory again until they are packed.
        self.encoder = layers.part("vae.encoder", load, lambda: _chain(read.encoder(), isa))
        self.decoder = layers.part("vae.decoder", load, lambda: _chain(read.decoder(), isa))

    def encode(self, audio: Tensor) -> Tensor:
        """As `AudioVAE.encode`."""
        if audio.dim() != 2 or audio.shape[1] == 0 or audio.shape[1] % self.hop_in_samples:
            raise ValueError(f"audio is {tuple(audio.shape)}, expected [B, a multiple of {self.hop_in_samples}]")
        tails = _initial_tails(self.encoder, 1)
        encoded = self.encoder.run([row.unsqueeze(1) for row in audio], [tails] * audio.shape[0])
        return torch.stack([result.output.T for result in encoded]).contiguous()

    def initial_encoder_state(self) -> EncoderState:
        """As `AudioVAE.initial_encoder_state`."""
        return tuple(_initial_tails(self.encoder, 1))

    def encode_next(self, samples: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """As `AudioVAE.encode_next`."""
        (encoded,) = self.encoder.run([samples.unsqueeze(1)], [list(state)])
        return encoded.output.T, tuple(encoded.tails)

    def initial_state(self, batch: int = 1) -> DecoderState:
        """As `AudioVAE.initial_state`."""
        return DecoderState(tuple(_initial_tails(self.decoder, batch)))

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


def _chain(stages: Sequence[Stage], isa: str) -> "ConvChain":
    return ensure_built().ConvChain(stages=[_stage_weights(stage) for stage in stages], isa=isa)


def _initial_tails(chain: "ConvChain", batch: int) -> list[Tensor]:
    """The tails of `batch` streams before their first row."""
    return [torch.zeros(batch, rows, channels) for rows, channels in chain.tail_shapes]


def _stage_weights(stage: Stage) -> "StageWeights":
    """A stage as one matrix, which windows of rows are multiplied by, and the parts before it."""
    conv = stage.conv
    taps = conv if isinstance(conv, CausalDepthwiseConv) else None
    weight, bias = stage.then if stage.then is not None else _matrix(conv)
    return ensure_built().StageWeights(
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
