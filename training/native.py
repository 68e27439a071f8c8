"""C++ implementation of the VAE's residual units and Snake activations, for training on a CPU.

`load` compiles `unit.cpp` on demand. It cuts the time of a training step to a third. Without it the modules of `vae`
compute the same in torch.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NAME = "intone_training"
FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=256", "-fno-math-errno", "-fno-trapping-math")


def load(source: str = "unit.cpp", name: str = NAME) -> bool:
    """Compile a source of this folder, once per version, and load it; False, with a warning, if that fails."""
    from torch.utils.cpp_extension import load as compile_and_load  # slow to import, rarely needed

    try:
        compile_and_load(name, [str(Path(__file__).parent / source)], extra_cflags=list(FLAGS), is_python_module=False)
    except (OSError, RuntimeError, ImportError) as error:  # no compiler, no ninja, or the compiler is too old
        reason = str(error).strip().splitlines()[0]
        warnings.warn(f"training/{source} cannot be compiled, using plain torch: {reason}", stacklevel=2)
        return False
    return True


def serves(x: Tensor) -> bool:
    """Whether the functions below are loaded and support `x`: float32 on the CPU."""
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
    """Residual unit x + out(snake(depthwise(snake(x)))).

    Args:
        x: `[B, T, C]`.
        alpha1, alpha2: of the two Snake activations, C elements each.
        kernels, bias: of the causal depthwise convolution, `[C, 1, 7]` and `[C]`.
        out_weight, out_bias: of the pointwise convolution, `[C, C]` and `[C]`.
        dilation: of the depthwise convolution.
    """
    inputs = (x.contiguous(), alpha1, alpha2, kernels, bias, out_weight, out_bias, dilation)
    result: Tensor = _Unit.apply(*inputs)  # type: ignore[no-untyped-call]
    return result


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """Snake activation x + sin²(αx) / α for `x` `[B, T, C]` and C elements of `alpha`."""
    result: Tensor = _Snake.apply(x.contiguous(), alpha)  # type: ignore[no-untyped-call]
    return result


class _Unit(torch.autograd.Function):
    """Saves its input and the output of the second Snake; the backward pass recomputes the rest."""

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
        activated = torch.ops.intone_training.unit_forward(x, alpha1, kernels, bias, alpha2, dilation).flatten(0, 1)
        ctx.dilation = dilation
        ctx.save_for_backward(x, alpha1, alpha2, kernels, bias, out_weight, activated)
        return torch.addmm(x.flatten(0, 1), activated, out_weight.t()).add_(out_bias).view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, alpha1, alpha2, kernels, bias, out_weight, activated = ctx.saved_tensors
        grad = grad.contiguous()
        rows = grad.flatten(0, 1)
        grad_activated = torch.mm(rows, out_weight).view_as(x)
        grad_x, grad1, grad_kernels, grad_bias, grad2 = torch.ops.intone_training.unit_backward(
            x, alpha1, kernels, bias, alpha2, ctx.dilation, grad_activated, grad
        )
        grad_weight = torch.mm(rows.t(), activated)
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
