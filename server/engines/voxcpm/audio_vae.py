"""The audio VAE of VoxCPM in torch: recordings to latent frames, latent frames to audio. Streaming, chunk-invariant.

Encoder and decoder are chains of causal stages that keep a tail each, so a decoder's state is a tuple of tails.
`native_vae.py` is the one used on the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import DILATIONS, KERNEL, AudioVAEConfig
from intone.server.engines.weights import Shapes, Weights, declared_shapes
from intone.server.nn.causal_conv import (
    CausalConv,
    CausalConvToOne,
    CausalConvTranspose,
    CausalDepthwiseConv,
    fold_weight_norm,
)
from intone.server.nn.snake import snake_rows

EncoderState = tuple[Tensor, ...]
"""The tails of an encoder's stages, `[1, rows, channels]` each."""

ENCODE_FRAMES = 16  # encoded at a time, which bounds memory for long recordings


@dataclass(frozen=True)
class DecoderState:
    """The decoder's state of one stream, or of several in a batch. Immutable: decoding returns a new one.

    Attributes:
        tensors: `[B, rows, channels]` each, one for each stage of the decoder.
    """

    tensors: tuple[Tensor, ...]

    @classmethod
    def stack(cls, states: Sequence["DecoderState"]) -> "DecoderState":
        """The states of several streams as one batch."""
        return cls(tuple(torch.cat(parts) for parts in zip(*(state.tensors for state in states), strict=True)))

    def split(self) -> list["DecoderState"]:
        """One state per stream; copies, so that keeping one does not keep the whole batch alive."""
        batch = self.tensors[0].shape[0]
        return [DecoderState(tuple(t[row : row + 1].clone() for t in self.tensors)) for row in range(batch)]


