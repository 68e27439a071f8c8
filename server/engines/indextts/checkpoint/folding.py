"""Weights that are computed once instead of at every call: weight norm, linear layers that follow each other."""

from torch import Tensor

from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights
from intone.server.nn.causal_conv import fold_weight_norm


def weight_normed(weights: Weights, name: str) -> Tensor:
    """The weight that `name.weight_g` and `name.weight_v` stand for, of any number of dimensions."""
    gain, direction = weights[f"{name}.weight_g"], weights[f"{name}.weight_v"]
    shape = (direction.shape[0], -1, 1)
    return fold_weight_norm(gain.view(shape), direction.reshape(shape)).view(direction.shape)


def chained(first: Linear, second: Linear) -> Linear:
    """Two linear layers with biases and nothing between them as one, multiplied in float64."""
    assert first.bias is not None and second.bias is not None, "every layer that is chained here has a bias"
    weight = second.weight.double() @ first.weight.double()
    bias = second.weight.double() @ first.bias.double() + second.bias.double()
    return Linear(weight.to(first.weight.dtype), bias.to(first.weight.dtype))
