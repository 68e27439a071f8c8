"""BigVGAN v2 (arXiv 2206.04658), the vocoder: mel frames to sound, chunk by chunk. Knows only tensors.

Every layer looks ahead, so the sound of the last frames is not final until more have come: `decode` gives what is, and
`peek` gives the rest, as it would be after frames that are expected to follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import ENGINE, BigVGANConfig
from intone.server.engines.indextts.checkpoint.folding import weight_normed
from intone.server.engines.weights import Weights
from intone.server.errors import CheckpointError
from intone.server.nn.lookahead import (
    AntiAliasedSnake,
    Layer,
    LookaheadConv,
    LookaheadConvTranspose,
    Mean,
    Residual,
    lag_of,
    run,
)
from intone.server.ops.reference import anti_alias_filter

KERNEL = 7  # of the first and the last convolution
FILTER_ERROR = 1e-6  # of a published anti-alias filter: it is stored in float32
FULL_TAIL = 10  # samples out after which no tail grows any more


@dataclass(frozen=True, slots=True)
class BigVGANState:
    """What the vocoder remembers of one stream, or of several in a batch. A value: decoding gives a new one.

    Attributes:
        tails: `[B, channels, samples]` each, in the order of the layers.
        frames: how many came, counted up to `BigVGAN.settled_frames`. States that differ in it cannot be in one batch.
        ended: the last frame has come.
    """

    tails: tuple[Tensor, ...]
    frames: int
    ended: bool = False

    @classmethod
    def stack(cls, states: Sequence["BigVGANState"]) -> "BigVGANState":
        """One state of all streams, in order; all with the same `frames`."""
        assert len({(state.frames, state.ended) for state in states}) == 1, "the caller groups states by their frames"
        parts = zip(*(state.tails for state in states), strict=True)
        return cls(tuple(torch.cat(part) for part in parts), states[0].frames, states[0].ended)

    def split(self) -> list["BigVGANState"]:
        """One state for each stream; copies, so that keeping one does not keep the batch."""
        batch = self.tails[0].shape[0]
        return [
            BigVGANState(tuple(tail[row : row + 1].clone() for tail in self.tails), self.frames, self.ended)
            for row in range(batch)
        ]


class BigVGAN:
    """The vocoder; immutable once built, so any number of streams share one.

    Attributes:
        hop_samples: samples to a frame.
        lag_samples: of N frames, the last so many samples are not final. No implementation could give them earlier.
        lookahead_frames: frames after a frame that its sound depends on.
        settled_frames: from this many frames on all states are alike, and any of them fit in one batch.
    """

    def __init__(self, config: BigVGANConfig, weights: Weights) -> None:
        """`weights` as `tensor_shapes` describes.

        Raises:
            CheckpointError: an anti-alias filter is another one than BigVGAN v2's.
        """
        self.config = config
        self._layers = _layers(config, weights)
        self.hop_samples = prod(config.rates)
        self.lag_samples = lag_of(self._layers)
        self.lookahead_frames = -(-self.lag_samples // self.hop_samples)
        self.settled_frames = -(-(self.lag_samples + FULL_TAIL) // self.hop_samples)

    def initial_state(self, batch: int = 1) -> BigVGANState:
        """The state of `batch` streams before their first frame."""
        return BigVGANState(tuple(tail for layer in self._layers for tail in layer.tails(batch)), 0)

    def decode(self, mel: Tensor, state: BigVGANState, last: bool) -> tuple[Tensor, BigVGANState]:
        """Go on: mel `[B, bands, N]` → the audio that has become final, `[B, n]` in [-1, 1], and the state after.

        After F frames `max(0, F · hop_samples - lag_samples)` samples have come out, and with `last` all of them. Any
        way of cutting the frames gives the same audio.

        Args:
            mel: N may be 0.
            last: no frame follows these.
        """
        assert not state.ended, "nothing follows the last frame"
        if mel.dim() != 3 or mel.shape[1] != self.config.mel_bands:
            raise ValueError(f"mel is {tuple(mel.shape)}, expected [B, {self.config.mel_bands}, N]")
        audio, tails = run(self._layers, mel, state.tails, last)
        frames = min(self.settled_frames, state.frames + mel.shape[2])
        return audio[:, 0].clamp(-1.0, 1.0), BigVGANState(tails, frames, ended=last)

    def pending_samples(self, state: BigVGANState) -> int:
        """How many samples of the frames that came are not final, and have not come out."""
        return 0 if state.ended else min(self.lag_samples, state.frames * self.hop_samples)

    def peek(self, mel: Tensor, state: BigVGANState, known: int = 0) -> Tensor:
        """What follows the audio that has come out, as it would be if `mel` followed the frames that came.

        It ends with the last frame that came, or, with `known`, with that many frames more. The state stays as it is:
        whoever sends these samples leaves as many away of what `decode` gives next. Each further frame makes them
        truer; with `lookahead_frames` true frames after the end they are exact.

        Two ways to send a chunk whose end is a guess: `decode` the certain frames, then peek at the guess; or, where
        the first sound is urgent, peek at all of them with `known` certain ones, send that, then `decode` those.

        Args:
            mel: `[B, bands, known + R]`. Frames beyond an R of `lookahead_frames` are not looked at; with R = 0 the
                stream is taken to end there.

        Returns:
            `[B, pending_samples(state) + known · hop_samples]`.
        """
        assert mel.shape[2] >= known, "frames are known only if they are given"
        audio, _ = self.decode(mel[:, :, : known + self.lookahead_frames], state, last=True)
        return audio[:, : self.pending_samples(state) + known * self.hop_samples]


def tensor_shapes(config: BigVGANConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape.

    Raises:
        CheckpointError: the configuration is of no vocoder that this code computes.
    """
    _check_config(config)
    shapes = _conv_shapes("conv_pre", config.channels, config.mel_bands, KERNEL)
    taps = len(anti_alias_filter())
    for index, (rate, kernels) in enumerate(_stages(config)):
        channels = config.channels >> (index + 1)
        up = f"ups.{index}.0"
        shapes |= {
            f"{up}.weight_g": (2 * channels, 1, 1),
            f"{up}.weight_v": (2 * channels, channels, 2 * rate),
            f"{up}.bias": (channels,),
        }
        for block, (kernel, dilations) in kernels.items():
            for step in range(len(dilations)):
                shapes |= _conv_shapes(f"{block}.convs1.{step}", channels, channels, kernel)
                shapes |= _conv_shapes(f"{block}.convs2.{step}", channels, channels, kernel)
            for step in range(2 * len(dilations)):
                shapes |= _activation_shapes(f"{block}.activations.{step}", channels, taps)
    channels = config.channels >> len(config.rates)
    last = _conv_shapes("conv_post", 1, channels, KERNEL)
    del last["conv_post.bias"]
    return shapes | _activation_shapes("activation_post", channels, taps) | last


