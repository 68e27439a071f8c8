"""Optimizer, learning-rate schedule and exponential moving average of the weights."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 200
DECAY_SHARE = 0.6
"""Final fraction of a run in which the rate decays linearly; short runs gain from a long decay (arXiv 2502.15938)."""
MIN_RATE = 0.02
"""Rate at the end of a run, relative to the peak."""


def rate_at(step: int, steps: int, updates: int) -> float:
    """Learning rate at a step, relative to the peak: linear warm-up, plateau, linear decay.

    The warm-up counts `updates`, the steps of this optimizer: a run resumed without optimizer state warms up again.
    """
    warm_up = min(1.0, (updates + 1) / max(1, min(WARM_UP_STEPS, steps // 10)))
    decay = (steps - step) / max(1.0, DECAY_SHARE * steps)
    return min(warm_up, max(MIN_RATE, min(1.0, decay)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether matrix products on `device` are faster in bfloat16 than in float32."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def adam(
    parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], decay: float
) -> torch.optim.AdamW:
    """Fused AdamW (arXiv 1711.05101), with weight decay on matrices only."""
    trainable = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1 and p.shape[-1] > 1], "weight_decay": decay},
        {"params": [p for p in trainable if not (p.dim() > 1 and p.shape[-1] > 1)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)


def restore_optimizers(optimizers: Sequence[torch.optim.Optimizer], state: Mapping[str, Any]) -> None:
    """Continue with the optimizers of a saved run; a slim state has none."""
    if "optimizers" in state:
        for optimizer, own in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)


@dataclass(slots=True)
class Average:
    """Exponential moving average of a model's tensors: the weights that are evaluated and exported.

    Attributes:
        tensors: by name, on the model's device, float32.
        decay: fraction of the average that remains after each step, once warmed up.
    """

    tensors: dict[str, Tensor]
    decay: float

    @classmethod
    def of(cls, model: nn.Module, decay: float) -> "Average":
        """Start from the model's current tensors."""
        return cls({name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, decay)

    def add(self, model: nn.Module, step: int) -> None:
        """Update after step `step`, counted from 0. The first steps use a smaller decay."""
        decay = min(self.decay, (step + 1) / (step + 10))
        current = model.state_dict()
        torch._foreach_lerp_(list(self.tensors.values()), [current[name].detach() for name in self.tensors], 1 - decay)

    def load(self, tensors: Mapping[str, Any]) -> None:
        """Continue from saved tensors."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
