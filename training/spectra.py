"""How far two sounds are apart, to the ear and in their waves: spectrograms at several resolutions. Knows no model."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = ((2048, 120), (1024, 80), (512, 40), (256, 20), (128, 10))
"""Window in samples and mel bands; the hop is a quarter of the window."""

FLOOR = 1e-2
"""Of a magnitude: what is quieter, 60 dB below speech, is silence. A lower one gives silence all the say."""

WAVES_WINDOW, WAVES_TOP_HZ = 512, 3000
"""Where phases are compared: higher ones are not worth their trouble to an ear."""

WAVES_FLOOR = 2e-2


class SoundDistance(nn.Module):
    """Of spectra: mean absolute difference of log-mel and of magnitude spectra, over all of `SCALES`.

    Of waves: squared difference of complex spectra, each value by the size it should have, so that weak overtones count
    as well; silence has about 1. A mean of absolute values would draw what is uncertain to silence.
    """

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        for window, bands in SCALES:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"bands_{window}", mel_bands(rate_hz, window, bands), persistent=False)
        self.waves_bins = WAVES_TOP_HZ * WAVES_WINDOW // rate_hz

    def forward(self, made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Two batches `[B, T]`, float32, T at least 2048 → two numbers, of spectra and of waves."""
        total, waves = made.new_zeros(()), made.new_zeros(())
        for window, _ in SCALES:
            transforms = [self._transformed(sound, window) for sound in (made, wanted)]
            spectra = [transform.square().sum(-1).add(1e-12).sqrt() for transform in transforms]
            if window == WAVES_WINDOW:
                missed, size = (transforms[0] - transforms[1])[:, : self.waves_bins], spectra[1][:, : self.waves_bins]
                waves = (missed.square().sum(-1) / (size + WAVES_FLOOR)).sum() / size.sum().add(WAVES_FLOOR)
            mels = [torch.matmul(getattr(self, f"bands_{window}"), spectrum) for spectrum in spectra]
            ours, theirs = (mel.clamp_min(FLOOR).log() for mel in mels)
            total = total + functional.l1_loss(ours, theirs)
            ours, theirs = (spectrum.clamp_min(FLOOR).sqrt() for spectrum in spectra)
            total = total + functional.l1_loss(ours, theirs)
        return total / len(SCALES), waves

    def _transformed(self, sound: Tensor, window: int) -> Tensor:
        """`[B, T]` → `[B, bins, frames, 2]`."""
        shape = getattr(self, f"window_{window}")
        return torch.view_as_real(torch.stft(sound, window, window // 4, window=shape, return_complex=True))


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
