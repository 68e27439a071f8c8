"""Trainable audio VAE of VoxCPM, with the parameter names of the published checkpoints.

It computes the same as version 1 of `intone.server.engines.voxcpm.audio_vae`, but on whole recordings instead of
streams, so its weights are exported unchanged. Activations are channels-last, which turns all convolutions except the
depthwise ones into matrix products.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.engines.voxcpm.audio_vae import random_tensors
from intone.server.engines.voxcpm.audio_vae_config import DILATIONS, KERNEL, AudioVAEConfig
from training import native

LARGEST_LOG_VARIANCE = 10.0


class Snake(nn.Module):
    """Snake activation, x + sin²(αx) / α, with one α per channel (arXiv 2006.08195)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, C]` → the same."""
        alpha = self.alpha.flatten()
        return native.snake(x, alpha) if native.serves(x) else x + torch.sin(alpha * x).square() / (alpha + 1e-9)


class Normed(nn.Module):
    """Weight normalization (arXiv 1602.07868): gain and direction, the norm taken over all dimensions but the first."""

    def __init__(self, out: int, *weight: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(weight[0], 1, 1))
        self.weight_v = nn.Parameter(torch.randn(weight))
        self.bias = nn.Parameter(torch.zeros(out))

    @property
    def weight(self) -> Tensor:
        """The normalized weight: gain times direction."""
        direction = self.weight_v
        folded: Tensor = direction * (self.weight_g / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True))
        return folded


class Conv(Normed):
    """Causal convolution, left-padded with zeros. `[B, T, Cin]` → `[B, T / stride, Cout]`.

    The kernel size is a multiple of the stride, so the input is reshaped to rows of one stride each and the convolution
    becomes a matrix product. Either each row is multiplied by all parts of the kernel and the products are added with
    their delays, or, where those products would be larger than the input, the rows that a kernel spans are concatenated
    first.

    Args:
        delay: zeros before the first sample in addition to the causal padding.
    """

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, delay: int = 0) -> None:
        super().__init__(cout, cout, cin, kernel)
        assert kernel % stride == 0
        self.rows, self.stride, self.delay = kernel // stride, stride, delay

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        rows = later(x, self.delay).unflatten(1, (-1, self.stride)).flatten(2)  # [B, N, stride · Cin]
        # [Cout, Cin, rows · stride] → one part per row of the kernel, latest first, in the layout of `rows`.
        parts = self.weight.unflatten(2, (self.rows, self.stride)).permute(2, 3, 1, 0).flip(0).flatten(1, 2)
        if rows.shape[2] < self.bias.shape[0]:
            return functional.linear(side_by_side(rows, self.rows), parts.flatten(0, 1).t(), self.bias)
        products = torch.matmul(rows, parts.transpose(0, 1).flatten(1)).unflatten(2, (self.rows, -1))
        return sum((later(products[:, :, row], row) for row in range(self.rows)), self.bias)


class Depthwise(Normed):
    """Causal depthwise convolution. `[B, T, C]` → the same."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__(channels, channels, 1, KERNEL)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = functional.pad(x.transpose(1, 2), ((KERNEL - 1) * self.dilation, 0))
        x = functional.conv1d(x, self.weight, self.bias, dilation=self.dilation, groups=x.shape[1])
        return x.transpose(1, 2)


class ConvTranspose(Normed):
    """Causal transposed convolution, kernel of two strides, end cut off. `[B, T, Cin]` → `[B, T·stride, Cout]`."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__(cout, cin, cout, 2 * stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        parts = self.weight.unflatten(2, (2, self.stride)).permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
        x = torch.matmul(side_by_side(x, 2), parts)  # [B, T, stride · Cout]
        sound: Tensor = x.unflatten(2, (self.stride, -1)).flatten(1, 2) + self.bias
        return sound


class Unit(nn.Module):
    """Residual unit: x + pointwise(snake(depthwise(snake(x))))."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        across = Depthwise(channels, dilation)
        self.block = nn.Sequential(Snake(channels), across, Snake(channels), Conv(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, C]` → the same."""
        if not native.serves(x):
            added: Tensor = x + self.block(x)
            return added
        first, across, second, last = self.block
        assert isinstance(first, Snake) and isinstance(second, Snake)
        assert isinstance(across, Depthwise) and isinstance(last, Conv)
        alphas = first.alpha.flatten(), second.alpha.flatten()
        return native.unit(x, *alphas, across.weight, across.bias, last.weight[:, :, 0], last.bias, across.dilation)


class Block(nn.Module):
    """The layers of one change of rate: `encoder.block.n` or `decoder.model.n` of the checkpoint."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply all layers in order."""
        result: Tensor = self.block(x)
        return result


def later(x: Tensor, steps: int) -> Tensor:
    """Delay `[B, T, C]` by `steps`: pad zeros at the start and cut the end."""
    return functional.pad(x, (0, 0, steps, -steps)) if steps else x


def side_by_side(x: Tensor, rows: int) -> Tensor:
    """Concatenate each row of `[B, N, C]` with the `rows - 1` before it, latest first: `[B, N, rows · C]`."""
    return torch.cat([later(x, row) for row in range(rows)], 2) if rows > 1 else x


class Encoder(nn.Module):
    """Encode audio as a normal distribution for each latent frame."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        wide = config.encoder_channels
        layers: list[nn.Module] = [Conv(1, wide[0], KERNEL)]
        for i, rate in enumerate(config.encoder_rates):
            units = [Unit(wide[i], dilation) for dilation in DILATIONS]
            down = Conv(wide[i], wide[i + 1], 2 * rate, stride=rate, delay=rate % 2)
            layers.append(Block(*units, Snake(wide[i]), down))
        self.block = nn.ModuleList(layers)
        self.fc_mu = Conv(wide[-1], config.latent_dim, 3)
        self.fc_logvar = Conv(wide[-1], config.latent_dim, 3)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, T]` → mean and log variance, `[B, D, T / hop]` each."""
        x = audio.unsqueeze(2)
        for layer in self.block:
            x = layer(x)
        return self.fc_mu(x).mT, self.fc_logvar(x).clamp(-30, LARGEST_LOG_VARIANCE).mT


class Decoder(nn.Module):
    """Decode latent frames to audio."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        wide = config.decoder_channels
        stem = Depthwise(config.latent_dim)
        layers: list[nn.Module] = [stem, Conv(config.latent_dim, wide[0], 1)]
        for i, rate in enumerate(config.decoder_rates):
            units = [Unit(wide[i + 1], dilation) for dilation in DILATIONS]
            layers.append(Block(Snake(wide[i]), ConvTranspose(wide[i], wide[i + 1], rate), *units))
        self.model = nn.ModuleList([*layers, Snake(wide[-1]), Conv(wide[-1], 1, KERNEL)])

    def forward(self, latents: Tensor) -> Tensor:
        """`[B, D, N]` → `[B, N·hop]` in [-1, 1]."""
        x = latents.mT
        for layer in self.model:
            x = layer(x)
        return torch.tanh(x[:, :, 0].float())


class AudioVAE(nn.Module):
    """Encoder and decoder, with the parameter names of a published checkpoint; version 1 only.

    Args:
        seed: seed of the initial weights.
    """

    def __init__(self, config: AudioVAEConfig, seed: int = 0) -> None:
        super().__init__()
        assert config.version == 1, "only version 1 is supported: version 2 conditions its decoder on the sample rate"
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.load_state_dict(random_tensors(config, torch.Generator().manual_seed(seed)))
