"""The resampler that the speaker's clip goes through before its features are taken. Knows no networks.

A sinc in a squared cosine window, as torchaudio has it (J. O. Smith, "Digital audio resampling"). Emotion clips and
everything else go through soxr; the two differ audibly to a network, not to people.
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
    taken, given = from_hz // shared, to_hz // shared
    if taken == given:
        return samples
    cutoff = ROLLOFF * min(taken, given)
    reach = math.ceil(WIDTH * taken / cutoff)
    # One filter for each of the `given` places that an output can have among `taken` inputs.
    places = torch.arange(-reach, reach + taken, dtype=torch.float64) / taken
    times = (places - torch.arange(given, dtype=torch.float64)[:, None] / given) * cutoff
    times = times.clamp(-WIDTH, WIDTH)
    window = torch.cos(times * math.pi / WIDTH / 2) ** 2
    filters = (torch.sinc(times) * window * cutoff / taken).to(samples)  # [given, 2·reach + taken]
    padded = functional.pad(samples, (reach, reach + taken))
    outputs = functional.conv1d(padded[None, None], filters[:, None], stride=taken)[0]  # [given, blocks]
    return outputs.T.flatten()[: math.ceil(len(samples) * given / taken)]
