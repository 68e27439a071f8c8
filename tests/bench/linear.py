"""Times the packed linear layer on the shapes of VoxCPM 1.5 and compares it with a plain read of as much memory.

    python tests/bench/linear.py [--threads 1] [--types int8,bf16,fp32] [--rows 1,2,18] [--anyway]

Weights are read from memory, as in a model: each shape has more copies than a cache can hold. Prints a Markdown table
and the conditions. Refuses to run on a busy machine.
"""

import torch
from conditions import command_line, conditions, counted, refuse_if_busy
from timing import min_ms, read_gb_s
from torch import Tensor

from intone.server.ops import ensure_built

SHAPES = (("qkv", 1280, 1024), ("out", 1024, 1024), ("gate_up", 8192, 1024), ("down", 1024, 4096))
COPIES_BYTES = 160 << 20  # several times the last cache
RUNS = 12


def row(kind: str, name: str, outputs: int, inputs: int, rows: int, read: float) -> str:
    """One row of the table."""
    make = ensure_built().Linear
    weight = torch.randn(outputs, inputs)
    copies = [make(weight, type=kind, gated=name == "gate_up")]
    while sum(layer.weight_bytes for layer in copies) < COPIES_BYTES:
        copies.append(make(weight, type=kind, gated=name == "gate_up"))
    x = torch.randn(rows, inputs)

    def all_copies() -> list[Tensor]:
        return [layer(x) for layer in copies]

    took_s = min_ms(all_copies, RUNS) / 1000 / len(copies)
    hot_s = min_ms(lambda: [copies[0](x) for _ in range(20)], RUNS) / 1000 / 20
    gb_s, operations = copies[0].weight_bytes / took_s / 1e9, 2 * rows * outputs * inputs
    return (
        f"| {kind} | {name} {outputs}×{inputs} | {rows} | {took_s * 1e6:.0f} | {gb_s:.1f} | {gb_s / read:.0%} "
        f"| {operations / took_s / 1e9:.0f} | {hot_s * 1e6:.0f} | {operations / hot_s / 1e9:.0f} |"
    )


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; default: %(default)s")
    parser.add_argument("--types", default="int8,bf16,fp32", help="weight types; default: %(default)s")
    parser.add_argument(
        "--rows", default="1,2,18", help="batch sizes: one step, two steps, LocDiT with guidance; default: %(default)s"
    )
    arguments = parser.parse_args()
    busy = refuse_if_busy(arguments.anyway)
    torch.set_num_threads(arguments.threads)
    read = read_gb_s()
    print("| weights | layer | rows | µs | GB/s | of plain read | GOP/s | µs, cached | GOP/s, cached |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in arguments.types.split(","):
        for name, outputs, inputs in SHAPES:
            for rows in map(int, arguments.rows.split(",")):
                print(row(kind, name, outputs, inputs, rows, read), flush=True)
    print(f"\nPlain read: {read:.1f} GB/s; {ensure_built().best_isa()}, {counted(arguments.threads, 'thread')}.")
    print(conditions(busy))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
