"""The audio VAE of VoxCPM: recordings to latent frames, latent frames to sound, chunk by chunk. Knows only tensors.

Both directions are chains of causal stages with one tail each, so a decoder's state is a tuple of tails, and any way of
cutting the latents gives the same audio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import (
    DILATIONS,
    KERNEL,
    AudioVAEConfig,
    random_tensors,
    tensor_shapes,
)
from intone.server.nn.causal_conv import (
    CausalConv,
    CausalConvToOne,
    CausalConvTranspose,
    CausalDepthwiseConv,
    fold_weight_norm,
)
from intone.server.nn.snake import snake_rows

__all__ = ["AudioVAE", "AudioVAEConfig", "DecoderState", "random_tensors", "tensor_shapes"]

ENCODE_FRAMES = 16  # encoded at a time: bounds memory, whatever the recording's length


@dataclass(frozen=True)
class DecoderState:
    """What the decoder remembers of one stream, or of several in a batch. A value: decoding gives a new one.

    Attributes:
        tensors: `[B, rows, channels]` each, one for each stage of the decoder.
    """

    tensors: tuple[Tensor, ...]

    @classmethod
    def stack(cls, states: Sequence["DecoderState"]) -> "DecoderState":
        """One state of all streams, in order."""
        return cls(tuple(torch.cat(parts) for parts in zip(*(state.tensors for state in states), strict=True)))

    def split(self) -> list["DecoderState"]:
        """One state for each stream; copies, so that keeping one does not keep the batch."""
        batch = self.tensors[0].shape[0]
        return [DecoderState(tuple(t[row : row + 1].clone() for t in self.tensors)) for row in range(batch)]


class Layer(Protocol):
    """A causal convolution of `nn.causal_conv`."""

    @property
    def bias(self) -> Tensor:
        """Its bias; tells device and dtype."""

    @property
    def tail_rows(self) -> int:
        """Rows of past it keeps."""

    @property
    def channels(self) -> int:
        """Channels of those rows."""

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk: `[B, T, C]` and `[B, tail_rows, C]` to the output and the next tail."""


@dataclass(frozen=True)
class Stage:
    """A convolution and what stands around it: `then(conv(snake(x·scale + shift)))`, plus `x` in a residual unit.

    Attributes:
        conv: the part with a past.
        alpha: `[Cin]` of the activation before it.
        scale, shift: `[Cin]`, what tells a version 2 decoder its output rate.
        then_alpha: `[C]` of the activation after it.
        then: weight `[Cout, C]` and bias `[Cout]` of the linear layer after that.
    """

    conv: Layer
    alpha: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None
    then_alpha: Tensor | None = None
    then: tuple[Tensor, Tensor] | None = None
    residual: bool = False

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk, as in `Layer`."""
        if self.scale is not None and self.shift is not None:
            x = torch.addcmul(self.shift, x, self.scale)
        y = x if self.alpha is None else snake_rows(x, self.alpha)
        y, tail = self.conv(y, tail)
        if self.then_alpha is not None:
            y = snake_rows(y, self.then_alpha)
        if self.then is not None:
            y = F.linear(y, *self.then)
        return (y.add_(x) if self.residual else y), tail


def _run(stages: Sequence[Stage], x: Tensor, tails: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    after: list[Tensor] = []
    for stage, tail in zip(stages, tails, strict=True):
        x, tail = stage(x, tail)
        after.append(tail)
    return x, tuple(after)


class AudioVAE:
    """Encoder and decoder; immutable once built, so any number of streams share one.

    Attributes:
        hop_in_samples: samples of `encode`'s input to a latent frame.
        hop_out_samples: samples of `decode`'s output to a latent frame.
        receptive_frames: latent frames, its own included, that a sample of the output depends on. A decoder that has
            seen that many frames is as if it had seen all before them.
        encoder, decoder: the stages, one after the other.
    """

    def __init__(self, config: AudioVAEConfig, tensors: Mapping[str, Tensor]) -> None:
        """`tensors` as `tensor_shapes` describes them, on the device that shall compute."""
        read = StageReader(config, tensors)
        self.config = config
        self.hop_in_samples = prod(config.encoder_rates)
        self.hop_out_samples = prod(config.decoder_rates)
        self.receptive_frames = receptive_frames(config)
        self.encoder = read.encoder()
        self.decoder = read.decoder()

    def encode(self, audio: Tensor) -> Tensor:
        """The mean of the latents: `[B, T]` at the input rate, T a multiple of `hop_in_samples` → `[B, D, T / hop]`."""
        if audio.dim() != 2 or audio.shape[1] == 0 or audio.shape[1] % self.hop_in_samples:
            raise ValueError(f"audio is {tuple(audio.shape)}, expected [B, a multiple of {self.hop_in_samples}]")
        tails = self._tails(self.encoder, audio.shape[0])
        frames: list[Tensor] = []
        for piece in torch.split(audio, ENCODE_FRAMES * self.hop_in_samples, dim=1):
            latents, tails = _run(self.encoder, piece.unsqueeze(2), tails)
            frames.append(latents)
        return torch.cat(frames, 1).transpose(1, 2).contiguous()

    def initial_state(self, batch: int = 1) -> DecoderState:
        """The state of `batch` streams before their first frame."""
        return DecoderState(self._tails(self.decoder, batch))

    def decode(self, latents: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Go on: latents `[B, D, N]`, N at least 1 → audio `[B, N·hop_out_samples]` in [-1, 1], and the state after."""
        if latents.dim() != 3 or latents.shape[1] != self.config.latent_dim or latents.shape[2] == 0:
            raise ValueError(f"latents are {tuple(latents.shape)}, expected [B, {self.config.latent_dim}, 1 or more]")
        audio, tails = _run(self.decoder, latents.transpose(1, 2), state.tensors)
        return audio.tanh_(), DecoderState(tails)

    def decode_each(
        self, frames: Sequence[Tensor], states: Sequence[DecoderState]
    ) -> list[tuple[Tensor, DecoderState]]:
        """Go on with every stream: latents `[D, N]` each → audio `[N·hop_out_samples]` and the state after, in order.

        Streams with as many frames are decoded together.
        """
        results: dict[int, tuple[Tensor, DecoderState]] = {}
        groups: dict[int, list[int]] = {}
        for row, latents in enumerate(frames):
            groups.setdefault(latents.shape[1], []).append(row)
        for rows in groups.values():
            alone = len(rows) == 1
            state = states[rows[0]] if alone else DecoderState.stack([states[row] for row in rows])
            audio, state = self.decode(torch.stack([frames[row] for row in rows]), state)
            after = [state] if alone else state.split()
            results.update((row, (audio[at], after[at])) for at, row in enumerate(rows))
        return [results[row] for row in range(len(frames))]

    @staticmethod
    def _tails(stages: Sequence[Stage], batch: int) -> tuple[Tensor, ...]:
        return tuple(s.conv.bias.new_zeros(batch, s.conv.tail_rows, s.conv.channels) for s in stages)


