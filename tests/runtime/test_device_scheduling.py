"""The engine loop with a GPU's engine, by a simulated clock of the device: steps cost what their bucket costs.

A step of n units takes as long as one of the bucket that n is padded to; units that begin add their prefill. Time only
passes in steps.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from intone.server.domain import EngineInfo, SpeakRequest, Step
from intone.server.engines.voxcpm.slot_model import BATCHES, NEW_UNITS
from intone.server.nn.graphs import bucket_of
from intone.server.runtime import engine_loop
from intone.server.runtime.engine_loop import EngineLoop, UnitResult

RATE_HZ, PATCH_S, PATCHES = 1000, 0.16, 25
LAUNCH_S, ROW_S, PREFILL_S = 0.003, 0.0001, 0.002


class DeviceClock:
    """Stands in for the module `time` of the loop."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class Speech:
    left: int = PATCHES
    begun: bool = False


class DeviceEngine:
    """An engine with slots; records the sizes of its steps."""

    batches = True

    def __init__(self, clock: DeviceClock, slots: int, new_units: int) -> None:
        self.info = EngineInfo(
            "device", "", RATE_HZ, ("en",), True, False, False, "cuda:0", max_batch=slots, new_units=new_units
        )
        self.sizes: list[tuple[int, int]] = []
        self._clock = clock

    def start(self, request: SpeakRequest) -> Speech:
        return Speech()

    def held_bytes(self, state: Speech) -> int:
        return 0

    def step(self, states: list[Speech]) -> list[Step]:
        new = sum(not state.begun for state in states)
        self._clock.now_s += LAUNCH_S + ROW_S * bucket_of(len(states), BATCHES) + PREFILL_S * bool(new)
        self.sizes.append((len(states), new))
        for state in states:
            state.begun, state.left = True, state.left - 1
        pcm = np.zeros(round(RATE_HZ * PATCH_S), np.float32)
        return [Step(pcm=pcm, done=state.left == 0) for state in states]


class Conversations:
    """Units by the times at which they come; the listeners take everything at once. Ends the loop after the last."""

    def __init__(self, clock: DeviceClock, arrivals_s: list[float], slacks_s: Sequence[float] = ()) -> None:
        self._clock, self._coming, self.arrivals_s = clock, list(enumerate(arrivals_s)), arrivals_s
        self._slacks_s = slacks_s or [0.0] * len(arrivals_s)
        self.heard_s: dict[int, list[float]] = {number: [] for number, _ in self._coming}
        self._ended = 0
        self.loop = EngineLoop("device", self._deliver)

    def come(self) -> None:
        while self._coming and self._coming[0][1] <= self._clock.now_s:
            number, _ = self._coming.pop(0)
            self.loop.submit(number, SpeakRequest("words", seed=0), self._slacks_s[number])

    def _deliver(self, results: list[UnitResult]) -> None:
        for result in results:
            self.heard_s[result.unit].append(self._clock.now_s)
            self._ended += result.is_last
        if self._ended == len(self.heard_s):
            self.loop.close()
        self.come()
        for result in results:
            self.loop.taken(result.unit)

    def first_s(self) -> np.ndarray:
        """From the arrival of each unit to its first sound."""
        return np.array([times[0] - self.arrivals_s[number] for number, times in self.heard_s.items()])

    def longest_wait_s(self) -> float:
        """The longest time that a listener who plays from the first sound on waits for a later one."""
        late = [np.array(times) - times[0] - PATCH_S * np.arange(len(times)) for times in self.heard_s.values()]
        return float(max(each.max() for each in late))


def spoken(
    monkeypatch: pytest.MonkeyPatch,
    arrivals_s: list[float],
    slots: int = 256,
    new_units: int = NEW_UNITS,
    slacks_s: Sequence[float] = (),
) -> tuple[DeviceEngine, Conversations]:
    clock = DeviceClock()
    monkeypatch.setattr(engine_loop, "time", clock)
    engine, units = DeviceEngine(clock, slots, new_units), Conversations(clock, arrivals_s, slacks_s)
    units.come()
    thread = threading.Thread(target=units.loop.run, args=(engine, 0))
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive()
    return engine, units


def test_many_units_at_once_begin_a_few_in_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, units = spoken(monkeypatch, [0.0] * 64)
    assert [new for _, new in engine.sizes[:8]] == [NEW_UNITS] * 8 and engine.sizes[8] == (64, 0)
    assert np.quantile(units.first_s(), 0.95) <= 0.08
    _, one_by_one = spoken(monkeypatch, [0.0] * 64, new_units=1)
    assert np.quantile(one_by_one.first_s(), 0.95) >= 3 * np.quantile(units.first_s(), 0.95)


def test_units_that_come_later_do_not_interrupt_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    _, units = spoken(monkeypatch, [0.05 * number for number in range(200)])
    assert units.longest_wait_s() <= 0 and units.first_s().max() <= 0.05


def test_more_units_than_slots_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, units = spoken(monkeypatch, [0.0] * 24, slots=8)
    assert max(size for size, _ in engine.sizes) == 8
    assert all(len(times) == PATCHES for times in units.heard_s.values())
    assert units.longest_wait_s() <= 0  # three batches of eight in the time of a patch


def test_units_go_first_whose_listeners_have_least_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lasts four seconds."""
    _, units = spoken(monkeypatch, [0.0] * 4, slots=1, slacks_s=[60.0, 20.0, 0.0, 2.0])
    relaxed, later, first, soon = units.heard_s.values()
    assert first[0] < soon[0] < first[-1] < soon[-1] < later[0] < later[-1] < relaxed[0]


def test_a_newcomer_goes_before_those_that_have_something_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    _, units = spoken(monkeypatch, [0.0] * 20 + [0.5], slots=2)
    step_s = LAUNCH_S + ROW_S * 2 + PREFILL_S
    assert units.first_s()[-1] <= 2 * step_s  # the one that runs, and its own
