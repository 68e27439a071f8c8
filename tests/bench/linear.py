"""Times the packed linear layer on the shapes of VoxCPM 1.5, beside a plain read of as much memory.

    python tests/bench/linear.py [--threads 1] [--types int8,bf16,fp32] [--rows 1,2,18] [--anyway]

Weights come from memory, as they do in a model: each shape has so many copies that no cache holds them. Prints a
Markdown table and what is needed to compare it with another. Refuses on a busy machine.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from intone.server.ops import ensure_built

BUSY_LOAD = 0.5  # processes running on average over the last minute, besides this one
SHAPES = (("qkv", 1280, 1024), ("out", 1024, 1024), ("gate_up", 8192, 1024), ("down", 1024, 4096))
COPIES_BYTES = 160 << 20  # several times the last cache
RUNS = 12


def fastest_s(call: Callable[[], object]) -> float:
    """Of several runs the fastest: what others do on the machine only ever adds."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def read_gb_s() -> float:
    """Bandwidth of a sum over memory that no cache holds."""
    words = torch.zeros(COPIES_BYTES // 4, dtype=torch.int32)
    return COPIES_BYTES / fastest_s(words.amax) / 1e9


def row(kind: str, name: str, outputs: int, inputs: int, rows: int, read: float) -> str:
    """One line of the table."""
    make = ensure_built().Linear
    weight = torch.randn(outputs, inputs)
    copies = [make(weight, type=kind, gated=name == "gate_up")]
    while sum(layer.weight_bytes for layer in copies) < COPIES_BYTES:
        copies.append(make(weight, type=kind, gated=name == "gate_up"))
    x = torch.randn(rows, inputs)

    def all_copies() -> list[Tensor]:
        return [layer(x) for layer in copies]

    took_s = fastest_s(all_copies) / len(copies)
    hot_s = fastest_s(lambda: [copies[0](x) for _ in range(20)]) / 20
    gb_s, operations = copies[0].weight_bytes / took_s / 1e9, 2 * rows * outputs * inputs
    return (
        f"| {kind} | {name} {outputs}×{inputs} | {rows} | {took_s * 1e6:.0f} | {gb_s:.1f} | {gb_s / read:.0%} "
        f"| {operations / took_s / 1e9:.0f} | {hot_s * 1e6:.0f} | {operations / hot_s / 1e9:.0f} |"
    )


def _commit() -> str:
    try:
        command = ["git", "describe", "--always", "--dirty"]
        folder = Path(__file__).parent
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []  # Linux only
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default 1")
    parser.add_argument("--types", default="int8,bf16,fp32", help="of weights")
    parser.add_argument("--rows", default="1,2,18", help="rows at a time: a step, two steps, LocDiT with guidance")
    parser.add_argument("--anyway", action="store_true", help="measure although the machine is busy")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if load > BUSY_LOAD and not arguments.anyway:
        print(f"The machine is busy (load {load:.2f} > {BUSY_LOAD}): wait, or say --anyway.", file=sys.stderr)
        return 1
    torch.set_num_threads(arguments.threads)
    read = read_gb_s()
    print("| weights | layer | rows | µs | GB/s | of a read | GOP/s | µs, cached | GOP/s, cached |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in arguments.types.split(","):
        for name, outputs, inputs in SHAPES:
            for rows in map(int, arguments.rows.split(",")):
                print(row(kind, name, outputs, inputs, rows, read), flush=True)
    busy = " (BUSY)" if load > BUSY_LOAD else ""
    print(f"\nA plain read: {read:.1f} GB/s. Device: {_processor()}, {ensure_built().best_isa()};")
    print(f"threads: {arguments.threads}; torch {torch.__version__}; commit {_commit()}; load {load:.2f}{busy};")
    print(f"{time.strftime('%Y-%m-%d')}. Command: {shlex.join(['python', *sys.argv])}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
