"""How far two sounds are apart: losses of the decoder on spectrograms at several resolutions. Knows no model.

None of them draws what is uncertain to silence. A squared error of waves does: where a phase cannot be known, the best
answer is a smaller amplitude, and so overtones came out up to 6.6 dB too weak. Here magnitudes and phases are compared
separately.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = ((2048, 128), (1024, 96), (512, 64), (256, 32))
"""Window in samples and mel bands; the hop is a quarter of the window."""

FLOOR = 6e-3
"""Of a magnitude: what is quieter, 60 dB below speech, is silence. A lower one gives silence all the say."""

LEVELS_WINDOW, LEVELS_BANDS, LEVELS_FRAMES = 1024, 48, 14
"""Power in bands is compared over this many frames, 150 ms, and over whole examples."""

LEVELS_FLOOR = 1e-2

PHASE_WINDOW = 768
PHASE_LEAST = 0.3
"""Of the wanted magnitude: what is weaker is not only turned, but raised too."""
PHASE_FLOOR = 3e-2

QUIET, QUIET_SAMPLES = 2e-4, 480
"""Largest amplitude within so many samples where a sound is silent."""


class SoundDistance(nn.Module):
    """`spectra`: mean absolute difference of spectra over all of `SCALES`: of log-mel, of logarithmic and of compressed
    magnitudes.

    `levels`: difference of the power in bands, in logarithms. Absolute differences of logarithms alone draw what
    fluctuates to its median, which for noise is 1.6 dB below its mean.
    `phase`: 1 less the cosine between the phases of harmonics, for those that are known, each by the root of its
    size. Of one that is there already only its phase is drawn, never its amplitude.
    `silence`: what is heard where there should be nothing.
    """

    def __init__(self, rate_hz: int) -> None:
        super().__init__()
        windows = {PHASE_WINDOW, LEVELS_WINDOW, *(window for window, _ in SCALES)}
        for window in windows:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
        for window, bands in SCALES:
            self.register_buffer(f"bands_{window}", mel_bands(rate_hz, window, bands), persistent=False)
        self.register_buffer("levels_bands", mel_bands(rate_hz, LEVELS_WINDOW, LEVELS_BANDS), persistent=False)

    def forward(self, made: Tensor, wanted: Tensor) -> Mapping[str, Tensor]:
        """Of two batches `[B, T]`, float32, T at least 2048: all but `phase`."""
        total, levels = made.new_zeros(()), made.new_zeros(())
        for window, _ in SCALES:
            ours, theirs = (self._magnitudes(sound, window) for sound in (made, wanted))
            bands = getattr(self, f"bands_{window}")
            mel, wanted_mel = (torch.matmul(bands, spectrum).clamp_min(FLOOR).log() for spectrum in (ours, theirs))
            total = total + functional.l1_loss(mel, wanted_mel)
            total = total + 0.5 * functional.l1_loss(ours.clamp_min(FLOOR).log(), theirs.clamp_min(FLOOR).log())
            total = total + 0.5 * functional.l1_loss(ours.clamp_min(FLOOR).sqrt(), theirs.clamp_min(FLOOR).sqrt())
            if window == LEVELS_WINDOW:
                levels = self._levels(ours, theirs)
        quiet = functional.max_pool1d(wanted.abs().unsqueeze(1), QUIET_SAMPLES + 1, 1, QUIET_SAMPLES // 2)[:, 0] < QUIET
        heard = functional.smooth_l1_loss(made, torch.zeros_like(made), beta=QUIET, reduction="none")
        silence = (heard * quiet).sum() / quiet.sum().clamp_min(1)
        return {"spectra": total / len(SCALES), "levels": levels, "silence": silence}

    def phase(self, made: Tensor, wanted: Tensor, harmonics: Tensor) -> Tensor:
        """`[B, T]` each; `harmonics` the part of `wanted` that is compared, only where it is the larger part."""
        ours = self._transformed(made, PHASE_WINDOW)
        with torch.no_grad():
            theirs = self._transformed(harmonics, PHASE_WINDOW)
            others = (self._transformed(wanted, PHASE_WINDOW) - theirs).square().sum(-1)
            power = theirs.square().sum(-1)
            size = power.add(1e-12).sqrt()
            weight = (size - PHASE_FLOOR).clamp_min(0).sqrt() * power / (power + others + 1e-12)
        length = ours.square().sum(-1).add(1e-12).sqrt()
        cosine = (ours * theirs).sum(-1) / (torch.maximum(length, PHASE_LEAST * size) * size)
        return ((1 - cosine) * weight).sum() / weight.sum().clamp_min(1e-3)

    def _levels(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Of magnitudes `[B, bins, frames]`."""
        bands = self.levels_bands
        assert isinstance(bands, Tensor)
        made, wanted = (torch.matmul(bands, spectrum.square()) for spectrum in (ours, theirs))
        total = ours.new_zeros(())
        for frames in (LEVELS_FRAMES, made.shape[2]):
            logarithms = [
                (functional.avg_pool1d(power, frames, frames) + LEVELS_FLOOR).log() for power in (made, wanted)
            ]
            total = total + functional.smooth_l1_loss(logarithms[0], logarithms[1], beta=0.2)
        return total

    def _magnitudes(self, sound: Tensor, window: int) -> Tensor:
        """`[B, T]` → `[B, bins, frames]`."""
        return self._transformed(sound, window).square().sum(-1).add(1e-12).sqrt()

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
