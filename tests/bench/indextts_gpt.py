"""What the language model of IndexTTS takes on this CPU, beside the time to read its weights.

    python tests/bench/indextts_gpt.py [--size 2.5] [--types int8,bf16,fp32] [--codes 24] [--threads N] [--anyway]

Random weights. For each type of weights: a code of one unit and of four together, and the prefix of a sentence of
20 tokens, for a voice that is new and for one that has spoken before. The floor of a code is to read the weights of its
layers and of the head once, as fast as a plain read; each type measures that again, right before. Prints Markdown.
"""

import os
import sys
import time

import torch
from conditions import command_line, conditions, counted, refuse_if_busy
from timing import peak_gb, read_gb_s
from torch import Tensor

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config_files import config_of
from intone.server.engines.indextts.gpt.native_gpt import NativeGPT
from intone.server.engines.indextts.gpt.prefixes import DURATION_ROWS
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.weights import Shape, Weights

TEXT_ROWS, WARM_CODES = 22, 3
SPEAKER_ROWS = {"2": 32, "2.5": 1, "nano": 1, "nano-2": 32}
BYTES = {"int8": 1, "bf16": 2, "fp32": 4}


class RandomWeights(Weights):
    """Makes each tensor when it is asked for, so that a model is never in memory twice."""

    def tensor(self, name: str, shape: Shape) -> Tensor:
        """Of this shape; values of a width that keeps activations in range."""
        return torch.randn(shape) * shape[0] ** -0.5


def prefix_ms(model: NativeGPT, rows: Tensor, max_codes: int, shared: int, voices: int) -> float:
    """Of the fastest of two sentences; every one has a voice of its own where `voices` is not 1."""
    took = []
    for run in range(3):
        spoken = rows + (run if voices > 1 else 0)
        began_s = time.perf_counter()
        model.begin(spoken, max_codes, Sampling(), run, max_codes, shared)
        took.append(1000 * (time.perf_counter() - began_s))
    return min(took[1:])


def code_ms(model: NativeGPT, rows: Tensor, units: int, codes: int) -> float:
    """Milliseconds for a code of each of `units`; the fastest of groups of eight."""
    begun = [model.begin(rows, codes + WARM_CODES, Sampling(), seed, codes + WARM_CODES) for seed in range(units)]
    model.generate(begun, WARM_CODES)
    took = []
    for _ in range(codes // 8):
        began_s = time.perf_counter()
        model.generate(begun, 8)
        took.append(1000 * (time.perf_counter() - began_s) / 8)
    return min(took)


def main() -> int:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--size", default="2.5", choices=sizes.size_names())
    parser.add_argument("--types", default="int8,bf16,fp32")
    parser.add_argument("--codes", type=int, default=24, help="of each measurement; default: %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    busy = refuse_if_busy(given.anyway)
    torch.set_num_threads(given.threads)
    config = config_of(*sizes.documents(given.size))
    gpt, shared = config.gpt, SPEAKER_ROWS[given.size] + DURATION_ROWS
    rows = torch.randn(shared + TEXT_ROWS, gpt.dim)
    weights = 12 * gpt.layers * gpt.dim**2 + gpt.dim * gpt.codes
    print("| weights | a code, ms | of 4 units | floor | × | prefix, ms: new voice | known voice | peak, GB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in given.types.split(","):
        with torch.inference_mode():
            model = NativeGPT(config, RandomWeights({}), packed=kind)
            floor_ms = BYTES[kind] * weights / read_gb_s() / 1e6
            one, four = (code_ms(model, rows, units, given.codes) for units in (1, 4))
            new, known = (prefix_ms(model, rows, given.codes, shared, voices) for voices in (3, 1))
        figures = f"{one:.1f} | {four:.1f} | {floor_ms:.1f} | {one / floor_ms:.2f} | {new:.0f} | {known:.0f}"
        print(f"| {kind} | {figures} | {peak_gb():.1f} |", flush=True)
        del model
    threads = counted(given.threads, "thread")
    print(f"\nIndexTTS {given.size}, {threads}, prefix of {len(rows)} rows, {shared} of the voice.")
    print(conditions(busy))
    return 0


if __name__ == "__main__":
    sys.exit(main())