def random_tensors(config: BigVGANConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained tensors under the published names; sound of about a tenth of full scale for a mel of variance 1."""
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("filter"):
            tensors[name] = anti_alias_filter().float().view(shape)
        elif name.endswith("weight_g"):
            # A row of weights of this length gives an output of its square times the input's variance.
            is_up, is_inner = name.startswith("ups."), name.startswith("resblocks.")
            rate = config.rates[int(name.split(".")[1])] if is_up else 1
            length = (rate / 2) ** 0.5 if is_up else 0.3 if is_inner else 0.1 if "post" in name else 1.0
            tensors[name] = length * (1 + 0.1 * noise.clamp(-3, 3))
        else:
            tensors[name] = noise if name.endswith("weight_v") else 0.1 * noise
    return tensors


def _conv_shapes(name: str, out: int, into: int, kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight_g": (out, 1, 1), f"{name}.weight_v": (out, into, kernel), f"{name}.bias": (out,)}


def _activation_shapes(name: str, channels: int, taps: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.act.alpha": (channels,),
        f"{name}.act.beta": (channels,),
        f"{name}.upsample.filter": (1, 1, taps),
        f"{name}.downsample.lowpass.filter": (1, 1, taps),
    }


def _stages(config: BigVGANConfig) -> list[tuple[int, dict[str, tuple[int, tuple[int, ...]]]]]:
    """Of each stage its rate and its blocks: name → kernel and dilations."""
    kinds = list(zip(config.block_kernels, config.block_dilations, strict=True))
    return [
        (rate, {f"resblocks.{stage * len(kinds) + index}": kind for index, kind in enumerate(kinds)})
        for stage, rate in enumerate(config.rates)
    ]


def _check_config(config: BigVGANConfig) -> None:
    faults = [
        f"upsample_kernel_sizes: {kernel} for a rate of {rate}, expected an even rate and twice that"
        for rate, kernel in zip(config.rates, config.rate_kernels, strict=False)
        if rate % 2 or kernel != 2 * rate
    ]
    if len(config.rates) != len(config.rate_kernels):
        faults.append(f"upsample_kernel_sizes: {len(config.rate_kernels)} for {len(config.rates)} rates")
    if config.channels % (1 << len(config.rates)):
        faults.append(f"upsample_initial_channel: {config.channels} cannot be halved {len(config.rates)} times")
    if len(config.block_kernels) != len(config.block_dilations) or any(
        kernel % 2 == 0 for kernel in config.block_kernels
    ):
        faults.append(f"resblock_kernel_sizes: {config.block_kernels}, expected odd ones, each with its dilations")
    if faults:
        raise CheckpointError(ENGINE, f"vocoder {'; '.join(faults)}")


def _layers(config: BigVGANConfig, weights: Weights) -> tuple[Layer, ...]:
    layers: list[Layer] = [_conv(weights, "conv_pre")]
    for index, (_, blocks) in enumerate(_stages(config)):
        up = f"ups.{index}.0"
        layers.append(LookaheadConvTranspose(weight_normed(weights, up), weights[f"{up}.bias"]))
        layers.append(Mean(tuple(_block(weights, name, dilations) for name, (_, dilations) in blocks.items())))
    return (*layers, _activation(weights, "activation_post"), LookaheadConv(weight_normed(weights, "conv_post")))


def _block(weights: Weights, name: str, dilations: tuple[int, ...]) -> tuple[Layer, ...]:
    return tuple(
        Residual(
            (
                _activation(weights, f"{name}.activations.{2 * step}"),
                _conv(weights, f"{name}.convs1.{step}", dilation),
                _activation(weights, f"{name}.activations.{2 * step + 1}"),
                _conv(weights, f"{name}.convs2.{step}"),
            )
        )
        for step, dilation in enumerate(dilations)
    )


def _conv(weights: Weights, name: str, dilation: int = 1) -> LookaheadConv:
    return LookaheadConv(weight_normed(weights, name), weights[f"{name}.bias"], dilation)


def _activation(weights: Weights, name: str) -> AntiAliasedSnake:
    """Its constants are stored as logarithms. Its filters are part of the operation, and checked to be those."""
    ours = anti_alias_filter()
    for kind in ("upsample.filter", "downsample.lowpass.filter"):
        theirs = weights[f"{name}.{kind}"].flatten()
        error = float((theirs.double() - ours.to(theirs.device)).abs().max())
        if not error <= FILTER_ERROR:  # also of what is not a number
            raise CheckpointError(ENGINE, f"{name}.{kind}: differs by {error:.1e} from the filter of BigVGAN v2")
    return AntiAliasedSnake(weights[f"{name}.act.alpha"].exp(), weights[f"{name}.act.beta"].exp())
