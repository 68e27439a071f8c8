"""What latents are made of: where the voice is in its cycle, how high it is, and the shape of its spectrum.

An audio VAE that finds its latents by itself needs days to discover pitch: a frame of 40 ms holds eight cycles of a
voice, and how they go on from frame to frame has to be in the numbers somewhere. The teacher knows it, so here the
latents are given: a pointer that turns once a cycle, `POINTS` times a frame, and the pitch; then the principal
components of the logarithmic spectrum. The decoder learns to make sound of them, the encoder to find them in sound,
and the language models can begin at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.shards import POINT_SAMPLES, RATE_HZ, SOUND_HZ
from training.spectra import mel_bands

POINTS = 4
"""Of 10 ms, in a latent frame."""

FRAME_SAMPLES = POINTS * POINT_SAMPLES
SOUND_SAMPLES = FRAME_SAMPLES * SOUND_HZ // RATE_HZ
"""Of the decoder's sound in a frame."""

PITCH_NUMBERS = 2 * POINTS + 2
POINTER = 1.3
"""Length of the pointer while there is a voice."""

MIDDLE_HZ, SPREAD = 200.0, 0.25
"""Of the voice, and of the logarithm of its pitch."""

BANDS, WINDOW, TRANSFORM = 32, 512, 1024
FLOOR = 2e-2


@dataclass(frozen=True, slots=True)
class Basis:
    """Principal components of the spectra of a frame's points.

    Attributes:
        mean: `[POINTS · BANDS]`.
        directions: `[POINTS · BANDS, K]`, each with the scale of its number. A component's deviation becomes half the
            root of what it was: large ones stay the larger, and small ones do not drown in the flow's noise.
    """

    mean: Tensor
    directions: Tensor

    @classmethod
    def of(cls, spectra: Tensor, numbers: int) -> "Basis":
        """The first `numbers` components of `[N, POINTS · BANDS]`."""
        mean = spectra.mean(0)
        centred = spectra - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        largest = variances.flip(0)[:numbers].clamp_min(1e-6)
        return cls(mean, directions.flip(1)[:, :numbers] * (0.5 * largest**-0.25))


def latents_of(audio: Tensor, pitch: Tensor, basis: Basis) -> Tensor:
    """`[T]`, -1 to 1, T whole frames, and `[T / POINT_SAMPLES, 2]` as in `shards` → `[T / FRAME_SAMPLES, D]`."""
    return torch.cat((pitch_numbers(pitch), (spectra(audio) - basis.mean) @ basis.directions), 1)


def pitch_numbers(pitch: Tensor) -> Tensor:
    """The pointer's two coordinates at each point, the pitch of each half: `[n, 2]` → `[n / POINTS, PITCH_NUMBERS]`."""
    height_hz, cycles = pitch.float().unbind(1)
    voiced = height_hz > 0
    angles = 2 * torch.pi * cycles
    pointers = POINTER * voiced.unsqueeze(1) * torch.stack((angles.cos(), angles.sin()), 1)
    heights = torch.where(voiced, (height_hz.clamp_min(1.0) / MIDDLE_HZ).log() / SPREAD, 0.0)
    return torch.cat((pointers.view(-1, 2 * POINTS), heights.view(-1, 2, POINTS // 2).mean(2)), 1)


def spectra(audio: Tensor) -> Tensor:
    """Logarithmic mel spectra round each point of a frame: `[T]` → `[T / FRAME_SAMPLES, POINTS · BANDS]`."""
    side = (TRANSFORM - POINT_SAMPLES) // 2
    windows = functional.pad(audio, (side, side)).unfold(0, TRANSFORM, POINT_SAMPLES)
    shape = functional.pad(torch.hann_window(WINDOW), ((TRANSFORM - WINDOW) // 2,) * 2)
    magnitudes = torch.fft.rfft(windows * shape).abs()
    mel = magnitudes @ mel_bands(RATE_HZ, TRANSFORM, BANDS).T
    logarithms: Tensor = mel.clamp_min(FLOOR).log().view(-1, POINTS * BANDS)
    return logarithms
