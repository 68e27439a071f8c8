"""Optimizer, learning rate and the running average of the weights. Knows no model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 200
FALL_SHARE = 0.6
"""Of a run, its end, in which the rate falls to `LOWEST`: of few steps the most should be small (arXiv 2502.15938)."""
LOWEST = 0.02


def rate_at(step: int, steps: int, updates: int) -> float:
    """Which part of the learning rate holds at a step: up, level, down. `updates` are those of the optimizer so far."""
    rise = min(1.0, (updates + 1) / max(1, min(WARM_UP_STEPS, steps // 10)))
    left = (steps - step) / max(1.0, FALL_SHARE * steps)
    return min(rise, max(LOWEST, min(1.0, left)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """For all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 matrices are multiplied faster there than float32."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def adam(
    parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101), with its decay on matrices only; one kernel for all of it."""
    chosen = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in chosen if p.dim() > 1 and p.shape[-1] > 1], "weight_decay": decay},
        {"params": [p for p in chosen if not (p.dim() > 1 and p.shape[-1] > 1)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)


@dataclass(slots=True)
class Average:
    """A running average of a model's tensors: what is examined and exported.

    Attributes:
        tensors: by name, on the model's device, float32.
        decay: part that stays in each step, once the first steps are forgotten.
    """

    tensors: dict[str, Tensor]
    decay: float

    @classmethod
    def of(cls, model: nn.Module, decay: float) -> "Average":
        """Begins with the model as it is."""
        return cls({name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, decay)

    def add(self, model: nn.Module, step: int) -> None:
        """After step `step`, from 0; early averages are short."""
        decay = min(self.decay, (step + 1) / (step + 10))
        ours = model.state_dict()
        torch._foreach_lerp_(list(self.tensors.values()), [ours[name].detach() for name in self.tensors], 1 - decay)

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Go on from saved tensors."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