def receptive_frames(config: AudioVAEConfig) -> int:
    """See `AudioVAE`.

    Counts backwards from a sample: rows of past at the output, then at each stage's input; then its own frame.
    """
    past = KERNEL - 1
    for rate in reversed(config.decoder_rates):
        past += (KERNEL - 1) * sum(DILATIONS)
        past = -(-past // rate) + 1
    return past + KERNEL


class StageReader:
    """Builds the stages from published tensors: folds weight norm, in float32."""

    def __init__(self, config: AudioVAEConfig, tensors: Mapping[str, Tensor]) -> None:
        self._config = config
        self._tensors = tensors

    def encoder(self) -> list[Stage]:
        """All but the variance, which only training samples."""
        config = self._config
        stages = [Stage(CausalConv.build(*self._conv("encoder.block.0")))]
        for i, rate in enumerate(config.encoder_rates):
            block = f"encoder.block.{i + 1}.block"
            stages += self._units(block, 0)
            # Version 1 pads an odd stride by one more than version 2, which delays the kernel by a sample.
            past = rate + rate % 2 if config.version == 1 else rate
            conv = CausalConv.build(*self._conv(f"{block}.4"), stride=rate, tail_rows=past)
            stages.append(Stage(conv, alpha=self._alpha(f"{block}.3")))
        return [*stages, Stage(CausalConv.build(*self._conv("encoder.fc_mu")))]

    def decoder(self) -> list[Stage]:
        """All of it; the output rate's class becomes a constant of each upsampling."""
        config = self._config
        stem, stem_bias = self._conv("decoder.model.1")
        first = CausalDepthwiseConv.build(*self._conv("decoder.model.0"))
        stages = [Stage(first, then=(stem[:, :, 0].contiguous(), stem_bias))]
        for i, rate in enumerate(config.decoder_rates):
            block = f"decoder.model.{i + 2}.block"
            scale, shift = self._rate_class(i + 2)
            up = CausalConvTranspose.build(*self._conv(f"{block}.1"), stride=rate)
            stages.append(Stage(up, alpha=self._alpha(f"{block}.0"), scale=scale, shift=shift))
            stages += self._units(block, 2)
        head = len(config.decoder_rates) + 2
        last = CausalConvToOne.build(*self._conv(f"decoder.model.{head + 1}"))
        return [*stages, Stage(last, alpha=self._alpha(f"decoder.model.{head}"))]

    def _units(self, block: str, first: int) -> list[Stage]:
        stages = []
        for n, dilation in enumerate(DILATIONS, first):
            unit = f"{block}.{n}.block"
            mix, mix_bias = self._conv(f"{unit}.3")
            stages.append(
                Stage(
                    CausalDepthwiseConv.build(*self._conv(f"{unit}.1"), dilation=dilation),
                    alpha=self._alpha(f"{unit}.0"),
                    then_alpha=self._alpha(f"{unit}.2"),
                    then=(mix[:, :, 0].contiguous(), mix_bias),
                    residual=True,
                )
            )
        return stages

    def _conv(self, name: str) -> tuple[Tensor, Tensor]:
        gain, direction, bias = (self._tensors[f"{name}.{part}"].float() for part in ("weight_g", "weight_v", "bias"))
        return fold_weight_norm(gain, direction), bias

    def _alpha(self, name: str) -> Tensor:
        return self._tensors[f"{name}.alpha"].float().flatten()

    def _rate_class(self, block: int) -> tuple[Tensor | None, Tensor | None]:
        if not self._config.sr_bin_boundaries:
            return None, None
        boundaries = self._tensors["decoder.sr_bin_boundaries"].tolist()
        row = sum(boundary < self._config.out_sample_rate_hz for boundary in boundaries)
        name = f"decoder.sr_cond_model.{block}"
        scale, shift = (self._tensors[f"{name}.{kind}_embed.weight"][row].float() for kind in ("scale", "bias"))
        return scale, shift
