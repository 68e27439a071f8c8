"""The Euler solver of the conditional flow, from noise to a patch, with classifier-free guidance.

Flow matching: arXiv 2210.02747. Zero-init and optimised guidance scale of CFG-Zero*: arXiv 2503.18886.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.voxcpm.local_dit import Condition, LocalDiT
from intone.server.nn.transfer import send

ZERO_INIT_SHARE = 0.04
"""Fraction of the grid, at its noisy end, on which the velocity is taken as zero; at least one step."""


@dataclass(frozen=True, slots=True)
class TimeTable:
    """The time grid of the solver; E evaluations of the transformer.

    Attributes:
        steps: of the grid; E is smaller by the steps whose velocity is zero.
        lengths: sizes of the E evaluated steps.
        embeddings: `[E, H]`.
    """

    steps: int
    lengths: tuple[float, ...]
    embeddings: Tensor


def build_time_table(dit: LocalDiT, steps: int, mean_mode: bool) -> TimeTable:
    """The grid t' = 2t - 1 + cos(πt / 2), t from 1 to 0 (sway sampling), with the embeddings of its times."""
    device = dit.patch_in[0].device
    even = torch.linspace(1, 0, steps + 1)
    grid = even + (torch.cos(torch.pi / 2 * even) - 1 + even)
    zero_init = max(1, int((steps + 1) * ZERO_INIT_SHARE))
    times: list[Tensor] = []
    lengths: list[Tensor] = []
    time, length = grid[0], grid[0] - grid[1]
    for step in range(1, steps + 1):
        if step > zero_init:
            times.append(time)
            lengths.append(length)
        time = time - length
        if step < steps:
            length = time - grid[step + 1]
    at = _sent(times, device)
    embeddings = dit.time_embeddings(at, _sent(lengths, device) if mean_mode else torch.zeros_like(at))
    return TimeTable(steps, tuple(float(length) for length in lengths), embeddings)


def solve(dit: LocalDiT, noise: Tensor, condition: Condition, guidance: Tensor | None, table: TimeTable) -> Tensor:
    """Noise `[B, P, D]` → patches `[B, P, D]`, float32.

    `guidance` `[B]` is the weight of each row's condition; None means 1 for all, which needs half the evaluations.
    """
    x = noise
    if guidance is None:
        for length, time in zip(table.lengths, table.embeddings, strict=True):
            x = x - length * dit.velocity(x, condition, time)
        return x
    both = condition.with_unconditional()
    weight = guidance.view(-1, 1, 1)
    for length, time in zip(table.lengths, table.embeddings, strict=True):
        conditional, plain = dit.velocity(x, both, time).chunk(2)
        overlap = (conditional * plain).sum((1, 2), keepdim=True)
        plain = plain * (overlap / (plain.square().sum((1, 2), keepdim=True) + 1e-8))
        x = x - length * (plain + weight * (conditional - plain))
    return x


def _sent(values: list[Tensor], device: torch.device) -> Tensor:
    return send(torch.stack(values) if values else torch.zeros(0), device)
