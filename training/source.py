"""What a decoder's first weights know: a voice's fundamental, from the latents' pointer to the wave. Knows no loss.

That the wave turns with the pointer is a linear matter, but one through five changes of rate, and from chance alone
training does not find it: being silent is the nearer way to be less wrong. So two channels of each layer are laid from
the pointer to the sound: joined by straight lines, carried to 200 Hz, filled up to the rate. Everything else, overtones
and noise and what they should be at which time, is learnt, and nothing holds these channels to what they were.
"""

import math

import torch
from torch import Tensor

from intone.server.engines.voxcpm.audio_vae_config import AudioVAEConfig
from training.analysis import FRAME_SAMPLES, POINTER, POINTS, SOUND_SAMPLES
from training.shards import POINT_SAMPLES, RATE_HZ
from training.vae import AudioVAE, Block, Conv, ConvTranspose, Depthwise, Normed, Snake, Unit

FIRST_RATES = (8, 8)
"""Of the decoder: after them a row is 5 ms, one cycle of 200 Hz, and then an eighth of it."""

LEVEL = 0.1
LEAD = 1.3
"""By which the teacher's fundamental runs ahead of its phase, on the average; in radians."""

BENDING = 0.1
"""Of the channels' snakes: close to a straight line."""


def lay(vae: AudioVAE) -> None:
    """Put the fundamental in the first channels of `vae.decoder`.

    Raises:
        ValueError: the decoder's rates are not those that this is made for.
    """
    config = vae.config
    if config.decoder_rates[:2] != FIRST_RATES or math.prod(config.decoder_rates) != SOUND_SAMPLES:
        raise ValueError(f"decoder_rates: found {config.decoder_rates}, expected {FIRST_RATES} and a frame of 40 ms")
    stem, widen, *blocks, snake, last = vae.decoder.model
    assert (
        isinstance(stem, Depthwise) and isinstance(widen, Conv) and isinstance(snake, Snake) and isinstance(last, Conv)
    )
    with torch.no_grad():
        _begin(stem, _tap(2 * POINTS, stem.weight.shape[2]))
        _begin(widen, torch.eye(2 * POINTS, config.latent_dim).unsqueeze(2))
        rows = 2 * POINTS
        for block, kernel in zip(blocks, _kernels(config), strict=True):
            assert isinstance(block, Block)
            bend, up, *units = block.block
            assert isinstance(bend, Snake) and isinstance(up, ConvTranspose)
            bend.alpha[:, :rows] = BENDING
            weight = up.weight.clone()
            weight[:, :2] *= 0.1  # what else arrives in the two channels
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
        weight *= 0.1  # of what is still noise
        weight[0, 0, :] = 0
        weight[0, 0, -1] = LEVEL / POINTER
        _fold(last, weight)


def _kernels(config: AudioVAEConfig) -> list[Tensor]:
    """`[rows, 2, 2 · rate]` of each change of rate: from the pointer's points, or from the two channels, to two."""
    points_s = torch.arange(-POINTS, POINTS) * (POINT_SAMPLES / RATE_HZ) + 0.5 * POINT_SAMPLES / RATE_HZ
    frame_s, slots = FRAME_SAMPLES / RATE_HZ, FIRST_RATES[0]
    shares = _joined(
        points_s, (torch.arange(slots) + 0.5) * frame_s / slots
    )  # [slots, 2 · POINTS], the frame before first
    first = torch.zeros(POINTS, 2, 2, 2 * slots)
    for part, half in ((shares[:, POINTS:], slice(0, slots)), (shares[:, :POINTS], slice(slots, 2 * slots))):
        for coordinate in (0, 1):
            first[:, coordinate, coordinate, half] = part.T
    kernels = [first.flatten(0, 1)]
    for number, rate in enumerate(config.decoder_rates[1:]):
        middles = torch.tensor([-0.5, 0.5])  # of the row before and of this one, in rows
        shares = _joined(middles, (torch.arange(rate) + 0.5) / rate)  # [rate, 2]
        kernel = torch.zeros(2, 2, 2 * rate)
        angles = LEAD + 2 * torch.pi * (torch.arange(rate) + 0.5) / rate if number == 0 else torch.zeros(rate)
        turned = torch.stack((torch.stack((angles.cos(), angles.sin())), torch.stack((-angles.sin(), angles.cos()))))
        kernel[:, :, :rate] = turned * shares[:, 1]
        kernel[:, :, rate:] = turned * shares[:, 0]
        kernels.append(kernel)
    return kernels


def _joined(known: Tensor, wanted: Tensor) -> Tensor:
    """How much of each known value a value between has: `[wanted, known]`; the last one holds on after its time."""
    after = torch.searchsorted(known, wanted).clamp(1, len(known) - 1)
    part = ((wanted - known[after - 1]) / (known[after] - known[after - 1])).clamp(0, 1)
    shares = torch.zeros(len(wanted), len(known))
    shares[torch.arange(len(wanted)), after - 1] = 1 - part
    shares[torch.arange(len(wanted)), after] += part
    return shares


def _tap(channels: int, kernel: int) -> Tensor:
    """Passes the present on: `[channels, 1, kernel]`."""
    weight = torch.zeros(channels, 1, kernel)
    weight[:, :, -1] = 1
    return weight


def _begin(layer: Normed, rows: Tensor) -> None:
    _fold(layer, torch.cat((rows, layer.weight[len(rows) :])))


def _fold(layer: Normed, weight: Tensor) -> None:
    layer.weight_v.copy_(weight)
    layer.weight_g.copy_(torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True))
