"""The log mel spectrogram of flow and vocoder, with librosa's Slaney mel scale and normalisation."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import MelConfig

FLOOR = 1e-5
LINEAR_HZ_PER_MEL = 200.0 / 3
LOGARITHMIC_FROM_HZ = 1000.0
MELS_PER_E = 27.0 / math.log(6.4)


def mel_spectrogram(samples: Tensor, config: MelConfig) -> Tensor:
    """Natural log mel amplitudes: mono `[N]` at `sample_rate_hz` → `[bands, N // hop]`."""
    padding = (config.n_fft - config.hop_samples) // 2
    padded = functional.pad(samples[None, None], (padding, padding), mode="reflect")[0, 0]
    window = torch.hann_window(config.win_samples, device=samples.device)
    spectrum = torch.stft(
        padded, config.n_fft, config.hop_samples, config.win_samples, window, center=False, return_complex=True
    )
    amplitudes = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    return (_slaney_bank(config).to(amplitudes) @ amplitudes).clamp_min(FLOOR).log()


def _slaney_bank(config: MelConfig) -> Tensor:
    """Triangular filters of equal area: `[bands, n_fft // 2 + 1]`."""
    max_hz = config.fmax_hz if config.fmax_hz is not None else config.sample_rate_hz / 2
    edges = _hz(np.linspace(_mel(config.fmin_hz), _mel(max_hz), config.bands + 2))[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = np.linspace(0, config.sample_rate_hz / 2, config.n_fft // 2 + 1)
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0)
    return torch.from_numpy((triangles * 2.0 / (right - left)).astype(np.float32))


def _mel(hz: float) -> float:
    if hz < LOGARITHMIC_FROM_HZ:
        return hz / LINEAR_HZ_PER_MEL
    return LOGARITHMIC_FROM_HZ / LINEAR_HZ_PER_MEL + math.log(hz / LOGARITHMIC_FROM_HZ) * MELS_PER_E


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    corner = LOGARITHMIC_FROM_HZ / LINEAR_HZ_PER_MEL
    logarithmic: NDArray[np.float64] = LOGARITHMIC_FROM_HZ * np.exp((mel - corner) / MELS_PER_E)
    return np.where(mel < corner, LINEAR_HZ_PER_MEL * mel, logarithmic)
