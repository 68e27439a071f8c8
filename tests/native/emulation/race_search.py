"""Runs kernels of a library that ThreadSanitizer watches; started by `test_cuda_kernels.py` with its runtime preloaded.

python tests/native/emulation/race_search.py LIBRARY kernels|race
"""

import sys

import torch

from intone.server import ops
from tests.native.test_cuda_kernels import called, small
from tests.support.op_cases import OPS, cast

CASES = 4
MAX_NUMBERS = 20_000
"""Of a case: each thread of a block is one of the system here."""


def main() -> None:
    """Every operation on its first cases, or the kernel with a race."""
    ops.ensure_built()
    torch.ops.load_library(sys.argv[1])
    if sys.argv[2] == "race":
        torch.ops.intone_emulated.reversed_with_a_race.default(torch.zeros(64))
        return
    for name, op in OPS.items():
        for case in [case for case in op.cases if small(case, MAX_NUMBERS)][:CASES]:
            inputs = cast(op, op.inputs(case, torch.Generator().manual_seed(5)), "cpu", op.dtypes[0])
            called(torch.ops.intone_emulated, name, inputs)


if __name__ == "__main__":
    main()
