"""Shapes of operations on meta tensors: those of torch, without the imports of its own meta kernels."""

import subprocess
import sys

import pytest
import torch

from intone.server.engines.meta_shapes import RULES, MetaShapes

X, ROW, INDEX = torch.ones(2, 3, 4), torch.ones(4), torch.tensor([1, 0, 1])

CALLS = {
    "add": lambda x, row, index: x + row,
    "sub": lambda x, row, index: 1 - x,
    "mul": lambda x, row, index: row * x,
    "div": lambda x, row, index: x / x,
    "neg": lambda x, row, index: -x,
    "reciprocal": lambda x, row, index: 1 / x,
    "exp": lambda x, row, index: x.exp(),
    "pow": lambda x, row, index: 10.0**x,
    "cos": lambda x, row, index: x.cos(),
    "sin": lambda x, row, index: x.sin(),
    "rsqrt": lambda x, row, index: x.rsqrt(),
    "sqrt": lambda x, row, index: x.sqrt(),
    "clamp_min": lambda x, row, index: x.clamp_min(0.5),
    "lt": lambda x, row, index: x < 2,
    "flip": lambda x, row, index: x.flip(2),
    "cat": lambda x, row, index: torch.cat((x, x[:1], x)),
    "cat along -1": lambda x, row, index: torch.cat((x, x), dim=-1),
    "stack": lambda x, row, index: torch.stack((x, x), dim=1),
    "stack along -1": lambda x, row, index: torch.stack((x, x, x), dim=-1),
    "linalg_vector_norm": lambda x, row, index: torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True),
    "norm of all": lambda x, row, index: torch.linalg.vector_norm(x),
    "norm along -1": lambda x, row, index: torch.linalg.vector_norm(x, dim=-1),
    "repeat": lambda x, row, index: x.repeat(2, 1, 3),
    "repeat to more dimensions": lambda x, row, index: row.repeat(5, 2),
    "index_select": lambda x, row, index: x.index_select(1, index),
    "arange": lambda x, row, index: torch.arange(7, device=x.device),
    "arange in steps": lambda x, row, index: torch.arange(1, 8, 2, device=x.device),
    "mm": lambda x, row, index: x[0] @ x[1].T,
    "mv": lambda x, row, index: x[0] @ row,
    "addmm": lambda x, row, index: torch.addmm(row[:3], x[0], x[1].T),
    "no rule": lambda x, row, index: x.cumsum(1),
}


@pytest.mark.parametrize("name", CALLS)
def test_shapes_are_those_of_torch(name):
    with MetaShapes():
        found = CALLS[name](*(tensor.to("meta") for tensor in (X, ROW, INDEX)))
    expected = CALLS[name](X, ROW, INDEX)
    assert found.is_meta and found.shape == expected.shape


def test_every_rule_is_tested():
    assert {str(operation).split(".")[-1] for operation in RULES} <= set(CALLS)


def test_tensors_with_values_are_computed():
    with MetaShapes():
        assert (X + ROW).sum() == 48


DECLARE = """
import sys
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.voxcpm import audio_vae, sizes as voxcpm_sizes
from intone.server.engines.voxcpm.weights import tensor_shapes

for size in voxcpm_sizes.size_names():
    config = voxcpm_sizes.config_of(size)
    assert tensor_shapes(config) and audio_vae.tensor_shapes(config.vae)
for size in sizes.size_names():
    assert part_shapes(config_of(*sizes.documents(size)))
heavy = {"sympy", "torch._dynamo"} & set(sys.modules)
assert not heavy, heavy
"""


def test_declaring_the_tensors_of_an_engine_imports_nothing_heavy():
    subprocess.run([sys.executable, "-c", DECLARE], check=True, timeout=300)
