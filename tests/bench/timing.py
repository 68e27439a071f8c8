"""How the scripts of this folder take times, and what the machine could do at best. Knows nothing of models."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from intone.server.ops import ensure_built

SWEEP_BYTES = 256 << 20  # several times the last cache


def min_ms(call: Callable[[], object], runs: int) -> float:
    """The least time of so many calls, after one for nothing: what others do on the machine only ever adds."""
    call()
    best_s = float("inf")
    for _ in range(runs):
        began_s = time.perf_counter()
        call()
        best_s = min(best_s, time.perf_counter() - began_s)
    return 1000 * best_s


def read_gb_s() -> float:
    """Bandwidth of a plain read of memory that no cache holds, on as many threads as torch has."""
    words = torch.zeros(SWEEP_BYTES // 4, dtype=torch.int32)
    return SWEEP_BYTES / min_ms(words.amax, 30) / 1e6


def multiply_gop_s(kind: str) -> float:
    """Operations a second of the packed linear layer, in 10⁹, for weights of `kind` that a cache holds."""
    side, found = 1024, []
    layer = ensure_built().Linear(torch.randn(side, side), type=kind)
    for rows in (24, 144):  # one block of rows, and many
        x = torch.randn(rows, side)
        found.append(2 * rows * side * side / min_ms(lambda x=x: layer(x), 60) / 1e6)
    return max(found)


def peak_gb() -> float:
    """The most memory that this process has had; `ru_maxrss` would count that of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e9
