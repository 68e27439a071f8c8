"""Perceiver resampler (arXiv 2103.03206): a sequence of any length to a fixed number of latents."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import PerceiverConfig
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of one layer; A = heads · head_dim."""

    query: Tensor  # [A, D]
    key_value: Tensor  # [2A, D]
    out: Tensor  # [D, A]
    wide: Linear  # [2 · inner, D]
    narrow: Linear  # [D, inner]


class Perceiver:
    """The resampler; immutable."""

    def __init__(self, config: PerceiverConfig, weights: Weights) -> None:
        self.config = config
        self._latents = weights.tensor("latents", (config.latents, config.dim))
        self._gamma = weights.tensor("norm.gamma", (config.dim,))
        self._context = Linear.read(weights, "proj_context", (config.dim, config.context_dim))
        self._layers = tuple(_layer(config, weights.scope(f"layers.{index}")) for index in range(config.layers))

    def __call__(self, context: Tensor) -> Tensor:
        """`[T, context_dim]` → `[latents, dim]`."""
        context, x = self._context(context), self._latents
        for layer in self._layers:
            x = x + self._attend(layer, x, torch.cat((x, context)))
            value, gate = layer.wide(x).chunk(2, dim=1)
            x = x + layer.narrow(value * functional.gelu(gate))
        return functional.normalize(x, dim=1) * math.sqrt(self.config.dim) * self._gamma

    def _attend(self, layer: Layer, x: Tensor, context: Tensor) -> Tensor:
        heads = (self.config.heads, self.config.head_dim)
        queries = functional.linear(x, layer.query).unflatten(1, heads).transpose(0, 1)  # [h, N, d]
        keys, values = (
            rows.unflatten(1, heads).transpose(0, 1) for rows in functional.linear(context, layer.key_value).chunk(2, 1)
        )
        attended = functional.scaled_dot_product_attention(queries[None], keys[None], values[None])
        return functional.linear(attended[0].transpose(0, 1).flatten(1), layer.out)


def _layer(config: PerceiverConfig, weights: Weights) -> Layer:
    dim, attention = config.dim, config.heads * config.head_dim
    return Layer(
        query=weights.tensor("0.to_q.weight", (attention, dim)),
        key_value=weights.tensor("0.to_kv.weight", (2 * attention, dim)),
        out=weights.tensor("0.to_out.weight", (dim, attention)),
        wide=Linear.read(weights, "1.0", (2 * config.inner, dim)),
        narrow=Linear.read(weights, "1.2", (dim, config.inner)),
    )
