"""Configurations of the vocoder for tests, and vocoders with random weights."""

from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import BigVGANConfig
from intone.server.engines.indextts.checkpoint.random_weights import vocoder_rules
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from tests.support.indextts_tiny import untrained, weights

PUBLISHED = BigVGANConfig(
    mel_bands=80,
    channels=1536,
    rates=(4, 4, 2, 2, 2, 2),
    rate_kernels=(8, 8, 4, 4, 4, 4),
    block_kernels=(3, 7, 11),
    block_dilations=((1, 3, 5),) * 3,
    sample_rate_hz=22050,
)
CONFIGS = {
    "published": replace(PUBLISHED, channels=64),
    "other": replace(
        PUBLISHED,
        channels=12,
        rates=(2, 4),
        rate_kernels=(4, 8),
        block_kernels=(5, 3),
        block_dilations=((1, 2, 4), (3, 1, 2)),
    ),
}
TINY = replace(CONFIGS["other"], mel_bands=5)


def built(config: BigVGANConfig, tensors: dict[str, Tensor]) -> BigVGAN:
    return BigVGAN(config, weights(tensors))


@cache
def untrained_vocoder(config: BigVGANConfig) -> BigVGAN:
    return built(config, untrained_tensors(config))


def untrained_tensors(config: BigVGANConfig) -> dict[str, Tensor]:
    return untrained(partial(BigVGAN, config), 3, vocoder_rules(config))


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
