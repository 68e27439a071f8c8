"""A fixed number of latents out of a sequence of any length (Perceiver, arXiv 2103.03206). Knows no audio."""

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
    wide: Linear  # [2·inner, D]
    narrow: Linear  # [D, inner]


class Perceiver:
    """The resampler; frozen once built."""

    def __init__(self, config: PerceiverConfig, weights: Weights) -> None:
        self.config = config
        self._latents, self._gamma = weights["latents"], weights["norm.gamma"]
        self._context = Linear.read(weights, "proj_context")
        self._layers = tuple(_layer(weights.scope(f"layers.{index}")) for index in range(config.layers))

    def __call__(self, context: Tensor) -> Tensor:
        """`[T, context_dim]` → `[latents, dim]`."""
        context, x = self._context(context), self._latents
        for layer in self._layers:
            x = x + self._attend(layer, x, torch.cat((x, context)))
            value, gate = layer.wide(x).chunk(2, dim=1)
            x = x + layer.narrow(value * functional.gelu(gate))
        return functional.normalize(x, dim=1) * math.sqrt(self.config.dim) * self._gamma

    def _attend(self, layer: Layer, x: Tensor, seen: Tensor) -> Tensor:
        heads = (self.config.heads, self.config.head_dim)
        queries = functional.linear(x, layer.query).unflatten(1, heads).transpose(0, 1)  # [h, N, d]
        keys, values = (
            rows.unflatten(1, heads).transpose(0, 1) for rows in functional.linear(seen, layer.key_value).chunk(2, 1)
        )
        mixed = functional.scaled_dot_product_attention(queries[None], keys[None], values[None])
        return functional.linear(mixed[0].transpose(0, 1).flatten(1), layer.out)


def tensor_shapes(config: PerceiverConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape."""
    dim, attention = config.dim, config.heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (config.latents, dim),
        "norm.gamma": (dim,),
        "proj_context.weight": (dim, config.context_dim),
        "proj_context.bias": (dim,),
    }
    for index in range(config.layers):
        prefix = f"layers.{index}."
        shapes |= {
            f"{prefix}0.to_q.weight": (attention, dim),
            f"{prefix}0.to_kv.weight": (2 * attention, dim),
            f"{prefix}0.to_out.weight": (dim, attention),
            f"{prefix}1.0.weight": (2 * config.inner, dim),
            f"{prefix}1.0.bias": (2 * config.inner,),
            f"{prefix}1.2.weight": (dim, config.inner),
            f"{prefix}1.2.bias": (dim,),
        }
    return shapes


def _layer(weights: Weights) -> Layer:
    return Layer(
        query=weights["0.to_q.weight"],
        key_value=weights["0.to_kv.weight"],
        out=weights["0.to_out.weight"],
        wide=Linear.read(weights, "1.0"),
        narrow=Linear.read(weights, "1.2"),
    )
