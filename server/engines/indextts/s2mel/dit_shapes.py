"""Tensor names and untrained weights of the velocity field. Knows nothing of how it computes."""

import math

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import DiTConfig, WaveNetConfig
from intone.server.engines.indextts.s2mel import wavenet

TIME_WAVES = 128
SLOWEST_PERIOD = 10000.0


def dead_keys(config: DiTConfig) -> tuple[str, ...]:
    """Patterns of the names (whole, as regular expressions) that the file has and nothing here uses."""
    early = "|".join(str(index) for index in range(config.depth // 2 + 1))
    return (
        r"(x_embedder|cond_embedder|content_mask_embedder)\..*",
        r"input_pos",
        rf"transformer\.layers\.({early})\.skip_in_linear\..*",
    )


def tensor_shapes(config: DiTConfig, wavenet_config: WaveNetConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape."""
    wide, inner, tail = config.hidden, config.feed_forward, wavenet_config.hidden
    joint = 2 * config.mel_bands + wide + config.style_dim
    linears: dict[str, tuple[int, ...]] = {
        "cond_projection": (wide, config.content_dim),
        "cond_x_merge_linear": (wide, joint),
        "skip_linear": (wide, wide + config.mel_bands),
        "conv1": (tail, wide),
        "res_projection": (tail, wide),
        "conv2": (config.mel_bands, tail, 1),
        "final_layer.adaLN_modulation.1": (2 * tail, tail),
        "transformer.norm.project_layer": (2 * wide, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {"transformer.norm.norm.weight": (wide,)}
    for name, size in (("t_embedder", wide), ("t_embedder2", tail)):
        shapes[f"{name}.freqs"] = (TIME_WAVES,)
        linears[f"{name}.mlp.0"], linears[f"{name}.mlp.2"] = (size, 2 * TIME_WAVES), (size, size)
    for index in range(config.depth):
        layer = f"transformer.layers.{index}"
        shapes[f"{layer}.attention.wqkv.weight"] = (3 * wide, wide)
        shapes[f"{layer}.attention.wo.weight"] = (wide, wide)
        shapes[f"{layer}.feed_forward.w1.weight"] = shapes[f"{layer}.feed_forward.w3.weight"] = (inner, wide)
        shapes[f"{layer}.feed_forward.w2.weight"] = (wide, inner)
        for norm in ("attention_norm", "ffn_norm"):
            shapes[f"{layer}.{norm}.norm.weight"] = (wide,)
            linears[f"{layer}.{norm}.project_layer"] = (2 * wide, wide)
        if index > config.depth // 2:
            linears[f"{layer}.skip_in_linear"] = (wide, 2 * wide)
    for name, shape in linears.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    last = "final_layer.linear"
    shapes |= {f"{last}.weight_g": (tail, 1), f"{last}.weight_v": (tail, tail), f"{last}.bias": (tail,)}
    inner_shapes = wavenet.tensor_shapes(wavenet_config)
    return shapes | {f"wavenet.{name}": shape for name, shape in inner_shapes.items()}


def random_tensors(config: DiTConfig, wavenet_config: WaveNetConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained tensors under the published names, the same for the same generator state.

    Adaptive norms scale by about 1, residual branches are weaker than what they are added to, and velocities have a
    variance near 1, so that a solve ends near where it began.
    """
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config, wavenet_config).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("freqs"):
            tensors[name] = torch.exp(torch.arange(TIME_WAVES) * (-math.log(SLOWEST_PERIOD) / TIME_WAVES))
        elif name.endswith(("weight_g", "norm.weight")):
            tensors[name] = 1 + 0.1 * noise.clamp(-3, 3)
        elif name.endswith("project_layer.bias"):
            tensors[name] = 0.02 * noise
            tensors[name][: config.hidden] += 1
        elif len(shape) == 1:
            tensors[name] = 0.02 * noise
        else:
            weak = (
                0.3
                if "norm.project_layer" in name or "adaLN" in name or name.endswith(("wo.weight", "w2.weight"))
                else 1
            )
            tensors[name] = weak * noise * math.prod(shape[1:]) ** -0.5
    return tensors
