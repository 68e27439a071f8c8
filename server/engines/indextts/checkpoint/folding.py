"""Weights combined at load instead of on every call: weight norm, and consecutive linear layers."""

from torch import Tensor

from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Shape, Weights
from intone.server.nn.causal_conv import fold_weight_norm


def weight_normed(weights: Weights, name: str, shape: Shape) -> Tensor:
    """Read `name.weight_g` and `name.weight_v` (weight norm, arXiv 1602.07868) and return the weight, of `shape`."""
    gain = weights.tensor(f"{name}.weight_g", (shape[0], *(1,) * (len(shape) - 1)))
    direction = weights.tensor(f"{name}.weight_v", shape)
    flat = (shape[0], -1, 1)
    return fold_weight_norm(gain.view(flat), direction.reshape(flat)).view(direction.shape)


def weight_normed_conv(weights: Weights, name: str, shape: Shape) -> tuple[Tensor, Tensor]:
    """A weight-normed weight of `shape`, and `name.bias` of its first dimension."""
    return weight_normed(weights, name, shape), weights.tensor(f"{name}.bias", shape[:1])


def chained(first: Linear, second: Linear) -> Linear:
    """`second(first(x))` as one linear layer, multiplied in float64; both have a bias."""
    assert first.bias is not None and second.bias is not None, "every layer that is chained here has a bias"
    weight = second.weight.double() @ first.weight.double()
    bias = second.weight.double() @ first.bias.double() + second.bias.double()
    return Linear(weight.to(first.weight.dtype), bias.to(first.weight.dtype))
