"""Kaldi's log mel filter bank (Povey et al., "The Kaldi speech recognition toolkit", 2011), and w2v-BERT's features.

Frames of 25 ms every 10 ms, at 16 kHz, without dither; an incomplete last frame is dropped. Written here because
results must match Kaldi's exactly.
"""

import numpy as np
import torch
from torch import Tensor

RATE_HZ = 16000
FRAME_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
BANDS = 80
MIN_HZ = 20.0
PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)
INT16 = 2.0**15
STACKED = 2


def fbank(samples: Tensor) -> Tensor:
    """Natural log mel energies: mono `[N]` at 16 kHz → `[1 + (N - 400) // 160, 80]`; N at least 400."""
    frames = samples.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)  # the first sample is its own predecessor
    window = torch.hann_window(FRAME_SAMPLES, periodic=False, device=samples.device).pow(0.85)
    spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * window, n=FFT_SAMPLES)
    power = spectrum.real**2 + spectrum.imag**2
    energies: Tensor = power @ _kaldi_bank().to(power)
    return energies.clamp_min(FLOOR).log()


def w2v_features(samples: Tensor) -> tuple[Tensor, bool]:
    """The input of w2v-BERT: `[N]` at 16 kHz → `[T, 160]`, two frames per row, each band with mean 0 and variance 1.

    The second value is True where the number of frames is odd: half of the last row is padding, and must be masked.
    """
    energies = fbank(samples * INT16)
    centred = energies - energies.mean(0)
    normal = centred / torch.sqrt(energies.var(0, unbiased=True) + 1e-7)
    odd = len(normal) % STACKED == 1
    if odd:
        normal = torch.cat((normal, torch.ones_like(normal[:1])))  # the published padding value
    return normal.reshape(-1, STACKED * BANDS), odd


def _kaldi_bank() -> Tensor:
    """Triangular filters on Kaldi's mel scale, from 20 Hz to the Nyquist frequency: `[257, 80]`; the last bin is 0."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log(1.0 + np.asarray(hz, np.float64) / 700.0)

    edges = np.linspace(mel(MIN_HZ), mel(RATE_HZ / 2), BANDS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = mel(np.arange(FFT_SAMPLES // 2) * RATE_HZ / FFT_SAMPLES)[:, None]  # [256, 1]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0)
    return torch.from_numpy(np.pad(triangles, ((0, 1), (0, 0))).astype(np.float32))
