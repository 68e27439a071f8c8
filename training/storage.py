"""How an exported tensor is kept in fewer bytes. Knows no model.

`float16`: as it is; every loader turns it into what it computes in. `int8`: a matrix `X` becomes int8 `X` and float32
`X_scale` `[rows]`, and stands for `X · X_scale` row by row, rows being what is left of all dimensions but the first;
vectors and whatever is small stay float16. A loader reads a tensor that has a partner called `_scale` as this product.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

KINDS = ("float32", "float16", "int8")
SUFFIX = "_scale"
LEAST_ELEMENTS = 4096


def packed(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors as one of `KINDS`."""
    if kind != "int8":
        dtype = {"float32": torch.float32, "float16": torch.float16}[kind]
        return {name: t.to(dtype).contiguous() if t.is_floating_point() else t for name, t in tensors.items()}
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.numel() < LEAST_ELEMENTS or tensor.dim() < 2:
            result[name] = tensor.half().contiguous()
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(1).clamp_min(1e-12) / 127
        result[name] = torch.round(rows / scale[:, None]).to(torch.int8).view(tensor.shape)
        result[name + SUFFIX] = scale
    return result


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `packed` made, in float32: the rule a loader follows."""
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        scale = tensors.get(name + SUFFIX)
        if scale is not None:
            result[name] = (tensor.float().flatten(1) * scale.float()[:, None]).view(tensor.shape)
        elif not (name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in tensors):
            result[name] = tensor.float()
    return result
