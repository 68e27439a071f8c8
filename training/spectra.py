"""Reconstruction losses of the decoder, on spectrograms at several resolutions.

Magnitudes and phases are compared separately. A squared error of waveforms is minimized by a smaller amplitude wherever
the phase is uncertain; with it, overtones came out up to 6.6 dB too weak.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = ((2048, 128), (1024, 96), (512, 64), (256, 32))
"""Window length in samples and number of mel bands; the hop is a quarter of the window."""

FLOOR = 5e-4
"""Lower limit of magnitudes, 80 dB below speech. With a limit 20 dB higher, the decoder was 3 dB too loud below it;
with the target's magnitudes there, its predicted MOS rose from 3.41 to 3.66."""

FULL_WEIGHT = 6e-2
"""Magnitudes below this, 40 dB below speech, count in proportion to the target's. The derivative of a logarithm is the
reciprocal, so at equal weights four fifths of the gradient would come from pauses."""

LEVELS_WINDOW, LEVELS_BANDS, LEVELS_FRAMES = 1024, 48, 14
"""The levels loss averages band power over this many frames (150 ms), and over whole examples."""

LEVELS_FLOOR = 2e-3

PHASE_WINDOW = 768
PHASE_LEAST = 0.3
"""Fraction of the target magnitude below which the phase loss also increases the magnitude."""
PHASE_FLOOR = 3e-2

QUIET, QUIET_SAMPLES = 2e-4, 480
"""A sample is silent if the amplitude stays below `QUIET` in a window of `QUIET_SAMPLES` around it."""


class SoundDistance(nn.Module):
    """Losses between a decoded sound and its target.

    `spectra`: mean absolute difference of log-mel, logarithmic and square-root magnitudes, over all of `SCALES`.
    `levels`: difference of logarithmic band power, averaged over time. Absolute differences of logarithms alone pull
    fluctuating magnitudes to their median, which for noise is 1.6 dB below the mean.
    `phase`: 1 minus the cosine of the phase difference, where the target's harmonics are known, weighted by the square
    root of the magnitude. It does not change the amplitude of a harmonic that is already present.
    `silence`: mean smoothed absolute amplitude where the target is silent.
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
        """All losses but `phase`, of two batches `[B, T]`, float32, T at least 2048."""
        total, levels = made.new_zeros(()), made.new_zeros(())
        for window, _ in SCALES:
            ours, theirs = (self._magnitudes(sound, window) for sound in (made, wanted))
            bands = getattr(self, f"bands_{window}")
            mel, wanted_mel = (torch.matmul(bands, spectrum) for spectrum in (ours, theirs))
            total = total + _log_distance(mel, wanted_mel) + 0.5 * _log_distance(ours, theirs)
            total = total + 0.5 * functional.l1_loss(ours.clamp_min(FLOOR).sqrt(), theirs.clamp_min(FLOOR).sqrt())
            if window == LEVELS_WINDOW:
                levels = self._levels(ours, theirs)
        quiet = functional.max_pool1d(wanted.abs().unsqueeze(1), QUIET_SAMPLES + 1, 1, QUIET_SAMPLES // 2)[:, 0] < QUIET
        heard = functional.smooth_l1_loss(made, torch.zeros_like(made), beta=QUIET, reduction="none")
        silence = (heard * quiet).sum() / quiet.sum().clamp_min(1)
        return {"spectra": total / len(SCALES), "levels": levels, "silence": silence}

    def phase(self, made: Tensor, wanted: Tensor, harmonics: Tensor) -> Tensor:
        """Phase loss of `[B, T]` each. `harmonics` is the part of `wanted` to compare, in bins where it dominates."""
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
        """Levels loss of magnitudes `[B, bins, frames]`."""
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
        """Magnitude spectrogram: `[B, T]` → `[B, bins, frames]`."""
        return self._transformed(sound, window).square().sum(-1).add(1e-12).sqrt()

    def _transformed(self, sound: Tensor, window: int) -> Tensor:
        """Complex spectrogram: `[B, T]` → `[B, bins, frames, 2]`, real and imaginary part last."""
        shape = getattr(self, f"window_{window}")
        return torch.view_as_real(torch.stft(sound, window, window // 4, window=shape, return_complex=True))


def _log_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean absolute difference of logarithmic magnitudes, with the weights described at `FULL_WEIGHT`."""
    ours, theirs = ours.clamp_min(FLOOR), theirs.clamp_min(FLOOR)
    weight = (theirs / FULL_WEIGHT).clamp_max(1)
    return ((ours.log() - theirs.log()).abs() * weight).mean()


def mel_bands(rate_hz: int, window: int, bands: int) -> Tensor:
    """Triangular filters `[bands, window / 2 + 1]` on O'Shaughnessy's mel scale, each with sum 1."""
    top = 2595 * torch.log10(torch.tensor(1 + rate_hz / 2 / 700))
    corners = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    frequencies = torch.linspace(0, rate_hz / 2, window // 2 + 1)
    low, middle, high = (corners[at : at + bands, None] for at in range(3))
    triangles = torch.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle)).clamp_min(0)
    # A band that is too narrow to contain a bin gets the bin nearest to its center.
    nearest = functional.one_hot((frequencies - middle).abs().argmin(1), frequencies.shape[0]).float()
    triangles = torch.where(triangles.sum(1, keepdim=True) > 0, triangles, nearest)
    return triangles / triangles.sum(1, keepdim=True)
