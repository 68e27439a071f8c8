"""The audio VAE of VoxCPM with gradients, under the published names. Knows no loss and no streams.

The same arithmetic as `intone.server.engines.voxcpm.audio_vae`, version 1, on whole recordings: what is trained here is
exported as it is. Inside, channels come last: then all convolutions but the depthwise are products of matrices.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.engines.voxcpm.audio_vae import random_tensors
from intone.server.engines.voxcpm.audio_vae_config import DILATIONS, KERNEL, AudioVAEConfig
from training import native

LARGEST_LOG_VARIANCE = 10.0


class Snake(nn.Module):
    """x + sin²(αx) / α, α for each channel: arXiv 2006.08195."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, C]` → the same."""
        alpha = self.alpha.flatten()
        return native.snake(x, alpha) if native.serves(x) else x + torch.sin(alpha * x).square() / (alpha + 1e-9)


class Normed(nn.Module):
    """A convolution's weight as gain and direction: arXiv 1602.07868, the norm over all dimensions but the first."""

    def __init__(self, out: int, *weight: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(weight[0], 1, 1))
        self.weight_v = nn.Parameter(torch.randn(weight))
        self.bias = nn.Parameter(torch.zeros(out))

    @property
    def weight(self) -> Tensor:
        """Gain times direction."""
        direction = self.weight_v
        folded: Tensor = direction * (self.weight_g / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True))
        return folded


class Conv(Normed):
    """Causal: zeros stand before the first sample. `[B, T, Cin]` → `[B, T / stride, Cout]`.

    A kernel spans whole strides. So each stride of samples is one row, and the convolution a product of matrices: of
    a row with all that it is multiplied by, the products added up where they belong; or, where they would be larger
    than what comes in, of the rows that a kernel spans, laid side by side.

    Args:
        delay: zeros before the first sample beyond those that the kernel needs.
    """

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, delay: int = 0) -> None:
        super().__init__(cout, cout, cin, kernel)
        assert kernel % stride == 0
        self.rows, self.stride, self.delay = kernel // stride, stride, delay

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        rows = later(x, self.delay).unflatten(1, (-1, self.stride)).flatten(2)  # [B, N, stride · Cin]
        # [Cout, Cin, rows · stride] → the kernel's rows, the latest first, of the layout of `rows`.
        parts = self.weight.unflatten(2, (self.rows, self.stride)).permute(2, 3, 1, 0).flip(0).flatten(1, 2)
        if rows.shape[2] < self.bias.shape[0]:
            return functional.linear(side_by_side(rows, self.rows), parts.flatten(0, 1).t(), self.bias)
        products = torch.matmul(rows, parts.transpose(0, 1).flatten(1)).unflatten(2, (self.rows, -1))
        return sum((later(products[:, :, row], row) for row in range(self.rows)), self.bias)


class Depthwise(Normed):
    """Causal, each channel with a kernel of its own. `[B, T, C]` → the same."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__(channels, channels, 1, KERNEL)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = functional.pad(x.transpose(1, 2), ((KERNEL - 1) * self.dilation, 0))
        x = functional.conv1d(x, self.weight, self.bias, dilation=self.dilation, groups=x.shape[1])
        return x.transpose(1, 2)


class ConvTranspose(Normed):
    """Upsampling, the kernel of two strides, the overhanging end cut. `[B, T, Cin]` → `[B, T·stride, Cout]`."""

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
    """Residual: x + pointwise(snake(depthwise(snake(x))))."""

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
    """What `encoder.block.n` and `decoder.model.n` hold for one change of rate."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """All layers, one after the other."""
        result: Tensor = self.block(x)
        return result


def later(x: Tensor, steps: int) -> Tensor:
    """`[B, T, C]` delayed, zeros before it and its end cut."""
    return functional.pad(x, (0, 0, steps, -steps)) if steps else x


def side_by_side(x: Tensor, rows: int) -> Tensor:
    """Each row of `[B, N, C]` and those before it, the latest first: `[B, N, rows · C]`."""
    return torch.cat([later(x, row) for row in range(rows)], 2) if rows > 1 else x


class Encoder(nn.Module):
    """Sound to the distribution of each latent frame."""

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
        """`[B, T]` → mean and logarithm of the variance, `[B, D, T / hop]` each."""
        x = audio.unsqueeze(2)
        for layer in self.block:
            x = layer(x)
        return self.fc_mu(x).mT, self.fc_logvar(x).clamp(-30, LARGEST_LOG_VARIANCE).mT


class Decoder(nn.Module):
    """Latent frames to sound."""

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
    """Both, with the names of a published checkpoint; version 1 only.

    Args:
        seed: of the first weights.
    """

    def __init__(self, config: AudioVAEConfig, seed: int = 0) -> None:
        super().__init__()
        assert config.version == 1, "version 2's decoder is told its rate, which a voice of one rate does not need"
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.load_state_dict(random_tensors(config, torch.Generator().manual_seed(seed)))
