"""The C++ residual units and Snake against the same modules in torch: values and all gradients, across tiles."""

import pytest
import torch

from training import native
from training.vae import Snake, Unit

RELATIVE = 1e-5
"""Tolerance relative to the largest value: parameter gradients are sums of thousands of samples in another order."""

CASES = [
    pytest.param(2, 3000, 24, 9, id="several tiles, the last one short"),
    pytest.param(1, 801, 96, 3, id="parameters repeated twice in an inner loop"),
    pytest.param(2, 40, 200, 1, id="more channels than an inner loop"),
    pytest.param(3, 33, 5, 9, id="shorter than its halo, odd channels"),
    pytest.param(1, 1, 4, 1, id="one sample"),
]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    if not native.load():
        pytest.skip("training/unit.cpp cannot be compiled here")


def relative_error(actual, expected):
    return float((actual.double() - expected).abs().max() / expected.abs().max())


def gradients(module, x, weight):
    """The output, and the gradients of the loss sum(weight · output) with respect to `x` and all parameters."""
    x = x.detach().requires_grad_()
    value = module(x)
    return value.detach(), torch.autograd.grad((value * weight).sum(), [x, *module.parameters()])


@pytest.mark.parametrize(("batch", "length", "channels", "dilation"), CASES)
@pytest.mark.parametrize("kind", ["unit", "snake"])
def test_values_and_gradients_match_torch(kind, batch, length, channels, dilation):
    generator = torch.Generator().manual_seed(1)
    module = Unit(channels, dilation) if kind == "unit" else Snake(channels)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * values if name.endswith("alpha") else values)
    x, weight = (torch.randn(batch, length, channels, generator=generator) for _ in range(2))
    assert native.serves(x) and not native.serves(x.double())
    value, found = gradients(module, x, weight)
    expected_value, expected = gradients(module.double(), x.double(), weight.double())
    assert relative_error(value, expected_value) < RELATIVE
    assert max(relative_error(*pair) for pair in zip(found, expected, strict=True)) < RELATIVE
