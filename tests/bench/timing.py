"""Shared timing helpers: the minimum over runs, and the machine's memory bandwidth and arithmetic peak."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from intone.server.ops import ensure_built

SWEEP_BYTES = 256 << 20  # several times the last cache


def min_ms(call: Callable[[], object], runs: int) -> float:
    """Minimum time of `runs` calls, after one warm-up call. The minimum, because other processes can only add time."""
    call()
    best_s = float("inf")
    for _ in range(runs):
        start_s = time.perf_counter()
        call()
        best_s = min(best_s, time.perf_counter() - start_s)
    return 1000 * best_s


def read_gb_s() -> float:
    """Bandwidth, in GB/s, of reading memory that no cache holds, with torch's number of threads."""
    words = torch.zeros(SWEEP_BYTES // 4, dtype=torch.int32)
    return SWEEP_BYTES / min_ms(words.amax, 30) / 1e6


def multiply_gop_s(kind: str) -> float:
    """Peak of the packed linear layer, in 10⁹ operations a second, with weights of type `kind` that fit a cache."""
    side, found = 1024, []
    layer = ensure_built().Linear(torch.randn(side, side), type=kind)
    for rows in (24, 144):  # one block of rows, and several
        x = torch.randn(rows, side)
        found.append(2 * rows * side * side / min_ms(lambda x=x: layer(x), 60) / 1e6)
    return max(found)


def peak_gb() -> float:
    """Peak resident memory of this process in GB. `ru_maxrss` would include the parent's memory at the fork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9
