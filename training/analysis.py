"""Computes the target latents from speech: phase and pitch of the fundamental, and the spectral envelope.

An audio VAE that learns its own latents takes days of training to represent pitch: a frame of 40 ms contains about
eight periods of a voice, whose phase must continue across frames. The teacher provides pitch and phase, so the latents
are defined here instead: the phase as a 2-D vector that rotates once per period, sampled `POINTS` times per frame; the
log pitch; and principal components of the log-mel spectrum, coarse ones and those of the detail that these miss. The
decoder learns to synthesize audio from them, the encoder to estimate them from audio, and the language models can be
trained without waiting for either.
"""

from collections.abc import Mapping
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

CORE_NUMBERS = 38
"""Principal components of the coarse spectra in the latents of the packaged checkpoint, which have no others."""

BANDS, WINDOW, TRANSFORM = 32, 512, 1024
FLOOR = 2e-2

DETAIL_BANDS, DETAIL_FLOOR = 64, 2e-3
"""Bands of the fine spectra, and their lower limit: 20 dB below that of the coarse ones, where speech is not silent."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Principal components of the log-mel spectra of a frame: of coarse spectra, and of what fine ones add to them.

    A component with standard deviation s is scaled to 0.5 · √s, which keeps the order of the components and keeps small
    ones above the noise of the flow.

    Attributes:
        mean: `[POINTS · BANDS]`.
        directions: `[POINTS · BANDS, K]`, scaled principal directions of the coarse spectra.
        detail: the components of the fine spectra; None in a checkpoint whose latents have only coarse ones.
    """

    mean: Tensor
    directions: Tensor
    detail: "Detail | None" = None

    @classmethod
    def of(cls, spectra: Tensor, numbers: int) -> "Basis":
        """Compute the first `numbers` principal components of spectra `[N, POINTS · BANDS]`, without detail."""
        return cls(*_components(spectra, numbers))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Basis":
        """The inverse of `tensors`."""
        detail = (
            {name: tensors[f"detail_{name}"] for name in ("offset", "directions", "core")}
            if "detail_core" in tensors
            else None
        )
        return cls(tensors["mean"], tensors["directions"], None if detail is None else Detail(**detail))

    def tensors(self) -> dict[str, Tensor]:
        """The content of the basis file."""
        content = {"mean": self.mean, "directions": self.directions}
        if self.detail is not None:
            own = self.detail
            content |= {"detail_offset": own.offset, "detail_directions": own.directions, "detail_core": own.core}
        return {name: tensor.contiguous() for name, tensor in content.items()}

    @property
    def count(self) -> int:
        """Number of components."""
        return self.directions.shape[1] + (0 if self.detail is None else self.detail.directions.shape[1])

    def numbers(self, audio: Tensor) -> Tensor:
        """The components of each frame: `[T]` → `[T / FRAME_SAMPLES, numbers]`."""
        core = (spectra(audio) - self.mean) @ self.directions
        return core if self.detail is None else torch.cat((core, self.detail.numbers(fine_spectra(audio), core)), 1)


@dataclass(frozen=True, slots=True)
class Detail:
    """Principal components of the part of the fine spectra that is not a linear function of the coarse components.

    Attributes:
        offset: `[K]`.
        directions: `[POINTS · DETAIL_BANDS, K]`, scaled like those of `Basis`.
        core: `[coarse components, K]`: what is subtracted per coarse component.
    """

    offset: Tensor
    directions: Tensor
    core: Tensor

    @classmethod
    def of(cls, fine: Tensor, core: Tensor, numbers: int) -> "Detail":
        """Compute the first `numbers` components from fine spectra `[N, ...]` and coarse components `[N, ...]`."""
        known = torch.cat((core, torch.ones(len(core), 1)), 1).double()
        fitted = torch.linalg.lstsq(known, fine.double()).solution
        mean, directions = _components((fine - known @ fitted).float(), numbers)
        weights = fitted.float() @ directions
        return cls(-(mean @ directions) - weights[-1], directions, -weights[:-1])

    def numbers(self, fine: Tensor, core: Tensor) -> Tensor:
        """Detail components `[N, K]`."""
        return fine @ self.directions + core @ self.core + self.offset


def _components(spectra: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """Mean and scaled principal directions."""
    mean = spectra.mean(0)
    centred = spectra - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    largest = variances.flip(0)[:numbers].clamp_min(1e-6)
    return mean, (directions.flip(1)[:, :numbers] * (0.5 * largest**-0.25)).contiguous()


def latents_of(audio: Tensor, pitch: Tensor, basis: Basis) -> Tensor:
    """Latents `[T / FRAME_SAMPLES, D]` of audio: pitch, coarse components, detail components.

    Args:
        audio: `[T]`, -1 to 1, at `RATE_HZ`; T is a multiple of `FRAME_SAMPLES`.
        pitch: `[T / POINT_SAMPLES, 2]`, as in `shards`.
        basis: principal components of the spectra.
    """
    return torch.cat((pitch_numbers(pitch), basis.numbers(audio)), 1)


def pitch_numbers(pitch: Tensor) -> Tensor:
    """Phase vector at each point and mean log pitch of each half frame: `[n, 2]` → `[n / POINTS, PITCH_NUMBERS]`."""
    height_hz, cycles = pitch.float().unbind(1)
    voiced = height_hz > 0
    angles = 2 * torch.pi * cycles
    pointers = POINTER * voiced.unsqueeze(1) * torch.stack((angles.cos(), angles.sin()), 1)
    heights = torch.where(voiced, (height_hz.clamp_min(1.0) / MIDDLE_HZ).log() / SPREAD, 0.0)
    return torch.cat((pointers.view(-1, 2 * POINTS), heights.view(-1, 2, POINTS // 2).mean(2)), 1)


def spectra(audio: Tensor) -> Tensor:
    """Coarse log-mel spectra centered at the points of each frame: `[T]` → `[T / FRAME_SAMPLES, POINTS · BANDS]`."""
    return _log_mel(audio, BANDS, FLOOR)


def fine_spectra(audio: Tensor) -> Tensor:
    """Fine log-mel spectra: `[T]` → `[T / FRAME_SAMPLES, POINTS · DETAIL_BANDS]`."""
    return _log_mel(audio, DETAIL_BANDS, DETAIL_FLOOR)


def _log_mel(audio: Tensor, bands: int, floor: float) -> Tensor:
    side = (TRANSFORM - POINT_SAMPLES) // 2
    windows = functional.pad(audio, (side, side)).unfold(0, TRANSFORM, POINT_SAMPLES)
    shape = functional.pad(torch.hann_window(WINDOW), ((TRANSFORM - WINDOW) // 2,) * 2)
    magnitudes = torch.fft.rfft(windows * shape).abs()
    mel = magnitudes @ mel_bands(RATE_HZ, TRANSFORM, bands).T
    logarithms: Tensor = mel.clamp_min(floor).log().view(-1, POINTS * bands)
    return logarithms
