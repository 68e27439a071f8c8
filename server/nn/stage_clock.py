"""Timing of the stages of a step. On CUDA with events, so that the host does not wait within the step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageClock:
    """Times named stages of one step."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self._spans: list[tuple[str, float, float]] = []
        self._marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A context whose duration is added to the stage."""
        if self._events:
            first, last = _event(), _event()
            first.record()
            yield
            last.record()
            self._marks.append((name, first, last))
        else:
            begin = time.perf_counter()
            yield
            self._spans.append((name, begin, time.perf_counter()))

    def stage_ms(self) -> dict[str, float]:
        """Milliseconds by stage. To be called after the step's results have been copied to the host.

        Waits for the end of the last stage, after which nothing is queued.
        """
        if self._marks:
            self._marks[-1][2].synchronize()
        spans = [(name, 1000 * (end - begin)) for name, begin, end in self._spans]
        spans += [(name, first.elapsed_time(last)) for name, first, last in self._marks]
        total: dict[str, float] = {}
        for name, took_ms in spans:  # a stage may be timed several times
            total[name] = total.get(name, 0.0) + took_ms
        return total


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)
