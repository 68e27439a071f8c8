"""The semantic codec: codes to features at 50 Hz (IndexTTS-2.5), features to their quantised selves (2). No sound here.

IndexTTS-2.5's EnhancedCodec and MaskGCT's RepCodec (arXiv 2409.00750) are the same nets: a Vocos backbone (ConvNeXt,
arXiv 2306.00814) on either side of one factorised codebook (arXiv 2110.04627). Only what speaking needs is kept.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import CodecConfig, IndexTTSConfig, Variant
from intone.server.engines.indextts.checkpoint.folding import weight_normed
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights

KERNEL = 7
NORM_EPS = 1e-6
BOOK = "quantizer.quantizers.0"


def tensor_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of what is used of the codec's file."""
    codec = config.codec
    shapes: dict[str, tuple[int, ...]] = {
        f"{BOOK}.codebook.weight": (codec.codebook_size, codec.codebook_dim),
        **_projection_shapes(f"{BOOK}.out_project", codec.hidden, codec.codebook_dim),
    }
    if config.variant is Variant.V25:
        up = {"up.weight": (codec.hidden, codec.hidden, 3), "up.bias": (codec.hidden,)}
        return {**shapes, **_tower_shapes(codec, "decoder"), **up}
    return {
        **shapes,
        **_projection_shapes(f"{BOOK}.in_project", codec.codebook_dim, codec.hidden),
        **_tower_shapes(codec, "encoder"),
    }


def dead_keys(config: IndexTTSConfig) -> tuple[str, ...]:
    """Patterns of the names (whole, as regular expressions) that the file has and nothing here uses."""
    if config.variant is Variant.V25:
        return (r"encoder\..*", r"down\..*", r"quantizer\.quantizers\.0\.in_project\..*")
    return (r"decoder\..*",)


def random_tensors(config: IndexTTSConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained tensors under the published names; a feature's numbers have a variance near 1."""
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("weight_g", "norm.weight")):
            tensors[name] = 1 + 0.1 * noise.clamp(-3, 3)
        elif name.endswith("gamma"):
            tensors[name] = 0.3 * (1 + 0.1 * noise.clamp(-3, 3))
        elif len(shape) == 1:
            tensors[name] = 0.02 * noise
        else:  # a code's own numbers have a variance of 1; every other weight keeps that of its input
            tensors[name] = noise if "codebook" in name else noise * math.prod(shape[1:]) ** -0.5
    return tensors


def _projection_shapes(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight_g": (out, 1, 1), f"{name}.weight_v": (out, into, 1), f"{name}.bias": (out,)}


def _tower_shapes(codec: CodecConfig, name: str) -> dict[str, tuple[int, ...]]:
    wide, inner = codec.vocos_dim, codec.vocos_feed_forward
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.0.embed.weight": (wide, codec.hidden, KERNEL),
        f"{name}.0.embed.bias": (wide,),
        f"{name}.1.weight": (codec.hidden, wide),
        f"{name}.1.bias": (codec.hidden,),
    }
    for norm in ("norm", "final_layer_norm"):
        shapes[f"{name}.0.{norm}.weight"] = shapes[f"{name}.0.{norm}.bias"] = (wide,)
    for index in range(codec.vocos_layers):
        block = f"{name}.0.convnext.{index}"
        shapes[f"{block}.dwconv.weight"] = (wide, 1, KERNEL)
        shapes[f"{block}.pwconv1.weight"], shapes[f"{block}.pwconv1.bias"] = (inner, wide), (inner,)
        shapes[f"{block}.pwconv2.weight"] = (wide, inner)
        for vector in ("gamma", "dwconv.bias", "norm.weight", "norm.bias", "pwconv2.bias"):
            shapes[f"{block}.{vector}"] = (wide,)
    return shapes


@dataclass(frozen=True, slots=True)
class ConvNeXtBlock:
    """x + Down(GELU(Up(Norm(depthwise conv of x)))), the layer scale folded into Down."""

    conv: tuple[Tensor, Tensor]  # [V, 1, K], [V]
    norm: LayerNorm
    up: Linear  # V → F
    down: Linear  # F → V

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, T, V]` → the same."""
        y = functional.conv1d(x.transpose(1, 2), *self.conv, padding=KERNEL // 2, groups=x.shape[2]).transpose(1, 2)
        return x + self.down(functional.gelu(self.up(self.norm(y))))


class Tower:
    """Vocos backbone and the projection back: one half of the codec. Every convolution pads with zeros at both ends."""

    def __init__(self, weights: Weights, layers: int) -> None:
        inner = weights.scope("0")
        self._embed = inner["embed.weight"], inner["embed.bias"]
        self._norm, self._last_norm = (LayerNorm.read(inner, name, NORM_EPS) for name in ("norm", "final_layer_norm"))
        self._blocks = tuple(_block(inner.scope(f"convnext.{index}")) for index in range(layers))
        self._out = Linear.read(weights, "1")

    def __call__(self, x: Tensor) -> Tensor:
        """`[B, T, H]` → `[B, T, H]`."""
        y = functional.conv1d(x.transpose(1, 2), *self._embed, padding=KERNEL // 2).transpose(1, 2)
        y = self._norm(y)
        for block in self._blocks:
            y = block(y)
        return self._out(self._last_norm(y))


class CodecDecoder:
    """IndexTTS-2.5: codes to twice as many features; frozen once built.

    Attributes:
        context_codes: codes on either side that a code's two features depend on.
    """

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self.context_codes = KERNEL // 2 * (config.vocos_layers + 1) + 1
        self._table = code_table(weights)
        self._tower = Tower(weights.scope("decoder"), config.vocos_layers)
        self._up = weights["up.weight"], weights["up.bias"]

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes `[B, n]` → features `[B, 2n, H]`, as the end of the codes were the end of the speech."""
        wide = self._tower(self._table[codes]).repeat_interleave(2, dim=1)
        return functional.conv1d(wide.transpose(1, 2), *self._up, padding=1).transpose(1, 2)


class FeatureQuantizer:
    """IndexTTS-2: a recording's features to what the codec's codes would make of them; frozen once built."""

    def __init__(self, config: CodecConfig, weights: Weights) -> None:
        self._table = code_table(weights)
        self._tower = Tower(weights.scope("encoder"), config.vocos_layers)
        self._into = _projection(weights, f"{BOOK}.in_project")
        self._directions = functional.normalize(weights[f"{BOOK}.codebook.weight"], dim=1)  # [K, D]

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[B, T, H]` → codes `[B, T]` and quantised features `[B, T, H]`.

        The code is the one nearest in direction; what it stands for has its own length.
        """
        codes = functional.linear(self._into(self._tower(features)), self._directions).argmax(dim=-1)
        return codes, self._table[codes]


def code_table(weights: Weights) -> Tensor:
    """What every code stands for, `[K, H]`: its codebook row, projected out of the small space codes live in."""
    return _projection(weights, f"{BOOK}.out_project")(weights[f"{BOOK}.codebook.weight"])


def _projection(weights: Weights, name: str) -> Linear:
    return Linear(weight_normed(weights, name)[:, :, 0], weights[f"{name}.bias"])


def _block(weights: Weights) -> ConvNeXtBlock:
    gamma = weights["gamma"]
    return ConvNeXtBlock(
        conv=(weights["dwconv.weight"], weights["dwconv.bias"]),
        norm=LayerNorm.read(weights, "norm", NORM_EPS),
        up=Linear.read(weights, "pwconv1"),
        down=Linear(gamma.unsqueeze(1) * weights["pwconv2.weight"], gamma * weights["pwconv2.bias"]),
    )
