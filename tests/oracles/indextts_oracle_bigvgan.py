"""Runs the vocoder of the official IndexTTS-2.5 package on tiny random weights, for `indextts_golden.py`.

Imports nothing of intone.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.oracles.indextts_oracle import noise, shaken, weights

BANDS = 80
PUBLISHED = {"upsample_rates": [4, 4, 2, 2, 2, 2], "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4]}
OTHER = {"upsample_rates": [2, 4], "upsample_kernel_sizes": [4, 8]}


def vocoder(channels: int, rates: dict[str, list[int]], kernels: list[int], dilations: list[list[int]]) -> nn.Module:
    from indextts25.s2mel.modules.bigvgan.bigvgan import BigVGAN
    from indextts25.s2mel.modules.bigvgan.env import AttrDict

    settings = {
        **{"resblock": "1", "upsample_initial_channel": channels, "activation": "snakebeta", "snake_logscale": True},
        **{"resblock_kernel_sizes": kernels, "resblock_dilation_sizes": dilations},
        **{"use_tanh_at_final": False, "use_bias_at_final": False, "num_mels": BANDS, "hop_size": 256},
        **{"n_fft": 1024, "win_size": 1024, "sampling_rate": 22050, "fmin": 0, "fmax": None},
    }
    torch.manual_seed(channels)  # for the biases, which the package draws
    model = BigVGAN(AttrDict({**settings, **rates}))
    generator = torch.Generator().manual_seed(channels)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 3:  # the package's initial values are too small for deeper layers to matter
            fan_in = 2 * parameter.shape[0] if name.startswith("ups") else parameter[0].numel()
            spread = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
            scale = 0.3 if name.startswith("resblocks") else 0.08 if name.startswith("conv_post") else 1.0
            parameter.data.copy_(scale * spread)
    return shaken(model, 1)


def bigvgan() -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    three = [[1, 3, 5]] * 3
    for case, model, lengths in (
        ("published", vocoder(64, PUBLISHED, [3, 7, 11], three), (1, 2, 20, 100)),
        ("other", vocoder(12, OTHER, [5, 3], [[1, 2, 4], [3, 1, 2]]), (1, 9, 64)),
    ):
        found |= weights(model, f"{case}.w")
        for frames in lengths:
            mel = noise(frames, 2, BANDS, frames)
            found |= {f"{case}.in.{frames}": mel, f"{case}.out.{frames}": model(mel)[:, 0]}
    return found


def activation() -> dict[str, Tensor]:
    from indextts25.s2mel.modules.bigvgan.activations import SnakeBeta
    from indextts25.s2mel.modules.bigvgan.alias_free_activation.torch.act import Activation1d

    model = shaken(Activation1d(activation=SnakeBeta(6, alpha_logscale=True)), 2)
    found = weights(model, "w")
    for samples in (1, 2, 3, 5, 6, 11, 12, 40, 1100):
        x = 2 * noise(samples, 2, 6, samples)
        found |= {f"in.{samples}": x, f"out.{samples}": model(x)}
    return found


GROUPS: dict[str, Callable[[], dict[str, Tensor]]] = {made.__name__: made for made in (bigvgan, activation)}

if __name__ == "__main__":
    with torch.inference_mode():
        tensors = GROUPS[sys.argv[1]]()
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, Path(sys.argv[2]))
