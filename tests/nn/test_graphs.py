"""Capturing graphs, by a stand-in for the calls of torch that need a GPU: priorities, and who waits for whom."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from intone.server.engines.devices import own_stream
from intone.server.nn.graphs import WARM_UPS, Programs, bucket_of

CUDA = torch.device("cuda:0")


class Device:
    """A GPU on which a capture fails if anybody waits for the whole device meanwhile, as on a real one."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.capturing = 0

    def synchronize(self, device: Any = None) -> None:
        assert not self.capturing, "a capture is under way"
        self.log.append("synchronize")

    @contextmanager
    def graph(self, graph: Any, pool: Any, stream: "Stream", capture_error_mode: str) -> Iterator[None]:
        self.synchronize()
        self.capturing += 1
        time.sleep(0.002)  # for another thread to come between
        yield
        self.capturing -= 1
        graph.log = self.log
        self.log.append(f"captured with priority {stream.priority}")


class Stream:
    def __init__(self, device: torch.device, priority: int = 0) -> None:
        self.priority = priority

    def wait_stream(self, other: "Stream") -> None: ...


class Graph:
    log: list[str]

    def replay(self) -> None:
        self.log.append("replayed")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    device, current = Device(), Stream(CUDA)
    replacements = {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": device.graph,
        "graph_pool_handle": lambda: (0, 1),
        "current_stream": lambda: current,
        "stream": lambda stream: nullcontext(),
        "synchronize": device.synchronize,
    }
    for name, value in replacements.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return device


def test_a_program_is_warmed_up_captured_and_replayed(gpu: Device) -> None:
    programs, ran = Programs(CUDA, capture=True), []
    run = programs.ready(lambda: ran.append(gpu.capturing))
    assert ran == [0] * WARM_UPS + [1] and programs.captured == 1
    run()
    assert gpu.log[-1] == "replayed" and len(ran) == WARM_UPS + 1


@pytest.mark.parametrize("urgent", [False, True])
def test_graphs_have_the_priority_of_the_stream_that_they_run_beside(gpu: Device, urgent: bool) -> None:
    """Kernels of a graph have the priority of the stream that they were captured on."""
    Programs(CUDA, capture=True, urgent=urgent).ready(lambda: None)
    stream = own_stream(CUDA, urgent).args[0]  # type: ignore[attr-defined]
    assert f"captured with priority {stream.priority}" in gpu.log
    assert (stream.priority < 0) is urgent


def test_nobody_waits_for_the_device_during_a_capture(gpu: Device) -> None:
    """Neither another engine that captures nor one that is loaded."""
    faults: list[AssertionError] = []

    def many(call: Any) -> None:
        try:
            for _ in range(20):
                call()
        except AssertionError as error:
            faults.append(error)

    programs = [Programs(CUDA, capture=True) for _ in range(2)]
    calls = [lambda each=each: each.ready(lambda: None) for each in programs]
    threads = [threading.Thread(target=many, args=(call,)) for call in (*calls, lambda: own_stream(CUDA, True))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and [each.captured for each in programs] == [20, 20]


def test_without_capture_a_program_is_run_as_it_is() -> None:
    def body() -> None: ...

    assert Programs(torch.device("cpu"), capture=True).ready(body) is body


def test_buckets() -> None:
    assert [bucket_of(count, (1, 2, 4)) for count in (1, 2, 3, 4)] == [1, 2, 4, 4]
