"""How far two sounds are apart, to the ear: spectrograms at several resolutions. Knows no model."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = ((2048, 120), (1024, 80), (512, 40), (256, 20), (128, 10))
"""Window in samples and mel bands; the hop is a quarter of the window."""

FLOOR = 1e-5


class SpectralDistance(nn.Module):
    """Mean absolute difference of log-mel and of magnitude spectra, over all of `SCALES`."""

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        for window, bands in SCALES:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"bands_{window}", mel_bands(rate_hz, window, bands), persistent=False)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Two batches `[B, T]`, float32, T at least 2048 → a number."""
        total = made.new_zeros(())
        for window, _ in SCALES:
            spectra = [self._magnitudes(sound, window) for sound in (made, wanted)]
            mels = [torch.matmul(getattr(self, f"bands_{window}"), spectrum) for spectrum in spectra]
            ours, theirs = (mel.clamp_min(FLOOR).log() for mel in mels)
            total = total + functional.l1_loss(ours, theirs)
            ours, theirs = (spectrum.clamp_min(FLOOR).sqrt() for spectrum in spectra)
            total = total + functional.l1_loss(ours, theirs)
        return total / len(SCALES)

    def _magnitudes(self, sound: Tensor, window: int) -> Tensor:
        shape = getattr(self, f"window_{window}")
        spectrum = torch.stft(sound, window, window // 4, window=shape, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-12).sqrt()


def mel_bands(rate_hz: int, window: int, bands: int) -> Tensor:
    """Triangles `[bands, window / 2 + 1]` on O'Shaughnessy's mel scale, each of sum 1."""
    top = 2595 * torch.log10(torch.tensor(1 + rate_hz / 2 / 700))
    corners = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    frequencies = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    low, middle, high = (corners[at : at + bands, None] for at in range(3))
    triangles = torch.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)).clamp_min(0)
    # A band narrower than a bin holds none: it takes the bin next to its middle.
    nearest = functional.one_hot((frequencies - middle).abs().argmin(1), frequencies.shape[0]).float()
    triangles = torch.where(triangles.sum(1, keepdim=True) > 0, triangles, nearest)
    return triangles / triangles.sum(1, keepdim=True)
