"""Initial weights of the decoder that synthesize the fundamental from the phase pointer in the latents.

The fundamental is a linear function of the pointer, but across all upsampling layers of the decoder, and training
does not find it from random weights: reducing the output to silence lowers the loss faster. Therefore two channels of
each layer are initialized to interpolate the pointer linearly, modulate it onto a 200 Hz carrier, and upsample the
result to the sample rate. Overtones, noise and their timing are learned, and training may change these channels too.
"""

import math

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from training.analysis import FRAME_SAMPLES, POINTER, POINTS, SOUND_SAMPLES
from training.shards import POINT_SAMPLES, RATE_HZ
from training.vae import AudioVAE, Block, Conv, ConvTranspose, Depthwise, Normed, Snake, Unit

FIRST_RATES = (8, 8)
"""Required first rates of the decoder: a row is 5 ms (one cycle of 200 Hz) after the first, and 5/8 ms after both."""

LEVEL = 0.1
LEAD = 1.3
"""Mean lead of the teacher's fundamental over its nominal phase, in radians."""

BENDING = 0.1
"""α of the Snake activations of these channels, so small that they are almost linear."""


def lay(vae: AudioVAE) -> None:
    """Initialize the first channels of `vae.decoder` to synthesize the fundamental, in place.

    Raises:
        ValueError: unsupported decoder rates.
    """
    config = vae.config
    if config.decoder_rates[:2] != FIRST_RATES or math.prod(config.decoder_rates) != SOUND_SAMPLES:
        raise ValueError(f"decoder_rates: found {config.decoder_rates}, expected {FIRST_RATES} and 40 ms per frame")
    stem, widen, *blocks, snake, last = vae.decoder.model
    assert (
        isinstance(stem, Depthwise) and isinstance(widen, Conv) and isinstance(snake, Snake) and isinstance(last, Conv)
    )
    with torch.no_grad():
        _begin(stem, _tap(config.latent_dim, stem.weight.shape[2]))
        _begin(widen, torch.eye(2 * POINTS, config.latent_dim).unsqueeze(2))
        rows = 2 * POINTS
        for block, kernel in zip(blocks, _kernels(config), strict=True):
            assert isinstance(block, Block)
            bend, up, *units = block.block
            assert isinstance(bend, Snake) and isinstance(up, ConvTranspose)
            bend.alpha[:, :rows] = BENDING
            weight = up.weight.clone()
            weight[:, :2] *= 0.1  # attenuate the other inputs of the two channels
            weight[:rows, :2] = kernel
            _fold(up, weight)
            for unit in units:
                assert isinstance(unit, Unit) and isinstance(unit.block[3], Conv)
                inner = unit.block[3]
                weight = inner.weight.clone()
                weight[:2] *= 0.1
                _fold(inner, weight)
            rows = 2
        snake.alpha[:, :2] = BENDING
        weight = last.weight.clone()
        weight *= 0.1  # attenuate the untrained channels
        weight[0, 0, :] = 0
        weight[0, 0, -1] = LEVEL / POINTER
        _fold(last, weight)


def _kernels(config: AudioVAEConfig) -> list[Tensor]:
    """One kernel `[rows, 2, 2 · rate]` per upsampling layer; `rows` are the pointer's points, then the two channels."""
    points_s = torch.arange(-POINTS, POINTS) * (POINT_SAMPLES / RATE_HZ) + 0.5 * POINT_SAMPLES / RATE_HZ
    frame_s, slots = FRAME_SAMPLES / RATE_HZ, FIRST_RATES[0]
    shares = _joined(
        points_s, (torch.arange(slots) + 0.5) * frame_s / slots
    )  # [slots, 2 · POINTS], previous frame first
    first = torch.zeros(POINTS, 2, 2, 2 * slots)
    for part, half in ((shares[:, POINTS:], slice(0, slots)), (shares[:, :POINTS], slice(slots, 2 * slots))):
        for coordinate in (0, 1):
            first[:, coordinate, coordinate, half] = part.T
    kernels = [first.flatten(0, 1)]
    for number, rate in enumerate(config.decoder_rates[1:]):
        middles = torch.tensor([-0.5, 0.5])  # centers of the previous and of this row, in rows
        shares = _joined(middles, (torch.arange(rate) + 0.5) / rate)  # [rate, 2]
        kernel = torch.zeros(2, 2, 2 * rate)
        angles = LEAD + 2 * torch.pi * (torch.arange(rate) + 0.5) / rate if number == 0 else torch.zeros(rate)
        turned = torch.stack((torch.stack((angles.cos(), angles.sin())), torch.stack((-angles.sin(), angles.cos()))))
        kernel[:, :, :rate] = turned * shares[:, 1]
        kernel[:, :, rate:] = turned * shares[:, 0]
        kernels.append(kernel)
    return kernels


def _joined(known: Tensor, wanted: Tensor) -> Tensor:
    """Weights of linear interpolation, `[wanted, known]`; the first and last known values extend beyond their times."""
    after = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
    part = ((wanted - known[after - 1]) / (known[after] - known[after - 1])).clamp(0, 1)
    shares = torch.zeros(len(wanted), len(known))
    shares[torch.arange(len(wanted)), after - 1] = 1 - part
    shares[torch.arange(len(wanted)), after] += part
    return shares


def _tap(channels: int, kernel: int) -> Tensor:
    """Depthwise identity kernel, which passes the current sample: `[channels, 1, kernel]`."""
    weight = torch.zeros(channels, 1, kernel)
    weight[:, :, -1] = 1
    return weight


def _begin(layer: Normed, rows: Tensor) -> None:
    _fold(layer, torch.cat((rows, layer.weight[len(rows) :])))


def _fold(layer: Normed, weight: Tensor) -> None:
    layer.weight_v.copy_(weight)
    layer.weight_g.copy_(torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True))
