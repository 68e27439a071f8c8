"""Noise to mel: the Euler solver of the conditional flow, with classifier-free guidance. Knows nothing of speech.

Flow matching: arXiv 2210.02747. Guidance: arXiv 2207.12598.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.dit import Condition, DiT, Modulation


@dataclass(frozen=True, slots=True)
class TimeTable:
    """What a solve of so many steps needs of the times it passes; costs about as much as one frame.

    Attributes:
        lengths: of the steps.
        modulations: of the field, one for each step.
    """

    lengths: tuple[float, ...]
    modulations: tuple[Modulation, ...]


def time_table(dit: DiT, steps: int, device: torch.device) -> TimeTable:
    """Walk from 0 to 1 in equal steps, in float32, each step ending where the grid says from where the walk is.

    Raises:
        ValueError: `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps, expected 1 or more")
    grid = torch.linspace(0, 1, steps + 1)
    time, times, lengths = grid[0], [], []
    for end in grid[1:]:
        times.append(time)
        lengths.append(end - time)
        time = time + lengths[-1]
    return TimeTable(tuple(float(length) for length in lengths), tuple(dit.modulations(torch.stack(times).to(device))))


def solve(dit: DiT, noise: Tensor, condition: Condition, guidance: float, table: TimeTable) -> Tensor:
    """Noise `[B, F, M]` → mel frames `[B, F, M]`, float32.

    With `guidance` g over 0 the condition has twice B rows and the field is (1 + g) · guided - g · unguided.
    """
    x = noise
    for length, time in zip(table.lengths, table.modulations, strict=True):
        velocity = dit.velocity(x, condition, time)
        if guidance > 0:
            told, untold = velocity.chunk(2)
            velocity = torch.lerp(untold, told, 1 + guidance)
        x = x + length * velocity
    return x
