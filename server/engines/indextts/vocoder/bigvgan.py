"""The vocoder BigVGAN v2 (arXiv 2206.04658): mel frames to audio, chunk by chunk.

Every layer looks ahead, so the audio of the last frames is not final until more frames follow: `decode` returns the
final part, and `peek` the rest as it would be if the given frames followed.
"""

from dataclasses import dataclass
from math import prod

from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import ENGINE, BigVGANConfig
from intone.server.engines.indextts.checkpoint.folding import weight_normed, weight_normed_conv
from intone.server.engines.weights import Shape, Weights
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
FILTER_ERROR = 1e-6  # published anti-alias filters are stored in float32


@dataclass(frozen=True, slots=True)
class BigVGANState:
    """The state of a batch of streams with equally many frames. Immutable: `decode` returns a new one.

    Attributes:
        tails: `[B, channels, samples]` each, in the order of the layers.
        frames: frames decoded.
        ended: whether the last frame has been decoded.
    """

    tails: tuple[Tensor, ...]
    frames: int
    ended: bool = False


class BigVGAN:
    """The vocoder; immutable, shared by all streams.

    Attributes:
        layers: the chain of layers.
        hop_samples: samples per frame.
        lag_samples: number of last samples that are not final yet; the minimum for this network.
        lookahead_frames: frames after a frame that its audio depends on.
    """

    def __init__(self, config: BigVGANConfig, weights: Weights) -> None:
        """Raises:
        CheckpointError: the configuration is not supported, or an anti-alias filter is not that of BigVGAN v2.
        """
        self.config = config
        self.layers = _layers(config, weights)
        self.hop_samples = prod(config.rates)
        self.lag_samples = lag_of(self.layers)
        self.lookahead_frames = -(-self.lag_samples // self.hop_samples)

    def initial_state(self, batch: int = 1) -> BigVGANState:
        """The state of `batch` streams before their first frame."""
        return BigVGANState(tuple(tail for layer in self.layers for tail in layer.tails(batch)), 0)

    def decode(self, mel: Tensor, state: BigVGANState, last: bool) -> tuple[Tensor, BigVGANState]:
        """Append mel frames `[B, bands, N]`: the audio that has become final, `[B, n]` in [-1, 1], and the new state.

        After F frames `max(0, F · hop_samples - lag_samples)` samples have been returned, and with `last` all of them.
        Chunk-invariant: any chunking gives the same audio.

        Args:
            mel: N may be 0.
            last: no frame follows these.
        """
        assert not state.ended, "nothing follows the last frame"
        if mel.dim() != 3 or mel.shape[1] != self.config.mel_bands:
            raise ValueError(f"mel is {tuple(mel.shape)}, expected [B, {self.config.mel_bands}, N]")
        audio, tails = run(self.layers, mel, state.tails, last)
        return audio[:, 0].clamp(-1.0, 1.0), BigVGANState(tails, state.frames + mel.shape[2], ended=last)

    def pending_samples(self, state: BigVGANState) -> int:
        """Samples of the frames decoded so far that are not final and have not been returned."""
        return 0 if state.ended else min(self.lag_samples, state.frames * self.hop_samples)

    def peek(self, mel: Tensor, state: BigVGANState) -> Tensor:
        """The pending samples as they would be if `mel`, `[B, bands, R]`, followed the frames decoded so far.

        The state is unchanged: a caller that sends these samples skips as many of those that `decode` returns next. The
        more frames, the closer to the final samples; with `lookahead_frames` true frames they are exact.

        Args:
            mel: frames beyond `lookahead_frames` are ignored; with R = 0 the stream is taken to end here.

        Returns:
            `[B, pending_samples(state)]`.
        """
        audio, _ = self.decode(mel[:, :, : self.lookahead_frames], state, last=True)
        return audio[:, : self.pending_samples(state)]

    def extend(
        self, mel: Tensor, following: Tensor, state: BigVGANState, last: bool
    ) -> tuple[Tensor, Tensor, BigVGANState]:
        """Append mel frames `[bands, N]` to one stream, of which `following`, `[bands, R]`, are a forecast of the next.

        Returns:
            `decode`'s samples `[n]`; `peek`'s `[m]`, none with `last`; and the new state.
        """
        final, after = self.decode(mel.unsqueeze(0), state, last)
        pending = final[:, :0] if last else self.peek(following.unsqueeze(0), after)
        return final[0], pending[0], after


def _stages(config: BigVGANConfig) -> list[tuple[int, dict[str, tuple[int, tuple[int, ...]]]]]:
    """For each stage its rate and its blocks: name → kernel and dilations."""
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
    _check_config(config)
    layers: list[Layer] = [_conv(weights, "conv_pre", (config.channels, config.mel_bands, KERNEL))]
    for index, (rate, blocks) in enumerate(_stages(config)):
        up, channels = f"ups.{index}.0", config.channels >> (index + 1)
        weight = weight_normed(weights, up, (2 * channels, channels, 2 * rate))
        layers.append(LookaheadConvTranspose(weight, weights.tensor(f"{up}.bias", (channels,))))
        layers.append(Mean(tuple(_block(weights, name, channels, *kind) for name, kind in blocks.items())))
    channels = config.channels >> len(config.rates)
    last = LookaheadConv(weight_normed(weights, "conv_post", (1, channels, KERNEL)))
    return (*layers, _activation(weights, "activation_post", channels), last)


def _block(weights: Weights, name: str, channels: int, kernel: int, dilations: tuple[int, ...]) -> tuple[Layer, ...]:
    shape = (channels, channels, kernel)
    return tuple(
        Residual(
            (
                _activation(weights, f"{name}.activations.{2 * step}", channels),
                _conv(weights, f"{name}.convs1.{step}", shape, dilation),
                _activation(weights, f"{name}.activations.{2 * step + 1}", channels),
                _conv(weights, f"{name}.convs2.{step}", shape),
            )
        )
        for step, dilation in enumerate(dilations)
    )


def _conv(weights: Weights, name: str, shape: Shape, dilation: int = 1) -> LookaheadConv:
    return LookaheadConv(*weight_normed_conv(weights, name, shape), dilation)


def _activation(weights: Weights, name: str, channels: int) -> AntiAliasedSnake:
    """Alpha and beta are stored as logarithms. The filters are part of the operation, so they are only checked."""
    ours = anti_alias_filter()
    for kind in ("upsample.filter", "downsample.lowpass.filter"):
        theirs = weights.tensor(f"{name}.{kind}", (1, 1, len(ours))).flatten()
        if theirs.is_meta:
            continue  # a declaration without values
        error = float((theirs.double() - ours.to(theirs.device)).abs().max())
        if not error <= FILTER_ERROR:  # also refuses NaN
            raise CheckpointError(ENGINE, f"{name}.{kind}: differs by {error:.1e} from the filter of BigVGAN v2")
    alpha, beta = (weights.tensor(f"{name}.act.{part}", (channels,)) for part in ("alpha", "beta"))
    return AntiAliasedSnake(alpha.exp(), beta.exp())
