"""Times the native operations on the cases marked `perf`, and compares them with their references and a memory copy.

    python tests/bench/ops.py [--device cpu] [--dtype float32] [--threads 1] [--anyway]

Prints a Markdown table and the conditions. Refuses to run on a busy machine.
"""

import statistics
import time
from collections.abc import Callable
from types import ModuleType

import torch
from conditions import command_line, conditions, counted, module_of_tests, refuse_if_busy

WARM_UPS = 10
RUNS = 30
RUN_S = 5e-3  # a run repeats the call for about this long
GRAPH_CALLS = 20  # of a graph that is timed on a GPU


def seconds(call: Callable[[], object], synchronize: Callable[[], object]) -> float:
    """Median time of one call."""
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


def seconds_on(device: str, call: Callable[[], object], synchronize: Callable[[], object]) -> float:
    """`seconds`; on a GPU of calls in a graph, as engines run them: the host needs longer to start a small kernel."""
    if device != "cuda":
        return seconds(call, synchronize)
    call()
    synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(GRAPH_CALLS):
            call()
    return seconds(graph.replay, synchronize) / GRAPH_CALLS


def rows(cases: ModuleType, device: str, dtype: torch.dtype) -> list[str]:
    """One row of the table for each case."""
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    lines = []
    for name, op in cases.OPS.items():
        if dtype not in op.dtypes:
            continue
        for case in (case for case in op.cases if case.perf):
            inputs = cases.cast(op, op.inputs(case, torch.Generator().manual_seed(0)), device, dtype)
            target = op.call(*inputs)
            moved = [t for t in (*inputs, target) if isinstance(t, torch.Tensor)]
            moved_bytes = sum(t.numel() * t.element_size() for t in moved)
            source = torch.empty(moved_bytes // 2, dtype=torch.uint8, device=device)  # a copy reads and writes
            copied = torch.empty_like(source)
            native = seconds_on(device, lambda op=op, inputs=inputs: op.call(*inputs), synchronize)
            copy = seconds_on(device, lambda copied=copied, source=source: copied.copy_(source), synchronize)
            reference = seconds(lambda op=op, inputs=inputs: op.reference(*inputs), synchronize)
            lines.append(
                f"| {name} | {list(case.shape)} | {case.why} | {native * 1e6:.1f} | {reference / native:.1f}× "
                f"| {moved_bytes / native / 1e9:.1f} | {copy / native:.0%} |"
            )
    return lines


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; default: %(default)s")
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        lines = rows(module_of_tests("support.op_cases"), arguments.device, getattr(torch, arguments.dtype))
    print("| op | shape | case | µs | vs reference | GB/s | of copy |")
    print("|---|---|---|---:|---:|---:|---:|")
    print("\n".join(lines))
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else ""
    print(f"\n{arguments.dtype}, {counted(arguments.threads, 'thread')}. {conditions(busy, device)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
