"""The spans of a unit in an engine: its wait, its steps, and the stages of the first one."""

from intone.server.domain import Step
from intone.server.runtime.worker import Job
from intone.server.spans import NO_SPAN, Span


class UnitTrace:
    """Is told of each step of a unit; `end` is called once."""

    def __init__(self, unit: Span, job: Job, engine: str) -> None:
        self._unit, self._job, self._name = unit, job, engine
        self._engine: Span = NO_SPAN
        self._steps = 0
        self._stage_ms: dict[str, float] = {}

    def stepped(self, step: Step) -> None:
        """A step has arrived."""
        if self._unit is NO_SPAN:
            return
        self._steps += 1
        for stage, took_ms in step.stage_ms.items():
            self._stage_ms[stage] = self._stage_ms.get(stage, 0.0) + took_ms
        if self._steps > 1 or self._job.queue_ms is None:
            return
        began_s = self._job.submitted_s + self._job.queue_ms / 1000
        self._unit.child("queue", self._job.submitted_s, engine=self._name).end(began_s)
        self._engine = self._unit.child("engine", began_s, engine=self._name)
        for stage, took_ms in step.stage_ms.items():  # one after the other, in this order
            self._engine.child(stage, began_s).end(began_s + took_ms / 1000)
            began_s += took_ms / 1000

    def end(self) -> None:
        """The unit is complete, or was given up."""
        if self._engine is NO_SPAN and self._unit is not NO_SPAN:  # no step came
            self._unit.child("queue", self._job.submitted_s, engine=self._name).end()
        stages = {f"stage.{stage}_ms": round(took_ms, 3) for stage, took_ms in self._stage_ms.items()}
        self._engine.set(steps=self._steps, synthesis_ms=round(self._job.synthesis_ms, 3), **stages)
        self._engine.end()
