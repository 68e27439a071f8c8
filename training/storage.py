"""Storage formats of exported tensors: float32, float16, or int8 with one scale per row.

In `int8`, tensors of two or more dimensions and at least `MIN_ELEMENTS` elements are quantized symmetrically per index
of the first dimension, in the format of `intone.server.engines.int8_checkpoint`. All others are float16.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from intone.server.engines.int8_checkpoint import SCALE_SUFFIX

KINDS = ("float32", "float16", "int8")
MIN_ELEMENTS = 4096


def packed(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Convert the tensors to `kind`, one of `KINDS`."""
    if kind != "int8":
        dtype = {"float32": torch.float32, "float16": torch.float16}[kind]
        return {name: t.to(dtype).contiguous() if t.is_floating_point() else t for name, t in tensors.items()}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.numel() < MIN_ELEMENTS or tensor.dim() < 2:
            result[name] = tensor.half().contiguous()
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(1e-12) / 127
        result[name] = torch.round(rows / scale[:, None]).to(torch.int8).view(tensor.shape)
        result[name + SCALE_SUFFIX] = scale
    return result
