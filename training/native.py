"""The VAE's residual units in C++, compiled when first asked for: a step on a CPU takes a third of the time.

Without them the modules of `vae` compute the same in torch. Knows no model.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NAME = "intone_training"
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=256", "-fno-math-errno", "-fno-trapping-math")


def load() -> bool:
    """Compile, once for each version of the source, and load; False, and a warning with the reason, if it cannot be."""
    from torch.utils.cpp_extension import load as compile_and_load  # slow to import, and rarely needed

    try:
        compile_and_load(
            NAME, [str(Path(__file__).with_name("unit.cpp"))], extra_cflags=list(FLAGS), is_python_module=False
        )
    except (OSError, RuntimeError, ImportError) as error:  # no compiler, no ninja, a compiler too old
        reason = str(error).strip().splitlines()[0]
        warnings.warn(f"training/unit.cpp cannot be compiled, plain torch instead: {reason}", stacklevel=2)
        return False
    return True


def serves(x: Tensor) -> bool:
    """Whether the functions below are there, for such a tensor."""
    return x.is_cpu and x.dtype == torch.float32 and hasattr(torch.ops.intone_training, "unit_forward")


def unit(
    x: Tensor,
    alpha1: Tensor,
    alpha2: Tensor,
    kernels: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    dilation: int,
) -> Tensor:
    """x + out(snake(depthwise(snake(x)))) for `x` `[B, T, C]`; `kernels` `[C, 1, 7]`, `out_weight` `[C, C]`."""
    given = (x.contiguous(), alpha1, alpha2, kernels, bias, out_weight, out_bias, dilation)
    result: Tensor = _Unit.apply(*given)  # type: ignore[no-untyped-call]
    return result


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """x + sin²(αx) / α for `x` `[B, T, C]`, `alpha` `[C]`."""
    result: Tensor = _Snake.apply(x.contiguous(), alpha)  # type: ignore[no-untyped-call]
    return result


class _Unit(torch.autograd.Function):
    """Keeps its input and the second snake's output; the rest is computed again on the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        alpha1: Tensor,
        alpha2: Tensor,
        kernels: Tensor,
        bias: Tensor,
        out_weight: Tensor,
        out_bias: Tensor,
        dilation: int,
    ) -> Tensor:
        bent = torch.ops.intone_training.unit_forward(x, alpha1, kernels, bias, alpha2, dilation).flatten(0, 1)
        ctx.dilation = dilation
        ctx.save_for_backward(x, alpha1, alpha2, kernels, bias, out_weight, bent)
        return torch.addmm(x.flatten(0, 1), bent, out_weight.t()).add_(out_bias).view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha1, alpha2, kernels, bias, out_weight, bent = ctx.saved_tensors
        grad = grad.contiguous()
        rows = grad.flatten(0, 1)
        grad_bent = torch.mm(rows, out_weight).view_as(x)
        grad_x, grad1, grad_kernels, grad_bias, grad2 = torch.ops.intone_training.unit_backward(
            x, alpha1, kernels, bias, alpha2, ctx.dilation, grad_bent, grad
        )
        grad_weight = torch.mm(rows.t(), bent)
        grad_out_bias = rows.sum(0)
        return grad_x, grad1, grad2, grad_kernels.view_as(kernels), grad_bias, grad_weight, grad_out_bias, None


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha)
        result: Tensor = torch.ops.intone_training.snake_forward(x, alpha)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, alpha = ctx.saved_tensors
        grad_x, grad_alpha = torch.ops.intone_training.snake_backward(x, alpha, grad.contiguous())
        return grad_x, grad_alpha
