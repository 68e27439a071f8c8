"""Computes the target latents from speech: phase and pitch of the fundamental, and the spectral envelope.

An audio VAE that learns its own latents takes days of training to represent pitch: a frame of 40 ms contains about
eight periods of a voice, whose phase must continue across frames. The teacher provides pitch and phase, so the latents
are defined here instead: the phase as a 2-D vector that rotates once per period, sampled `POINTS` times per frame; the
log pitch; and principal components of the log-mel spectrum. The decoder learns to synthesize audio from them, the
encoder to estimate them from audio, and the language models can be trained without waiting for either.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.shards import POINT_SAMPLES, RATE_HZ, SOUND_HZ
from training.spectra import mel_bands

POINTS = 4
"""Analysis points, 10 ms apart, per latent frame."""

FRAME_SAMPLES = POINTS * POINT_SAMPLES
SOUND_SAMPLES = FRAME_SAMPLES * SOUND_HZ // RATE_HZ
"""Samples at `SOUND_HZ`, the decoder's output rate, per latent frame."""

PITCH_NUMBERS = 2 * POINTS + 2
POINTER = 1.3
"""Length of the phase vector where speech is voiced; 0 elsewhere."""

MIDDLE_HZ, SPREAD = 200.0, 0.25
"""Center in Hz and scale of the log pitch: `log(f0 / MIDDLE_HZ) / SPREAD`."""

BANDS, WINDOW, TRANSFORM = 32, 512, 1024
FLOOR = 2e-2


@dataclass(frozen=True, slots=True)
class Basis:
    """Principal components of the log-mel spectra of a frame.

    Attributes:
        mean: `[POINTS · BANDS]`.
        directions: `[POINTS · BANDS, K]`, scaled principal directions. A component with standard deviation s is scaled
            to 0.5 · √s, which keeps the order of the components and keeps small ones above the noise of the flow.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, spectra: Tensor, numbers: int) -> "Basis":
        """Compute the first `numbers` principal components of spectra `[N, POINTS · BANDS]`."""
        mean = spectra.mean(0)
        centred = spectra - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        largest = variances.flip(0)[:numbers].clamp_min(1e-6)
        return cls(mean, directions.flip(1)[:, :numbers] * (0.5 * largest**-0.25))


def latents_of(audio: Tensor, pitch: Tensor, basis: Basis) -> Tensor:
    """Latents `[T / FRAME_SAMPLES, D]` of audio.

    Args:
        audio: `[T]`, -1 to 1, at `RATE_HZ`; T is a multiple of `FRAME_SAMPLES`.
        pitch: `[T / POINT_SAMPLES, 2]`, as in `shards`.
        basis: principal components of the spectra.
    """
    return torch.cat((pitch_numbers(pitch), (spectra(audio) - basis.mean) @ basis.directions), 1)


def pitch_numbers(pitch: Tensor) -> Tensor:
    """Phase vector at each point and mean log pitch of each half frame: `[n, 2]` → `[n / POINTS, PITCH_NUMBERS]`."""
    height_hz, cycles = pitch.float().unbind(1)
    voiced = height_hz > 0
    angles = 2 * torch.pi * cycles
    pointers = POINTER * voiced.unsqueeze(1) * torch.stack((angles.cos(), angles.sin()), 1)
    heights = torch.where(voiced, (height_hz.clamp_min(1.0) / MIDDLE_HZ).log() / SPREAD, 0.0)
    return torch.cat((pointers.view(-1, 2 * POINTS), heights.view(-1, 2, POINTS // 2).mean(2)), 1)


def spectra(audio: Tensor) -> Tensor:
    """Log-mel spectra centered at the points of each frame: `[T]` → `[T / FRAME_SAMPLES, POINTS · BANDS]`."""
    side = (TRANSFORM - POINT_SAMPLES) // 2
    windows = functional.pad(audio, (side, side)).unfold(0, TRANSFORM, POINT_SAMPLES)
    shape = functional.pad(torch.hann_window(WINDOW), ((TRANSFORM - WINDOW) // 2,) * 2)
    magnitudes = torch.fft.rfft(windows * shape).abs()
    mel = magnitudes @ mel_bands(RATE_HZ, TRANSFORM, BANDS).T
    logarithms: Tensor = mel.clamp_min(FLOOR).log().view(-1, POINTS * BANDS)
    return logarithms
