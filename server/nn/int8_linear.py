"""Linear layers with int8 weights, one scale for each output, as the native ones of the CPU have them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops

MAX_INT8 = 127
MAX_ROWS = 32
"""Of a product in int8. With more, a GPU computes rather than reads weights, and the dequantized ones are faster."""

INPUTS, OUTPUTS = 64, 16
"""The numbers of inputs and outputs of `ops.int8_linear` are multiples of these."""


@dataclass(frozen=True, slots=True)
class Int8Linear:
    """`x @ (scale · weight)ᵀ + bias`; activations keep their dtype.

    Attributes:
        weight: `[N, K]`, int8.
        scale: `[N]`, float32.
        wide: `[N, K]`, their product in the dtype of the layer, for many rows.
        bias: `[N]` or None.
    """

    weight: Tensor
    scale: Tensor
    wide: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None = None) -> "Int8Linear":
        """From a weight `[N, K]` in the dtype of the layer: the nearest of 255 equal steps, for each output."""
        scale = weight.float().abs().amax(dim=1) / MAX_INT8
        steps = (weight.float() / scale.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(1)).round()
        wide = (steps * scale.unsqueeze(1)).to(weight.dtype)
        return cls(steps.to(torch.int8).contiguous(), scale, wide, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """`[..., K]` → `[..., N]`."""
        outputs, inputs = self.weight.shape
        rows = x.reshape(-1, inputs)
        if rows.shape[0] > MAX_ROWS or inputs % INPUTS or outputs % OUTPUTS:
            return functional.linear(x, self.wide, self.bias)
        return ops.int8_linear(rows.contiguous(), self.weight, self.scale, self.bias).view(*x.shape[:-1], outputs)
