"""Programs over fixed buffers: captured once as a CUDA graph and replayed, or run as they are."""

from collections.abc import Callable

import torch

Program = Callable[[], None]
"""Reads and writes tensors that stay where they are, of shapes that never change, and reads no value back."""

WARM_UPS = 2
"""Runs before a capture, in which libraries choose kernels and allocate workspaces."""


class Programs:
    """Makes programs ready to run.

    Args:
        capture: on CUDA, record a graph; otherwise the program itself is run, which is for the CPU and for debugging.

    Attributes:
        captured: number of graphs.
    """

    def __init__(self, device: torch.device, capture: bool) -> None:
        self.captured = 0
        self._capture = capture and device.type == "cuda"
        if self._capture:  # one stream, because each has workspaces of its own
            self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)

    def ready(self, body: Program) -> Program:
        """The program to run instead of `body`: its graph.

        To capture it, `body` is run first: its buffers must hold values with which that changes nothing of interest.
        What it allocates lives in memory that all graphs share, in any order of replays, so its results must be in
        buffers of the caller.
        """
        if not self._capture:
            return body
        stream = self._stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                body()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Of this thread only: another engine may be loading or speaking in the same process.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            body()
        self.captured += 1
        replay: Program = graph.replay
        return replay


def bucket_of(count: int, buckets: tuple[int, ...]) -> int:
    """The smallest of ascending `buckets` that is at least `count`."""
    return next(bucket for bucket in buckets if bucket >= count)
