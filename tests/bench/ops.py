"""Times the native operations on the cases marked `perf`, beside their references and a plain copy of as many bytes.

    python tests/bench/ops.py [--device cpu] [--dtype float32] [--threads 1] [--anyway]

Prints a Markdown table and what is needed to compare it with another. Refuses on a busy machine.
"""

import argparse
import importlib.util
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

BUSY_LOAD = 0.5  # processes running on average over the last minute, besides this one
WARM_UPS = 10
RUNS = 30
RUN_S = 5e-3  # each run repeats the call for about this long


def _load_cases() -> ModuleType:
    """`tests/op_cases.py`, by its path: tests are no package, and this is a script."""
    spec = importlib.util.spec_from_file_location("op_cases", Path(__file__).parents[1] / "op_cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def seconds(call: Callable[[], object], synchronize: Callable[[], object]) -> float:
    """Median time of a call."""
    for _ in range(WARM_UPS):
        call()
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    repeats = max(1, int(RUN_S / max(time.perf_counter() - start, 1e-7)))
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        synchronize()
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)


def rows(cases: ModuleType, device: str, dtype: torch.dtype) -> list[str]:
    """One line of the table for each case."""
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    lines = []
    for name, op in cases.OPS.items():
        for case in (case for case in op.cases if case.perf):
            inputs = cases.cast(op.inputs(case, torch.Generator().manual_seed(0)), device, dtype)
            target = op.call(*inputs)
            moved = [t for t in (*inputs, target) if isinstance(t, torch.Tensor)]
            moved_bytes = sum(t.numel() * t.element_size() for t in moved)
            source = torch.empty(moved_bytes // 2, dtype=torch.uint8, device=device)  # a copy reads and writes
            copied = torch.empty_like(source)
            native, reference, copy = (
                seconds(call, synchronize)
                for call in (
                    lambda op=op, inputs=inputs: op.call(*inputs),
                    lambda op=op, inputs=inputs: op.reference(*inputs),
                    lambda copied=copied, source=source: copied.copy_(source),
                )
            )
            lines.append(
                f"| {name} | {list(case.shape)} | {case.why} | {native * 1e6:.1f} | {reference / native:.1f}× "
                f"| {moved_bytes / native / 1e9:.1f} | {copy / native:.0%} |"
            )
    return lines


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []  # Linux only
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} CPUs"


def _commit() -> str:
    try:
        command = ["git", "describe", "--always", "--dirty"]
        folder = Path(__file__).parent
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default 1")
    parser.add_argument("--anyway", action="store_true", help="measure although the machine is busy")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if load > BUSY_LOAD and not arguments.anyway:
        print(f"The machine is busy (load {load:.2f} > {BUSY_LOAD}): wait, or say --anyway.", file=sys.stderr)
        return 1
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        lines = rows(_load_cases(), arguments.device, getattr(torch, arguments.dtype))
    print("| op | shape | what | µs | vs reference | GB/s | of copy |")
    print("|---|---|---|---:|---:|---:|---:|")
    print("\n".join(lines))
    busy = " (BUSY)" if load > BUSY_LOAD else ""
    print(f"\nDevice: {_device_name(arguments.device)}; threads: {arguments.threads}; dtype: {arguments.dtype};")
    print(f"torch {torch.__version__}; commit {_commit()}; load {load:.2f}{busy}; {time.strftime('%Y-%m-%d')}")
    print(f"Command: {shlex.join(['python', *sys.argv])}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
