"""Tensors by name and shape: what a module reads is what its checkpoint must hold."""

import pytest
import torch

from intone.server.engines.weights import Weights, declared_shapes


def read(weights):
    inner = weights.scope("layers.0")
    joined = inner.fused({"q.weight": (3, 4), "k.weight": (1, 4)})
    weights.unused("log_variance", (2,))
    weight, bias = weights.affine("out", (5, 4))
    return joined, weight @ joined.T + bias.unsqueeze(1), weights.stored("embedding", (7, 4)), joined.device


SHAPES = {
    "layers.0.q.weight": (3, 4),
    "layers.0.k.weight": (1, 4),
    "log_variance": (2,),
    "out.weight": (5, 4),
    "out.bias": (5,),
    "embedding": (7, 4),
}


def test_a_reader_declares_names_and_shapes_in_its_order():
    assert list(declared_shapes(read).items()) == list(SHAPES.items())


def test_a_reader_gets_meta_tensors_while_it_declares():
    found = []
    declared_shapes(lambda weights: found.append(read(weights)))
    assert found[0][3].type == "meta" and found[0][1].shape == (5, 4)


def test_the_same_reader_reads():
    tensors = {name: torch.randn(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
    joined, _, embedding, device = read(Weights(tensors))
    assert joined.shape == (4, 4) and joined.dtype == torch.float32 and device.type == "cpu"
    assert embedding is tensors["embedding"]  # in the dtype of the file


def test_a_tensor_of_another_shape_is_not_handed_out():
    weights = Weights({"a.weight": torch.zeros(2, 3)})
    with pytest.raises(AssertionError, match=r"a.weight is \[2, 3\], not \[3, 2\]"):
        weights.scope("a").tensor("weight", (3, 2))


def test_one_name_has_one_shape():
    def twice(weights):
        weights.tensor("a", (1,))
        weights.tensor("a", (2,))

    with pytest.raises(AssertionError, match=r"a is declared as \[1\] and \[2\]"):
        declared_shapes(twice)
