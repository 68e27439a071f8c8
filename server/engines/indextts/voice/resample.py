"""torchaudio's resampler: a sinc in a squared cosine window (J. O. Smith, "Digital audio resampling").

A voice's recording goes through it before features are taken, as in the official pipeline; everything else goes through
soxr. The difference is inaudible but changes the features.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

WIDTH = 6
ROLLOFF = 0.99


def sinc_resample(samples: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Mono `[N]` → `[ceil(N · to_hz / from_hz)]`, in float32."""
    shared = math.gcd(from_hz, to_hz)
    inputs, outputs = from_hz // shared, to_hz // shared
    if inputs == outputs:
        return samples
    cutoff = ROLLOFF * min(inputs, outputs)
    reach = math.ceil(WIDTH * inputs / cutoff)
    # One filter for each phase of the `outputs` output samples among `inputs` input samples.
    phases = torch.arange(-reach, reach + inputs, dtype=torch.float64) / inputs
    times = (phases - torch.arange(outputs, dtype=torch.float64)[:, None] / outputs) * cutoff
    times = times.clamp(-WIDTH, WIDTH)
    window = torch.cos(times * math.pi / WIDTH / 2) ** 2
    filters = (torch.sinc(times) * window * cutoff / inputs).to(samples)  # [outputs, 2 · reach + inputs]
    padded = functional.pad(samples, (reach, reach + inputs))
    resampled = functional.conv1d(padded[None, None], filters[:, None], stride=inputs)[0]  # [outputs, blocks]
    return resampled.T.flatten()[: math.ceil(len(samples) * outputs / inputs)]
