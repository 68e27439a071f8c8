"""The rule by which a checkpoint keeps tensors in int8, and how they are read again. Knows no model and no file format.

A tensor `X` in int8 has a partner `X_scale`, float32, one number for each index of its first dimension, and stands for
their product. Everything else is what it is.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from intone.server.errors import CheckpointError

SUFFIX = "_scale"


def unpacked(tensors: Mapping[str, Tensor], path: Path, engine: str) -> dict[str, Tensor]:
    """`tensors` with the products, in float32, in place of every int8 tensor and its partner.

    A `_scale` beside a tensor that is not int8, or beside none, is left as a tensor of that name: whoever checks names
    refuses it.

    Raises:
        CheckpointError: names an int8 tensor without a partner, and a partner of another type or shape or not finite.
    """
    packed = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    partners = {name + SUFFIX for name in packed}
    return {
        name: _product(name, tensors, path, engine) if name in packed else tensor
        for name, tensor in tensors.items()
        if name not in partners
    }


def _product(name: str, tensors: Mapping[str, Tensor], path: Path, engine: str) -> Tensor:
    tensor, scale = tensors[name], tensors.get(name + SUFFIX)
    if scale is None:
        raise CheckpointError(engine, f"{path}: {name}: found int8, expected a partner {name + SUFFIX}")
    if scale.dtype != torch.float32 or scale.shape != tensor.shape[:1] or tensor.dim() == 0:
        found = f"{str(scale.dtype).removeprefix('torch.')} {list(scale.shape)}"
        expected = f"float32 {list(tensor.shape[:1])}"
        raise CheckpointError(engine, f"{path}: {name + SUFFIX}: found {found}, expected {expected}")
    if not bool(scale.isfinite().all()):
        raise CheckpointError(engine, f"{path}: {name + SUFFIX}: found a number that is not finite")
    return tensor.float() * scale.view(-1, *(1,) * (tensor.dim() - 1))
