"""Int8 tensors in checkpoints: dequantization when they are read.

An int8 tensor `X` comes with `X_scale`, float32, one scale for each index of its first dimension; its value is their
product. All other tensors are stored as they are.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from intone.server.errors import CheckpointError

SCALE_SUFFIX = "_scale"


def dequantized(tensors: Mapping[str, Tensor], path: Path, engine: str) -> dict[str, Tensor]:
    """`tensors` with every int8 tensor and its scale replaced by their product in float32.

    A `_scale` without an int8 tensor is kept as a tensor of that name, which the check of names then refuses.

    Raises:
        CheckpointError: a scale is missing, has another dtype or shape, or is not finite; the message names the tensor.
    """
    quantized = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    scales = {name + SCALE_SUFFIX for name in quantized}
    return {
        name: _product(name, tensors, path, engine) if name in quantized else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def _product(name: str, tensors: Mapping[str, Tensor], path: Path, engine: str) -> Tensor:
    tensor, scale = tensors[name], tensors.get(name + SCALE_SUFFIX)
    if scale is None:
        raise CheckpointError(engine, f"{path}: {name}: found int8, expected a scale {name + SCALE_SUFFIX}")
    if scale.dtype != torch.float32 or scale.shape != tensor.shape[:1] or tensor.dim() == 0:
        found = f"{str(scale.dtype).removeprefix('torch.')} {list(scale.shape)}"
        expected = f"float32 {list(tensor.shape[:1])}"
        raise CheckpointError(engine, f"{path}: {name + SCALE_SUFFIX}: found {found}, expected {expected}")
    if not bool(scale.isfinite().all()):
        raise CheckpointError(engine, f"{path}: {name + SCALE_SUFFIX}: found a number that is not finite")
    return tensor.float() * scale.view(-1, *(1,) * (tensor.dim() - 1))