class Layer(Protocol):
    """A causal convolution of `nn.causal_conv`."""

    @property
    def bias(self) -> Tensor:
        """`[C]`, with the device and dtype of the layer."""

    @property
    def tail_rows(self) -> int:
        """Rows of past that it keeps."""

    @property
    def channels(self) -> int:
        """Channels of those rows."""

    def __call__(self, x: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk: `[B, T, C]` and `[B, tail_rows, C]` to the output and the next tail."""


@dataclass(frozen=True)
class Stage:
    """A convolution and the layers around it: `then(conv(snake(x·scale + shift)))`, plus `x` in a residual unit.

    Attributes:
        conv: the only part with state.
        alpha: `[Cin]` of the activation before it.
        scale, shift: `[Cin]`, the output rate conditioning of a version 2 decoder.
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
    """Encoder and decoder; immutable, so any number of streams share one.

    Attributes:
        hop_in_samples: samples of `encode`'s input to a latent frame.
        hop_out_samples: samples of `decode`'s output to a latent frame.
        receptive_frames: latent frames, its own included, that a sample of the output depends on. A decoder that has
            decoded this many frames does not depend on earlier ones.
        encoder, decoder: the stages, one after the other.
    """

    def __init__(self, config: AudioVAEConfig, weights: Weights) -> None:
        """`weights` are float32, on the device that computes."""
        read = StageReader(config, weights)
        self.config = config
        self.hop_in_samples = prod(config.encoder_rates)
        self.hop_out_samples = prod(config.decoder_rates)
        self.receptive_frames = receptive_frames(config)
        self.encoder = read.encoder()
        self.decoder = read.decoder()

    def encode(self, audio: Tensor) -> Tensor:
        """The latents' mean: `[B, T]` at the input rate, T a multiple of `hop_in_samples` → `[B, D, T / hop]`."""
        if audio.dim() != 2 or audio.shape[1] == 0 or audio.shape[1] % self.hop_in_samples:
            raise ValueError(f"audio is {tuple(audio.shape)}, expected [B, a multiple of {self.hop_in_samples}]")
        state: EncoderState = self._tails(self.encoder, audio.shape[0])
        frames: list[Tensor] = []
        for piece in torch.split(audio, ENCODE_FRAMES * self.hop_in_samples, dim=1):
            latents, state = _run(self.encoder, piece.unsqueeze(2), state)
            frames.append(latents)
        return torch.cat(frames, 1).transpose(1, 2).contiguous()

    def initial_encoder_state(self) -> EncoderState:
        """The encoder's state before the first sample of a recording."""
        return self._tails(self.encoder, 1)

    def encode_next(self, samples: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Encode more of a recording: `[T]`, as in `encode`, → latents `[D, T / hop]`, new state."""
        latents, state = _run(self.encoder, samples[None, :, None], state)
        return latents[0].T, state

    def initial_state(self, batch: int = 1) -> DecoderState:
        """The state of `batch` streams before their first frame."""
        return DecoderState(self._tails(self.decoder, batch))

    def decode(self, latents: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Decode more frames: latents `[B, D, N]`, N > 0 → audio `[B, N·hop_out_samples]` in [-1, 1], new state."""
        if latents.dim() != 3 or latents.shape[1] != self.config.latent_dim or latents.shape[2] == 0:
            raise ValueError(f"latents are {tuple(latents.shape)}, expected [B, {self.config.latent_dim}, 1 or more]")
        audio, tails = _run(self.decoder, latents.transpose(1, 2), state.tensors)
        return audio.tanh_(), DecoderState(tails)

    def decode_each(
        self, frames: Sequence[Tensor], states: Sequence[DecoderState]
    ) -> list[tuple[Tensor, DecoderState]]:
        """Decode the next frames of every stream: latents `[D, N]` each → audio `[N·hop_out_samples]` and next state.

        Streams with the same number of frames are batched.
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
    """The attribute of `AudioVAE`.

    Counted backwards from an output sample: rows of past at the output, then at each stage's input, then its own frame.
    """
    past = KERNEL - 1
    for rate in reversed(config.decoder_rates):
        past += (KERNEL - 1) * sum(DILATIONS)
        past = -(-past // rate) + 1
    return past + KERNEL


def tensor_shapes(config: AudioVAEConfig) -> Shapes:
    """Every tensor of the checkpoint, weight norm unfolded: published name → shape."""
    return declared_shapes(lambda weights: AudioVAE(config, weights))


def random_tensors(config: AudioVAEConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """An untrained checkpoint under the published names; reproducible from the generator's state.

    Gains keep the variance of activations near 1, so that latents of variance 1 decode to noise of about a tenth of
    full scale.
    """
    head = f"decoder.model.{len(config.decoder_rates) + 3}"
    gains = {head: 0.1}
    for i, rate in enumerate(config.decoder_rates):
        gains[f"decoder.model.{i + 2}.block.1"] = sqrt(rate / 2) * 0.8
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        layer, kind = name.rsplit(".", 1)
        if kind == "sr_bin_boundaries":
            tensors[name] = torch.tensor(config.sr_bin_boundaries, dtype=torch.int32)
            continue
        noise = torch.randn(shape, generator=generator)
        if kind == "weight_g":
            ordinary = 0.3 if layer.endswith(".block.3") else 0.9  # the former ends a residual unit
            tensors[name] = gains.get(layer, ordinary) * (1 + 0.1 * noise.clamp(-3, 3))
        elif kind == "alpha" or "scale_embed" in name:
            tensors[name] = 1 + 0.1 * noise.clamp(-3, 3)
        else:
            tensors[name] = noise if kind == "weight_v" else 0.02 * noise
    return tensors


class StageReader:
    """Reads the stages of encoder and decoder and folds weight norm, in float32."""

    def __init__(self, config: AudioVAEConfig, weights: Weights) -> None:
        self._config, self._weights = config, weights

    def encoder(self) -> list[Stage]:
        """The stages of the encoder. The variance is not computed: only training samples from it."""
        config, channels = self._config, self._config.encoder_channels
        stages = [Stage(CausalConv.build(*self._conv("encoder.block.0", channels[0], 1, KERNEL)))]
        for i, rate in enumerate(config.encoder_rates):
            block = f"encoder.block.{i + 1}.block"
            stages += self._units(block, 0, channels[i])
            # Version 1 pads an odd stride by one more than version 2, which delays the kernel by a sample.
            past = rate + rate % 2 if config.version == 1 else rate
            alpha = self._alpha(f"{block}.3", channels[i])
            weight, bias = self._conv(f"{block}.4", channels[i + 1], channels[i], 2 * rate)
            stages.append(Stage(CausalConv.build(weight, bias, stride=rate, tail_rows=past), alpha=alpha))
        stages.append(Stage(CausalConv.build(*self._conv("encoder.fc_mu", config.latent_dim, channels[-1], 3))))
        for part, shape in _conv_shapes(config.latent_dim, channels[-1], 3).items():
            self._weights.unused(f"encoder.fc_logvar.{part}", shape)
        return stages

    def decoder(self) -> list[Stage]:
        """The stages of the decoder; the class of the output rate becomes a constant of each upsampling stage."""
        config, channels = self._config, self._config.decoder_channels
        first = CausalDepthwiseConv.build(*self._conv("decoder.model.0", config.latent_dim, 1, KERNEL))
        stages = [Stage(first, then=self._pointwise("decoder.model.1", channels[0], config.latent_dim))]
        for i, rate in enumerate(config.decoder_rates):
            block = f"decoder.model.{i + 2}.block"
            alpha = self._alpha(f"{block}.0", channels[i])
            weight, bias = self._conv(f"{block}.1", channels[i], channels[i + 1], 2 * rate, bias=channels[i + 1])
            up = CausalConvTranspose.build(weight, bias, stride=rate)
            units = self._units(block, 2, channels[i + 1])
            scale, shift = self._rate_class(i + 2, channels[i])
            stages += [Stage(up, alpha=alpha, scale=scale, shift=shift), *units]
        head = len(config.decoder_rates) + 2
        alpha = self._alpha(f"decoder.model.{head}", channels[-1])
        last = CausalConvToOne.build(*self._conv(f"decoder.model.{head + 1}", 1, channels[-1], KERNEL))
        return [*stages, Stage(last, alpha=alpha)]

    def _units(self, block: str, first: int, channels: int) -> list[Stage]:
        stages = []
        for n, dilation in enumerate(DILATIONS, first):
            unit = f"{block}.{n}.block"
            before, between = (self._alpha(f"{unit}.{at}", channels) for at in (0, 2))
            taps = CausalDepthwiseConv.build(*self._conv(f"{unit}.1", channels, 1, KERNEL), dilation=dilation)
            mix = self._pointwise(f"{unit}.3", channels, channels)
            stages.append(Stage(taps, alpha=before, then_alpha=between, then=mix, residual=True))
        return stages

    def _conv(self, name: str, *shape: int, bias: int | None = None) -> tuple[Tensor, Tensor]:
        """Weight `shape` and bias, as many numbers as outputs: `shape[0]` unless the convolution is transposed."""
        shapes = _conv_shapes(*shape, bias=bias)
        gain, direction, offset = (self._weights.tensor(f"{name}.{part}", s) for part, s in shapes.items())
        return fold_weight_norm(gain, direction), offset

    def _pointwise(self, name: str, out: int, into: int) -> tuple[Tensor, Tensor]:
        weight, bias = self._conv(name, out, into, 1)
        return weight[:, :, 0].contiguous(), bias

    def _alpha(self, name: str, channels: int) -> Tensor:
        return self._weights.tensor(f"{name}.alpha", (1, channels, 1)).flatten()

    def _rate_class(self, block: int, channels: int) -> tuple[Tensor | None, Tensor | None]:
        """Scale and shift `[C]` that a version 2 decoder applies for its output rate."""
        count = len(self._config.sr_bin_boundaries)
        if not count:
            return None, None
        boundaries = self._weights.tensor("decoder.sr_bin_boundaries", (count,))
        row = (boundaries < self._config.out_sample_rate_hz).sum().view(1)
        name = f"decoder.sr_cond_model.{block}"
        tables = (
            self._weights.tensor(f"{name}.{kind}_embed.weight", (count + 1, channels)) for kind in ("scale", "bias")
        )
        scale, shift = (table.index_select(0, row)[0] for table in tables)
        return scale, shift


def _conv_shapes(*weight: int, bias: int | None = None) -> dict[str, tuple[int, ...]]:
    return {"weight_g": (weight[0], 1, 1), "weight_v": weight, "bias": (weight[0] if bias is None else bias,)}
