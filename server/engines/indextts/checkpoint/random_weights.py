"""Random weights for tests and benchmarks: the names and shapes that the modules declare, with plausible values.

A rule is a regular expression for whole names and a function from standard normal noise to the tensor. The first rule
that matches decides; other tensors follow `random_tensors`.
"""

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import BigVGANConfig, GPTConfig, IndexTTSConfig
from intone.server.engines.weights import Shapes
from intone.server.ops.reference import anti_alias_filter

Rule = tuple[str, Callable[[Tensor], Tensor]]

ONES = ("weight", "gamma", "running_var")
"""Last parts of the names of vectors that are ones: gains and variances of norms."""

BIAS_SCALE = 0.02
TIME_PERIOD = 10000.0


def random_tensors(shapes: Shapes, generator: torch.Generator, rules: Sequence[Rule] = ()) -> dict[str, Tensor]:
    """Tensors of these names and shapes, the same for the same generator state.

    Where no rule matches: gains and variances are ones, other vectors small, and weights of more dimensions preserve
    the variance of their input.
    """
    compiled = [(re.compile(pattern), make) for pattern, make in rules]
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        make = next((make for pattern, make in compiled if pattern.fullmatch(name)), None)
        noise = torch.randn(shape, generator=generator)
        tensors[name] = make(noise) if make else _default(name, noise)
    return tensors


def rules(config: IndexTTSConfig) -> dict[str, Sequence[Rule]]:
    """The rules of each part of a checkpoint; parts without any are left out."""
    return {"gpt": gpt_rules(config.gpt), "s2mel": S2MEL, "codec": CODEC, "vocoder": vocoder_rules(config.vocoder)}


def gpt_rules(gpt: GPTConfig) -> Sequence[Rule]:
    """Residual branches are scaled as in GPT-2. The stop code is never likely: the length guard ends a unit."""
    residual = (2 * gpt.layers) ** -0.5

    def head_bias(noise: Tensor) -> Tensor:
        bias = BIAS_SCALE * noise
        bias[gpt.stop_code] = -1e4
        return bias

    return (
        (r"(text|mel|lang|speed)_\w*emb.*\.weight", lambda noise: 0.7 * noise),  # two of them sum to a variance of 1
        (r"gpt\.h\..*c_proj\.weight", lambda noise: residual * noise * len(noise) ** -0.5),
        (r"gpt\.h\..*(c_attn|c_fc)\.weight", lambda noise: noise * len(noise) ** -0.5),  # stored as [in, out]
        (r"mel_head\.bias", head_bias),
    )


def vocoder_rules(vocoder: BigVGANConfig) -> Sequence[Rule]:
    """Audio of about a tenth of full scale for a mel spectrogram of variance 1.

    A weight-normed row of length L multiplies the variance of its input by L².
    """
    return (
        (r".*filter", lambda noise: anti_alias_filter().float().view(noise.shape)),
        *((rf"ups\.{index}\..*weight_g", _near((rate / 2) ** 0.5)) for index, rate in enumerate(vocoder.rates)),
        (r"resblocks\..*weight_g", _near(0.3)),
        (r"conv_post\.weight_g", _near(0.1)),
        (r".*weight_g", _near(1.0)),
        (r".*weight_v", lambda noise: noise),
        (r".*", lambda noise: 0.1 * noise),
    )


def _near(value: float) -> Callable[[Tensor], Tensor]:
    return lambda noise: value * (1 + 0.1 * noise.clamp(-3, 3))


def _fan_in(noise: Tensor) -> Tensor:
    scale: float = math.prod(noise.shape[1:]) ** -0.5
    return noise * scale


def _default(name: str, noise: Tensor) -> Tensor:
    if noise.dim() == 1:
        return torch.ones_like(noise) if name.endswith(ONES) else BIAS_SCALE * noise
    return _fan_in(noise)


def _time_frequencies(noise: Tensor) -> Tensor:
    return torch.exp(torch.arange(len(noise)) * (-math.log(TIME_PERIOD) / len(noise)))


def _scale_and_shift_bias(noise: Tensor) -> Tensor:
    bias = BIAS_SCALE * noise
    bias[: len(bias) // 2] += 1
    return bias


# Adaptive norms scale by about 1, residual branches are weaker than what they are added to, and velocities have a
# variance near 1, so that a solve ends near where it began.
S2MEL: Sequence[Rule] = (
    (r".*freqs", _time_frequencies),
    (r".*(weight_g|norm\.weight)", _near(1.0)),
    (r".*project_layer\.bias", _scale_and_shift_bias),
    (r".*(norm\.project_layer|adaLN_modulation\.1|wo|w2)\.weight", lambda noise: 0.3 * _fan_in(noise)),
    # The length regulator: convolutions and, with one dimension, norms.
    (r"(.*\.)?model\.\d+\.weight", lambda noise: _near(1.5)(noise) if noise.dim() == 1 else _fan_in(noise)),
)

# A feature's numbers have a variance near 1.
CODEC: Sequence[Rule] = (
    (r".*(weight_g|norm\.weight)", _near(1.0)),
    (r".*gamma", _near(0.3)),
    (r".*codebook\.weight", lambda noise: noise),
)
