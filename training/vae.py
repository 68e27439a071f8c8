"""The audio VAE of VoxCPM with gradients, under the published names. Knows no loss and no streams.

The same arithmetic as `intone.server.engines.voxcpm.audio_vae`, version 1, on whole recordings: what is trained here is
exported as it is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.engines.voxcpm.audio_vae_config import DILATIONS, KERNEL, AudioVAEConfig, random_tensors

LARGEST_LOG_VARIANCE = 10.0


class Snake(nn.Module):
    """x + sin²(αx) / α, α for each channel: arXiv 2006.08195."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` → the same."""
        return x + torch.sin(self.alpha * x).square() / (self.alpha + 1e-9)


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
    """Causal: zeros stand before the first sample. `[B, Cin, T]` → `[B, Cout, T / stride]`.

    Args:
        past: zeros; `kernel - stride` or more, and what exceeds it delays the kernel.
        groups: 1, or `cin` for a convolution of each channel with its own kernel.
    """

    def __init__(
        self, cin: int, cout: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, past: int = -1
    ) -> None:
        super().__init__(cout, cout, cin // groups, kernel)
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.past = (kernel - 1) * dilation + 1 - stride if past < 0 else past

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = functional.pad(x, (self.past, 0))
        return functional.conv1d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class ConvTranspose(Normed):
    """Upsampling, the kernel of two strides, the overhanging end cut. `[B, Cin, T]` → `[B, Cout, T·stride]`."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__(cout, cin, cout, 2 * stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return functional.conv_transpose1d(x, self.weight, self.bias, self.stride)[..., : -self.stride]


class Unit(nn.Module):
    """Residual: x + pointwise(snake(depthwise(snake(x))))."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        across = Conv(channels, channels, KERNEL, dilation=dilation, groups=channels)
        self.block = nn.Sequential(Snake(channels), across, Snake(channels), Conv(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T]` → the same."""
        added: Tensor = x + self.block(x)
        return added


class Block(nn.Module):
    """What `encoder.block.n` and `decoder.model.n` hold for one change of rate."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """All layers, one after the other."""
        result: Tensor = self.block(x)
        return result


class Encoder(nn.Module):
    """Sound to the distribution of each latent frame."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        wide = config.encoder_channels
        layers: list[nn.Module] = [Conv(1, wide[0], KERNEL)]
        for i, rate in enumerate(config.encoder_rates):
            units = [Unit(wide[i], dilation) for dilation in DILATIONS]
            down = Conv(wide[i], wide[i + 1], 2 * rate, stride=rate, past=rate + rate % 2)
            layers.append(Block(*units, Snake(wide[i]), down))
        self.block = nn.ModuleList(layers)
        self.fc_mu = Conv(wide[-1], config.latent_dim, 3)
        self.fc_logvar = Conv(wide[-1], config.latent_dim, 3)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, T]` → mean and logarithm of the variance, `[B, D, T / hop]` each."""
        x = audio.unsqueeze(1)
        for layer in self.block:
            x = layer(x)
        return self.fc_mu(x), self.fc_logvar(x).clamp(-30, LARGEST_LOG_VARIANCE)


class Decoder(nn.Module):
    """Latent frames to sound."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        wide = config.decoder_channels
        stem = Conv(config.latent_dim, config.latent_dim, KERNEL, groups=config.latent_dim)
        layers: list[nn.Module] = [stem, Conv(config.latent_dim, wide[0], 1)]
        for i, rate in enumerate(config.decoder_rates):
            units = [Unit(wide[i + 1], dilation) for dilation in DILATIONS]
            layers.append(Block(Snake(wide[i]), ConvTranspose(wide[i], wide[i + 1], rate), *units))
        self.model = nn.ModuleList([*layers, Snake(wide[-1]), Conv(wide[-1], 1, KERNEL)])

    def forward(self, latents: Tensor) -> Tensor:
        """`[B, D, N]` → `[B, N·hop]` in [-1, 1]."""
        x = latents
        for layer in self.model:
            x = layer(x)
        return torch.tanh(x[:, 0].float())


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

    def scale_latents(self, factor: Tensor) -> None:
        """Multiply what the encoder gives by `factor` `[D]`, and take it back in the decoder, exactly."""
        with torch.no_grad():
            mean, stem = self.encoder.fc_mu, self.decoder.model[0]
            assert isinstance(stem, Conv)
            mean.weight_g.mul_(factor.view(-1, 1, 1))
            mean.bias.mul_(factor)
            self.encoder.fc_logvar.bias.add_(2 * factor.log())
            stem.weight_g.div_(factor.view(-1, 1, 1))
