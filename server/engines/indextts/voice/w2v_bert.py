"""w2v-BERT 2.0 up to the layer whose output is the semantic feature; the input is a stacked filter bank.

Conformer layers with relative positions on keys (Shaw et al., arXiv 1803.02155) and causal convolutions; the model is
that of SeamlessM4T (arXiv 2312.05187).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import W2vBertConfig
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.pieces import Pieces
from intone.server.engines.weights import Weights


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A feed-forward residual branch of weight 1/2 (macaron style)."""

    norm: LayerNorm
    wide: Linear
    narrow: Linear

    def __call__(self, x: Tensor) -> Tensor:
        """`[T, D]` → `[T, D]`."""
        return x + 0.5 * self.narrow(functional.silu(self.wide(self.norm(x))))


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention; P relative positions from `-left` to `right`, clamped."""

    norm: LayerNorm
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    distances: Tensor  # [P, d]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A causal convolution module of kernel K."""

    norm: LayerNorm
    pointwise_in: Linear
    depthwise: Tensor  # [D, 1, K]
    norm_depthwise: LayerNorm
    pointwise_out: Linear


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer."""

    before: FeedForward
    attention: Attention
    convolution: Convolution
    after: FeedForward
    norm_final: LayerNorm


class W2vBert:
    """The encoder up to `config.layers`; immutable."""

    def __init__(self, config: W2vBertConfig, weights: Weights) -> None:
        self.config = config
        projection = weights.scope("feature_projection")
        self._norm = LayerNorm.read(projection, "layer_norm", config.input_dim, config.norm_eps)
        self._project = Linear.read(projection, "projection", (config.dim, config.input_dim))
        self._layers = tuple(_layer(config, weights.scope(f"encoder.layers.{i}")) for i in range(config.layers))

    def __call__(self, features: Tensor, last_masked: bool = False) -> Pieces[Tensor]:
        """Output of the last layer: `[T, input_dim]` → `[T, dim]`; a layer in each piece.

        Args:
            last_masked: the last row is padding: no row attends to it, but it is returned, as in the official pipeline.
        """
        x = self._project(self._norm(features))
        real = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        real[len(x) - 1 :] = not last_masked
        x = x * real
        positions = torch.arange(len(x), device=x.device)
        distances = (positions[None] - positions[:, None]).clamp(
            -self.config.left_positions, self.config.right_positions
        )
        distances += self.config.left_positions  # [T, T]
        for layer in self._layers:
            x = layer.before(x)
            x = x + self._attend(layer.attention, x, distances, real)
            x = x + _convolve(layer.convolution, x, real)
            x = layer.norm_final(layer.after(x))
            yield
        return x

    def _attend(self, attention: Attention, x: Tensor, distances: Tensor, real: Tensor) -> Tensor:
        normed = attention.norm(x)
        queries, keys, values = (
            rows.unflatten(1, (self.config.heads, -1)).transpose(0, 1)  # [h, T, d]
            for rows in (attention.query(normed), attention.key(normed), attention.value(normed))
        )
        by_distance = queries @ attention.distances.T * queries.shape[2] ** -0.5  # [h, T, P]
        bias = by_distance.gather(2, distances.expand(self.config.heads, -1, -1))  # [h, T, T]
        bias = bias.masked_fill(~real.T, float("-inf"))
        attended = functional.scaled_dot_product_attention(
            queries[None], keys[None], values[None], attn_mask=bias[None]
        )
        return attention.out(attended[0].transpose(0, 1).flatten(1))


def _layer(config: W2vBertConfig, weights: Weights) -> Layer:
    dim, eps, square = config.dim, config.norm_eps, (config.dim, config.dim)
    distances = (config.left_positions + config.right_positions + 1, dim // config.heads)
    attention, conv = weights.scope("self_attn"), weights.scope("conv_module")
    return Layer(
        before=_feed_forward(config, weights, "ffn1"),
        attention=Attention(
            norm=LayerNorm.read(weights, "self_attn_layer_norm", dim, eps),
            query=Linear.read(attention, "linear_q", square),
            key=Linear.read(attention, "linear_k", square),
            value=Linear.read(attention, "linear_v", square),
            out=Linear.read(attention, "linear_out", square),
            distances=attention.tensor("distance_embedding.weight", distances),
        ),
        convolution=Convolution(
            norm=LayerNorm.read(conv, "layer_norm", dim, eps),
            pointwise_in=Linear.read(conv, "pointwise_conv1", (2 * dim, dim, 1), bias=False),
            depthwise=conv.tensor("depthwise_conv.weight", (dim, 1, config.kernel)),
            norm_depthwise=LayerNorm.read(conv, "depthwise_layer_norm", dim, eps),
            pointwise_out=Linear.read(conv, "pointwise_conv2", (dim, dim, 1), bias=False),
        ),
        after=_feed_forward(config, weights, "ffn2"),
        norm_final=LayerNorm.read(weights, "final_layer_norm", dim, eps),
    )


def _feed_forward(config: W2vBertConfig, weights: Weights, name: str) -> FeedForward:
    return FeedForward(
        LayerNorm.read(weights, f"{name}_layer_norm", config.dim, config.norm_eps),
        Linear.read(weights, f"{name}.intermediate_dense", (config.feed_forward, config.dim)),
        Linear.read(weights, f"{name}.output_dense", (config.dim, config.feed_forward)),
    )


def _convolve(conv: Convolution, x: Tensor, real: Tensor) -> Tensor:
    x = functional.glu(conv.pointwise_in(conv.norm(x) * real), dim=1)
    past = conv.depthwise.shape[2] - 1
    x = functional.conv1d(functional.pad(x.T, (past, 0))[None], conv.depthwise, groups=x.shape[1])[0].T
    return conv.pointwise_out(functional.silu(conv.norm_depthwise(x)))
