"""Programs over fixed buffers: captured once as a CUDA graph and replayed, or run as they are."""

import threading
from collections.abc import Callable

import torch

Program = Callable[[], None]
"""Reads and writes tensors that stay where they are, of shapes that never change, and reads no value back."""

WARM_UPS = 2
"""Runs before a capture, in which libraries choose kernels and allocate workspaces."""


URGENT = -1
"""The priority of a stream whose work goes before that of others; 0 is the usual one."""

undisturbed = threading.Lock()
"""Held while a graph is captured, and by whoever waits for a whole device: such a wait makes a capture on any thread
fail, and a capture begins with one."""


class Capture:
    """Captures graphs on a stream of its own: each stream has workspaces of its own, which the graphs refer to.

    Args:
        urgent: whether the kernels go before those of other streams. They have the priority of the stream on which they
            were captured, not of the one on which they are replayed.
    """

    def __init__(self, device: torch.device, urgent: bool) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device, priority=URGENT if urgent else 0)

    def __call__(self, body: Program) -> Program:
        """Run `body` `WARM_UPS` times, then capture it; replays it."""
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                body()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Of this thread only: another engine may be speaking in the same process.
        with undisturbed, torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            body()
        replay: Program = graph.replay
        return replay


class Programs:
    """Makes programs ready to run.

    Args:
        capture: on CUDA, record a graph; otherwise the program itself is run, which is for the CPU and for debugging.
        urgent: as for `Capture`.

    Attributes:
        captured: number of graphs.
    """

    def __init__(self, device: torch.device, capture: bool, urgent: bool = False) -> None:
        self.captured = 0
        self._capture = Capture(device, urgent) if capture and device.type == "cuda" else None

    def ready(self, body: Program) -> Program:
        """The program to run instead of `body`: its graph.

        To capture it, `body` is run first: its buffers must hold values with which that changes nothing of interest.
        What it allocates lives in memory that all graphs share, in any order of replays, so its results must be in
        buffers of the caller.
        """
        if self._capture is None:
            return body
        program = self._capture(body)
        self.captured += 1
        return program


def bucket_of(count: int, buckets: tuple[int, ...]) -> int:
    """The smallest of ascending `buckets` that is at least `count`."""
    return next(bucket for bucket in buckets if bucket >= count)
