"""Discriminators: multi-period (HiFi-GAN, arXiv 2010.05646) and complex STFT (EnCodec, arXiv 2210.13438).

They are used only in training and are not exported.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from training.optimizing import multiplies_bfloat16

PERIODS = (2, 3, 5, 7, 11)
WINDOWS = (1536, 768, 384)
SITTING = 1
"""Number of period discriminators in use in each step."""

SLOPE = 0.1
LOUDNESS = 10.0
"""Gain that scales speech to a variance of about 1, so that the features of untrained layers have one too."""

COMPRESSION, COMPRESSION_FLOOR = 0.3, 1e-6
"""Exponent that compresses magnitudes so that weak overtones count, and the value added to squared magnitudes."""

Opinion = tuple[Tensor, list[Tensor]]
"""Scores of a discriminator for each part of the sound, and the activations of its hidden layers."""


class ByPeriod(nn.Module):
    """Period discriminator: sees the sound folded to rows of `period` samples."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        sizes = [1, width, 4 * width, 8 * width, 8 * width]
        pairs = zip(sizes, sizes[1:], strict=False)
        convs = [nn.Conv2d(cin, cout, (5, 1), (3, 1), padding=(2, 0)) for cin, cout in pairs]
        self.layers = nn.ModuleList(_layer(conv) for conv in convs)
        self.last = _layer(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: Tensor) -> Opinion:
        """`[B, T]`."""
        sound = LOUDNESS * functional.pad(sound, (0, -sound.shape[1] % self.period))
        return _judged(self, sound.unflatten(1, (-1, self.period)).unsqueeze(1))


class BySpectrum(nn.Module):
    """STFT discriminator: sees the real and imaginary part of a spectrogram as two channels."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        sizes, strides = [2, width, width, width, width], ((2, 1), (2, 1), (2, 1), (1, 1))
        pairs = zip(sizes, sizes[1:], strides, strict=False)
        convs = [nn.Conv2d(cin, cout, (9, 3), stride, padding=(4, 1)) for cin, cout, stride in pairs]
        self.layers = nn.ModuleList(_layer(conv) for conv in convs)
        self.last = _layer(nn.Conv2d(width, 1, (3, 3), padding=(1, 1)))

    def forward(self, sound: Tensor) -> Opinion:
        """`[B, T]`."""
        window = self.window
        assert isinstance(window, Tensor)
        size = window.shape[0]
        with torch.autocast(sound.device.type, enabled=False):  # the STFT does not support half precision
            loud = LOUDNESS * sound.float()
            spectrum = torch.stft(loud, size, size // 4, window=window, normalized=True, return_complex=True)
            parts = torch.view_as_real(spectrum).permute(0, 3, 1, 2)  # [B, 2, bins, frames]
            power = parts.square().sum(1, keepdim=True) + COMPRESSION_FLOOR
            parts = parts * power.pow((COMPRESSION - 1) / 2)
        return _judged(self, parts)


class Jury(nn.Module):
    """All discriminators, used in turn: in each step `SITTING` by period and one by spectrum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        judges = [*(ByPeriod(p, width) for p in PERIODS), *(BySpectrum(w, width) for w in WINDOWS)]
        self.judges = nn.ModuleList(judges)

    def forward(self, sound: Tensor, turn: int) -> list[Opinion]:
        """`[B, T]` → the output of each discriminator that is in use in step `turn`."""
        sitting = [(turn * SITTING + place) % len(PERIODS) for place in range(SITTING)]
        sitting.append(len(PERIODS) + turn % len(WINDOWS))
        return [self.judges[number](sound) for number in sitting]


def jury_loss(recorded: list[Opinion], made: list[Opinion]) -> Tensor:
    """Least-squares discriminator loss (arXiv 1611.04076), with targets 1 for recorded and 0 for generated sound."""
    losses = [
        (1 - r[0].float()).square().mean() + m[0].float().square().mean() for r, m in zip(recorded, made, strict=True)
    ]
    return torch.stack(losses).mean()


def fooling_loss(recorded: list[Opinion], made: list[Opinion]) -> tuple[Tensor, Tensor]:
    """Adversarial loss and feature-matching loss of the generator.

    `made` may contain more sounds than `recorded`; feature matching then uses only the first of them.
    """
    fooled = torch.stack([(1 - m[0].float()).square().mean() for m in made]).mean()
    distances = [
        _distance(ours[: len(theirs)].float(), theirs.float().detach())
        for r, m in zip(recorded, made, strict=True)
        for theirs, ours in zip(r[1], m[1], strict=True)
    ]
    return fooled, torch.stack(distances).mean()


def judged(jury: Jury, recorded: Tensor, made: Tensor, turn: int) -> tuple[Tensor, Tensor, Tensor]:
    """The discriminator loss, and the generator's adversarial and feature-matching losses.

    The gradients of the discriminator loss are stored in the discriminators' parameters. One forward pass serves all
    three losses, so the discriminators must not be updated before the generator's gradients are computed. Products are
    in bfloat16 also on CPUs with fast support.
    """
    device = made.device
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device)):
        theirs, ours = jury(recorded, turn), jury(made, turn)
        loss = jury_loss(theirs, ours)
        fooled, features = fooling_loss(theirs, ours)
    parameters = list(jury.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return loss, fooled, features


def _distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """L1 distance of two activations, relative to the mean magnitude of `theirs`."""
    return functional.l1_loss(ours, theirs) / theirs.abs().mean().clamp_min(1e-3)


def _layer(conv: nn.Conv2d) -> nn.Module:
    """Weight-normalized layer with Kaiming initialization (arXiv 1502.01852), which keeps the activations' variance."""
    nn.init.kaiming_normal_(conv.weight, SLOPE)
    layer: nn.Module = weight_norm(conv)
    return layer


def _judged(judge: nn.Module, x: Tensor) -> Opinion:
    features: list[Tensor] = []
    layers, last = judge.layers, judge.last
    assert isinstance(layers, nn.ModuleList) and isinstance(last, nn.Module)
    for layer in layers:
        x = functional.leaky_relu(layer(x), SLOPE)
        features.append(x)
    return last(x), features
