"""The training units in C++ against the same modules in torch: values and all gradients, through tiles and halos."""

import pytest
import torch

from training import native
from training.vae import Snake, Unit

RELATIVE = 1e-5
"""Of the largest number: a gradient of a parameter is a sum over thousands of samples in another order."""

CASES = [
    pytest.param(2, 3000, 24, 9, id="several tiles, the last one short"),
    pytest.param(1, 801, 96, 3, id="two kernels to an inner loop"),
    pytest.param(2, 40, 200, 1, id="wider than an inner loop"),
    pytest.param(3, 33, 5, 9, id="shorter than its halo, odd channels"),
    pytest.param(1, 1, 4, 1, id="one sample"),
]


@pytest.fixture(scope="module", autouse=True)
def loaded():
    if not native.load():
        pytest.skip("training/unit.cpp cannot be compiled here")


def worst(found, wanted):
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def gradients(module, x, weight):
    """Of `x` and of all parameters, for the loss `weight · module(x)`."""
    x = x.detach().requires_grad_()
    value = module(x)
    return value.detach(), torch.autograd.grad((value * weight).sum(), [x, *module.parameters()])


@pytest.mark.parametrize(("batch", "length", "channels", "dilation"), CASES)
@pytest.mark.parametrize("kind", ["unit", "snake"])
def test_values_and_gradients_are_those_of_torch(kind, batch, length, channels, dilation):
    generator = torch.Generator().manual_seed(1)
    module = Unit(channels, dilation) if kind == "unit" else Snake(channels)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * drawn if name.endswith("alpha") else drawn)
    x, weight = (torch.randn(batch, length, channels, generator=generator) for _ in range(2))
    assert native.serves(x) and not native.serves(x.double())
    value, found = gradients(module, x, weight)
    exact, wanted = gradients(module.double(), x.double(), weight.double())
    assert worst(value, exact) < RELATIVE
    assert max(worst(ours, theirs) for ours, theirs in zip(found, wanted, strict=True)) < RELATIVE
