"""The Euler solver of the flow (flow matching, arXiv 2210.02747) with classifier-free guidance (arXiv 2207.12598)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import Condition, FlowInputs, Modulation


@dataclass(frozen=True, slots=True)
class TimeTable:
    """The steps of a solve. Computing it costs about as much as solving one frame.

    Attributes:
        lengths: step sizes.
        modulations: the field's parameters at the start of each step.
    """

    lengths: tuple[float, ...]
    modulations: tuple[Modulation, ...]


def time_table(inputs: FlowInputs, steps: int, device: torch.device) -> TimeTable:
    """Equal steps from 0 to 1, accumulated in float32 as the official solver does.

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
    return TimeTable(
        tuple(float(length) for length in lengths), tuple(inputs.modulations(torch.stack(times).to(device)))
    )


def solve(dit: DiT, noise: Tensor, condition: Condition, guidance: float, table: TimeTable) -> Tensor:
    """Noise `[B, F, M]` → mel frames `[B, F, M]`, float32.

    With `guidance` g over 0 the condition has 2B rows, and the velocity is (1 + g) · conditional - g · unconditional.
    """
    assert not condition.cached, "the field in torch computes all frames"
    x = noise
    for length, time in zip(table.lengths, table.modulations, strict=True):
        velocity = dit.velocity(x, condition, time)
        if guidance > 0:
            conditional, unconditional = velocity.chunk(2)
            velocity = torch.lerp(unconditional, conditional, 1 + guidance)
        x = x + length * velocity
    return x
