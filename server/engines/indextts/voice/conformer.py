"""The encoder between semantic features and the conditioning latents (Conformer, arXiv 2005.08100). Knows no audio.

It has no length mask: the trained pipeline passes a length that never cuts anything off.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import ConformerConfig
from intone.server.engines.indextts.layers import LayerNorm, Linear, sinusoids
from intone.server.engines.weights import Weights

SHORTEST_FEATURES = 3
"""Fewer give the convolution nothing to work on."""


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of one block; h heads of size d, D = h·d."""

    norm_attention: LayerNorm
    query: Linear
    key: Linear
    value: Linear
    position: Tensor  # [D, D]
    bias_content: Tensor  # [h, d], added to queries that meet keys
    bias_position: Tensor  # [h, d], added to queries that meet positions
    out: Linear
    norm_conv: LayerNorm
    pointwise_in: Linear
    depthwise: tuple[Tensor, Tensor]  # [D, 1, K], [D]
    norm_depthwise: LayerNorm
    pointwise_out: Linear
    norm_feed_forward: LayerNorm
    wide: Linear
    narrow: Linear
    norm_final: LayerNorm


class Conformer:
    """The encoder; frozen once built."""

    def __init__(self, config: ConformerConfig, weights: Weights) -> None:
        self.config = config
        self._conv = weights["embed.conv.0.weight"], weights["embed.conv.0.bias"]
        self._embed = Linear.read(weights, "embed.out.0")
        self._blocks = tuple(_block(weights.scope(f"encoders.{index}")) for index in range(config.blocks))
        self._after = LayerNorm.read(weights, "after_norm")

    def __call__(self, features: Tensor) -> Tensor:
        """`[T, input_dim]`, T at least 3 → `[(T - 3) // 2 + 1, dim]`."""
        x = functional.conv2d(features[None, None], *self._conv, stride=2).relu()  # [1, D, T', F']
        x = self._embed(x[0].transpose(0, 1).flatten(1)) * self.config.dim**0.5  # [T', D]
        places = sinusoids(len(x), self.config.dim, x.device)
        for block in self._blocks:
            x = x + self._attend(block, block.norm_attention(x), places)
            x = x + _convolve(block, block.norm_conv(x), self.config.kernel)
            x = x + block.narrow(functional.silu(block.wide(block.norm_feed_forward(x))))
            x = block.norm_final(x)
        return self._after(x)

    def _attend(self, block: Block, x: Tensor, places: Tensor) -> Tensor:
        """Scores are query·key plus query·position, the position being that of the key alone."""
        queries, keys, values, positions = (
            rows.unflatten(1, (self.config.heads, -1)).transpose(0, 1)  # [h, T, d]
            for rows in (block.query(x), block.key(x), block.value(x), functional.linear(places, block.position))
        )
        # Both products at once, as one of twice the size.
        both = torch.cat((queries + block.bias_content[:, None], queries + block.bias_position[:, None]), dim=2)
        scale = queries.shape[2] ** -0.5
        mixed = functional.scaled_dot_product_attention(
            both[None], torch.cat((keys, positions), 2)[None], values[None], scale=scale
        )
        return block.out(mixed[0].transpose(0, 1).flatten(1))


def tensor_shapes(config: ConformerConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape."""
    dim, head_dim = config.dim, config.dim // config.heads
    flat = dim * ((config.input_dim - 3) // 2 + 1)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.conv.0.weight": (dim, 1, 3, 3),
        "embed.conv.0.bias": (dim,),
        "embed.out.0.weight": (dim, flat),
        "embed.out.0.bias": (dim,),
        "after_norm.weight": (dim,),
        "after_norm.bias": (dim,),
    }
    matrices = {
        **{f"self_attn.linear_{name}": (dim, dim) for name in ("q", "k", "v", "out")},
        "feed_forward.w_1": (config.feed_forward, dim),
        "feed_forward.w_2": (dim, config.feed_forward),
        "conv_module.pointwise_conv1": (2 * dim, dim, 1),
        "conv_module.depthwise_conv": (dim, 1, config.kernel),
        "conv_module.norm": (dim,),
        "conv_module.pointwise_conv2": (dim, dim, 1),
        **{f"norm_{name}": (dim,) for name in ("ff", "mha", "conv", "final")},
    }
    for index in range(config.blocks):
        prefix = f"encoders.{index}."
        for name, shape in matrices.items():
            shapes |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
        shapes[f"{prefix}self_attn.linear_pos.weight"] = (dim, dim)
        shapes[f"{prefix}self_attn.pos_bias_u"] = shapes[f"{prefix}self_attn.pos_bias_v"] = (config.heads, head_dim)
    return shapes


def _block(weights: Weights) -> Block:
    attention, conv = weights.scope("self_attn"), weights.scope("conv_module")
    return Block(
        norm_attention=LayerNorm.read(weights, "norm_mha"),
        query=Linear.read(attention, "linear_q"),
        key=Linear.read(attention, "linear_k"),
        value=Linear.read(attention, "linear_v"),
        position=attention["linear_pos.weight"],
        bias_content=attention["pos_bias_u"],
        bias_position=attention["pos_bias_v"],
        out=Linear.read(attention, "linear_out"),
        norm_conv=LayerNorm.read(weights, "norm_conv"),
        pointwise_in=Linear.read(conv, "pointwise_conv1"),
        depthwise=(conv["depthwise_conv.weight"], conv["depthwise_conv.bias"]),
        norm_depthwise=LayerNorm.read(conv, "norm"),
        pointwise_out=Linear.read(conv, "pointwise_conv2"),
        norm_feed_forward=LayerNorm.read(weights, "norm_ff"),
        wide=Linear.read(weights, "feed_forward.w_1"),
        narrow=Linear.read(weights, "feed_forward.w_2"),
        norm_final=LayerNorm.read(weights, "norm_final"),
    )


def _convolve(block: Block, x: Tensor, kernel: int) -> Tensor:
    """`[T, D]` → `[T, D]`, each row from the `kernel` rows around it."""
    x = functional.glu(block.pointwise_in(x), dim=1)
    x = functional.conv1d(x.T[None], *block.depthwise, padding=(kernel - 1) // 2, groups=x.shape[1])[0].T
    return block.pointwise_out(functional.silu(block.norm_depthwise(x)))
