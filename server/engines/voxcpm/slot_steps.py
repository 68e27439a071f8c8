"""A step of VoxCPM's units on a GPU: admission, prefill of new units, the patch of all, and its audio."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from intone.server.domain import Samples
from intone.server.engines.common import NO_ROOM_S
from intone.server.engines.voxcpm.slot_model import SlotModel
from intone.server.engines.voxcpm.state import VoxCPMState
from intone.server.nn.stage_clock import StageClock

Made = tuple[Samples | None, bool | None]
"""What a step makes of a unit: audio, and whether a patch was made that is the model's last; None where neither."""

Noise = Callable[[Sequence[VoxCPMState]], NDArray[np.float32]]
"""The noise of the next patches of units, `[B, P, D]`."""


def make_on_slots(slots: SlotModel, states: Sequence[VoxCPMState], noise: Noise, clock: StageClock) -> list[Made]:
    """A patch of every unit that has, or now gets, a slot."""
    running = [state.unit for state in states if state.unit is not None]
    fresh = [state for state in states if state.unit is None and _admit(slots, state)]
    if fresh:
        with clock.stage("prefill"):
            slots.prefill(*zip(*((state.unit, state.prompt) for state in fresh), strict=True))
        for state in fresh:
            state.prompt = None
    if running:
        with clock.stage("lm"):
            slots.advance(running)
    making = [state for state in states if state.unit is not None]
    if not making:
        time.sleep(NO_ROOM_S)
        return [(None, None)] * len(states)
    units = [state.unit for state in making if state.unit is not None]
    with clock.stage("diffusion"):
        slots.make(units, noise(making), [state.guidance for state in making])
    with clock.stage("vae"):
        audio, stops = slots.decode(units)
    for state in making:
        state.made += 1
    made = iter(zip(audio, stops.tolist(), strict=True))
    return [(None, None) if state.unit is None else next(made) for state in states]


def _admit(slots: SlotModel, state: VoxCPMState) -> bool:
    """Give a new unit a slot, if there is room."""
    assert state.prompt is not None, "a new unit has its prompt"
    max_positions = len(state.prompt) + state.max_patches - 1
    state.unit = slots.admit(state.prompt, max_positions, slots.model.table(state.steps), state.decoder)
    return state.unit is not None
