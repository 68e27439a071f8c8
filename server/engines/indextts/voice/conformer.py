"""The conditioning encoder (Conformer, arXiv 2005.08100): semantic features to the context of the perceiver.

It has no length mask: the official pipeline passes a length that never masks anything.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import ConformerConfig
from intone.server.engines.indextts.layers import LayerNorm, Linear, sinusoids
from intone.server.engines.pieces import Pieces
from intone.server.engines.weights import Weights

MIN_FEATURES = 3
"""The convolution needs at least that many."""


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of one block; h heads of size d, D = h · d."""

    norm_attention: LayerNorm
    query: Linear
    key: Linear
    value: Linear
    position: Tensor  # [D, D]
    bias_content: Tensor  # [h, d], added to queries for content scores
    bias_position: Tensor  # [h, d], added to queries for position scores
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
    """The encoder; immutable."""

    def __init__(self, config: ConformerConfig, weights: Weights) -> None:
        self.config = config
        bands = (config.input_dim - 3) // 2 + 1  # left by the convolution
        self._conv = weights.affine("embed.conv.0", (config.dim, 1, 3, 3))
        self._embed = Linear.read(weights, "embed.out.0", (config.dim, config.dim * bands))
        self._blocks = tuple(_block(config, weights.scope(f"encoders.{index}")) for index in range(config.blocks))
        self._after = LayerNorm.read(weights, "after_norm", config.dim)

    def __call__(self, features: Tensor) -> Pieces[Tensor]:
        """`[T, input_dim]`, T at least 3 → `[(T - 3) // 2 + 1, dim]`; a block in each piece."""
        x = functional.conv2d(features[None, None], *self._conv, stride=2).relu()  # [1, D, T', F']
        x = self._embed(x[0].transpose(0, 1).flatten(1)) * self.config.dim**0.5  # [T', D]
        embedded = sinusoids(len(x), self.config.dim, x.device)
        for block in self._blocks:
            x = x + self._attend(block, block.norm_attention(x), embedded)
            x = x + _convolve(block, block.norm_conv(x), self.config.kernel)
            x = x + block.narrow(functional.silu(block.wide(block.norm_feed_forward(x))))
            x = block.norm_final(x)
            yield
        return self._after(x)

    def _attend(self, block: Block, x: Tensor, embedded: Tensor) -> Tensor:
        """Scores are query · key + query · position, with absolute positions of the keys."""
        queries, keys, values, positions = (
            rows.unflatten(1, (self.config.heads, -1)).transpose(0, 1)  # [h, T, d]
            for rows in (block.query(x), block.key(x), block.value(x), functional.linear(embedded, block.position))
        )
        # Both products as one of twice the width.
        both = torch.cat((queries + block.bias_content[:, None], queries + block.bias_position[:, None]), dim=2)
        scale = queries.shape[2] ** -0.5
        attended = functional.scaled_dot_product_attention(
            both[None], torch.cat((keys, positions), 2)[None], values[None], scale=scale
        )
        return block.out(attended[0].transpose(0, 1).flatten(1))


def _block(config: ConformerConfig, weights: Weights) -> Block:
    dim, square = config.dim, (config.dim, config.dim)
    bias = (config.heads, dim // config.heads)
    attention, conv = weights.scope("self_attn"), weights.scope("conv_module")
    return Block(
        norm_attention=LayerNorm.read(weights, "norm_mha", dim),
        query=Linear.read(attention, "linear_q", square),
        key=Linear.read(attention, "linear_k", square),
        value=Linear.read(attention, "linear_v", square),
        position=attention.tensor("linear_pos.weight", square),
        bias_content=attention.tensor("pos_bias_u", bias),
        bias_position=attention.tensor("pos_bias_v", bias),
        out=Linear.read(attention, "linear_out", square),
        norm_conv=LayerNorm.read(weights, "norm_conv", dim),
        pointwise_in=Linear.read(conv, "pointwise_conv1", (2 * dim, dim, 1)),
        depthwise=conv.affine("depthwise_conv", (dim, 1, config.kernel)),
        norm_depthwise=LayerNorm.read(conv, "norm", dim),
        pointwise_out=Linear.read(conv, "pointwise_conv2", (dim, dim, 1)),
        norm_feed_forward=LayerNorm.read(weights, "norm_ff", dim),
        wide=Linear.read(weights, "feed_forward.w_1", (config.feed_forward, dim)),
        narrow=Linear.read(weights, "feed_forward.w_2", (dim, config.feed_forward)),
        norm_final=LayerNorm.read(weights, "norm_final", dim),
    )


def _convolve(block: Block, x: Tensor, kernel: int) -> Tensor:
    """`[T, D]` → `[T, D]`; each row depends on the `kernel` rows around it."""
    x = functional.glu(block.pointwise_in(x), dim=1)
    x = functional.conv1d(x.T[None], *block.depthwise, padding=(kernel - 1) // 2, groups=x.shape[1])[0].T
    return block.pointwise_out(functional.silu(block.norm_depthwise(x)))
