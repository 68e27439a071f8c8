"""w2v-BERT 2.0 as far as semantic features need it: the output of one of its layers. Knows no audio, only features.

Conformer layers with Shaw's relative positions on keys (arXiv 1803.02155) and causal convolutions; the model is that of
SeamlessM4T (arXiv 2312.05187).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import W2vBertConfig
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights

DEAD_KEYS = (r"masked_spec_embed", r"adapter\..*", r"intermediate_ffn\..*")


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Half of it is added to the rows."""

    norm: LayerNorm
    wide: Linear
    narrow: Linear

    def __call__(self, x: Tensor) -> Tensor:
        """`[T, D]` → `[T, D]`."""
        return x + 0.5 * self.narrow(functional.silu(self.wide(self.norm(x))))


@dataclass(frozen=True, slots=True)
class Attention:
    """Self-attention; P positions from `left` before to `right` after a row, farther ones count as the farthest."""

    norm: LayerNorm
    query: Linear
    key: Linear
    value: Linear
    out: Linear
    distances: Tensor  # [P, d]


@dataclass(frozen=True, slots=True)
class Convolution:
    """Each row from itself and the `K - 1` before it."""

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
    """The encoder up to `config.layers`; frozen once built."""

    def __init__(self, config: W2vBertConfig, weights: Weights) -> None:
        self.config = config
        self._norm = LayerNorm.read(weights, "feature_projection.layer_norm", config.norm_eps)
        self._project = Linear.read(weights, "feature_projection.projection")
        self._layers = tuple(
            _layer(weights.scope(f"encoder.layers.{i}"), config.norm_eps) for i in range(config.layers)
        )

    def __call__(self, features: Tensor, last_masked: bool = False) -> Tensor:
        """Output of the last layer: `[T, input_dim]` → `[T, dim]`.

        Args:
            last_masked: the last row is padding: others do not see it, but it comes out, as in the trained pipeline.
        """
        x = self._project(self._norm(features))
        real = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        real[len(x) - 1 :] = not last_masked
        x = x * real
        places = torch.arange(len(x), device=x.device)
        distances = (places[None] - places[:, None]).clamp(-self.config.left_positions, self.config.right_positions)
        distances += self.config.left_positions  # [T, T]
        for layer in self._layers:
            x = layer.before(x)
            x = x + self._attend(layer.attention, x, distances, real)
            x = x + _convolve(layer.convolution, x, real)
            x = layer.norm_final(layer.after(x))
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
        mixed = functional.scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=bias[None])
        return attention.out(mixed[0].transpose(0, 1).flatten(1))


def tensor_shapes(config: W2vBertConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of what is used; see `dead_keys`."""
    dim, reach = config.dim, config.left_positions + config.right_positions + 1
    shapes: dict[str, tuple[int, ...]] = {}
    norms = {"feature_projection.layer_norm": config.input_dim}
    linears = {"feature_projection.projection": (dim, config.input_dim)}
    for index in range(config.layers):
        prefix = f"encoder.layers.{index}."
        for name in ("ffn1", "ffn2"):
            norms[f"{prefix}{name}_layer_norm"] = dim
            linears[f"{prefix}{name}.intermediate_dense"] = (config.feed_forward, dim)
            linears[f"{prefix}{name}.output_dense"] = (dim, config.feed_forward)
        linears |= {f"{prefix}self_attn.linear_{name}": (dim, dim) for name in ("q", "k", "v", "out")}
        norms |= {f"{prefix}{name}_layer_norm": dim for name in ("self_attn", "final")}
        norms |= {f"{prefix}conv_module.{name}": dim for name in ("layer_norm", "depthwise_layer_norm")}
        shapes |= {
            f"{prefix}self_attn.distance_embedding.weight": (reach, dim // config.heads),
            f"{prefix}conv_module.pointwise_conv1.weight": (2 * dim, dim, 1),
            f"{prefix}conv_module.depthwise_conv.weight": (dim, 1, config.kernel),
            f"{prefix}conv_module.pointwise_conv2.weight": (dim, dim, 1),
        }
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def dead_keys(config: W2vBertConfig) -> tuple[str, ...]:
    """Names (whole, as regular expressions) that the file may have and nothing here uses: the layers above ours."""
    return (*DEAD_KEYS, *(rf"encoder\.layers\.{index}\..*" for index in range(config.layers, 100)))


def _layer(weights: Weights, eps: float) -> Layer:
    attention, conv = weights.scope("self_attn"), weights.scope("conv_module")
    return Layer(
        before=_feed_forward(weights, "ffn1", eps),
        attention=Attention(
            norm=LayerNorm.read(weights, "self_attn_layer_norm", eps),
            query=Linear.read(attention, "linear_q"),
            key=Linear.read(attention, "linear_k"),
            value=Linear.read(attention, "linear_v"),
            out=Linear.read(attention, "linear_out"),
            distances=attention["distance_embedding.weight"],
        ),
        convolution=Convolution(
            norm=LayerNorm.read(conv, "layer_norm", eps),
            pointwise_in=Linear.read(conv, "pointwise_conv1", bias=False),
            depthwise=conv["depthwise_conv.weight"],
            norm_depthwise=LayerNorm.read(conv, "depthwise_layer_norm", eps),
            pointwise_out=Linear.read(conv, "pointwise_conv2", bias=False),
        ),
        after=_feed_forward(weights, "ffn2", eps),
        norm_final=LayerNorm.read(weights, "final_layer_norm", eps),
    )


def _feed_forward(weights: Weights, name: str, eps: float) -> FeedForward:
    return FeedForward(
        LayerNorm.read(weights, f"{name}_layer_norm", eps),
        Linear.read(weights, f"{name}.intermediate_dense"),
        Linear.read(weights, f"{name}.output_dense"),
    )


def _convolve(conv: Convolution, x: Tensor, real: Tensor) -> Tensor:
    x = functional.glu(conv.pointwise_in(conv.norm(x) * real), dim=1)
    past = conv.depthwise.shape[2] - 1
    x = functional.conv1d(functional.pad(x.T, (past, 0))[None], conv.depthwise, groups=x.shape[1])[0].T
    return conv.pointwise_out(functional.silu(conv.norm_depthwise(x)))
