"""A scripted engine whose units fail in the way that their text names, and its entries for a registry.

For the real worker, on a thread or in a process of its own. What kills a process, tests must not speak on a thread.
"""

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intone.server.domain import EngineInfo, Step
from intone.server.engines.base import EngineEntry, EngineSetting, LoadSpec
from tests.support.fakes import Script, ScriptedEngine, ScriptedState, info

START_RAISES, STEP_RAISES, MAKES_NAN = "start raises", "step raises", "makes nan"
CRASHES, HANGS, FREEZES = "it crashes", "it hangs", "it freezes"
FAULT_STEP = 2
"""From 0; audio has been delivered by then."""


@dataclass
class FaultyEngine(ScriptedEngine):
    """As `ScriptedEngine`; a unit whose text contains one of the constants above fails at its step `FAULT_STEP`."""

    def start(self, request):
        if START_RAISES in request.text:
            raise ValueError("this text cannot be read")
        return super().start(request)

    def step(self, states: Sequence[ScriptedState]) -> list[Step]:
        """Members that come before a failing one have gone on when it fails, as in any engine."""
        failing = [self._fails(state) for state in states]
        steps = super().step([state for state, fails in zip(states, failing, strict=True) if not fails])
        return [self._fault(state) if fails else steps.pop(0) for state, fails in zip(states, failing, strict=True)]

    def _fails(self, state: ScriptedState) -> bool:
        faults = (STEP_RAISES, MAKES_NAN, CRASHES, HANGS, FREEZES)
        return state.steps == FAULT_STEP and any(fault in state.request.text for fault in faults)

    def _fault(self, state: ScriptedState) -> Step:
        text = state.request.text
        if CRASHES in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif HANGS in text:
            time.sleep(3600)
        elif FREEZES in text:
            ctypes.PyDLL(None).sleep(3600)  # holds the GIL
        elif MAKES_NAN in text:
            return Step(np.array([0.1, np.nan], np.float32), done=False)
        raise RuntimeError("failed by its text")


@dataclass
class PlainFaulty(FaultyEngine):
    """Slow enough to be killed while it speaks."""

    script: Script = field(default_factory=lambda: Script(characters_per_step=2, step_s=0.01))
    info: EngineInfo = field(default_factory=lambda: info("plain"))

    @classmethod
    def load(cls, spec: LoadSpec) -> "PlainFaulty":
        """The setting is how long loading takes, in seconds."""
        time.sleep(float(spec.settings["plain_load_s"]))
        return cls()


@dataclass
class SpareFaulty(FaultyEngine):
    """The same under another name."""

    script: Script = field(default_factory=lambda: Script(characters_per_step=2, step_s=0.01))
    info: EngineInfo = field(default_factory=lambda: info("spare"))

    @classmethod
    def load(cls, spec: LoadSpec) -> "SpareFaulty":
        """There is nothing to load."""
        return cls()


HERE = "tests.support.faulty_engine"
ENTRIES = {
    "plain": EngineEntry(
        "plain",
        f"{HERE}:PlainFaulty",
        (EngineSetting("plain", True, "load it"), EngineSetting("plain_load_s", "0", "how long that takes")),
        max_step_s=2.0,
    ),
    "spare": EngineEntry("spare", f"{HERE}:SpareFaulty", (EngineSetting("spare", False, "load it"),)),
}
