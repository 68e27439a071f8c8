"""The CUDA kernels, run on the CPU by a header that gives their words a meaning there, on the table of cases.

On a GPU `test_ops.py` walks the same table; `test_cuda_engines.py` has whole engines on these kernels.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.emulated_kernels import EMULATION, ROOT, compiled, loaded
from tests.support.op_case import Case
from tests.support.op_cases import OPS, cast

# In float; elsewhere a rounding to the storage type. The sine of the host.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-8 + 1e-4, torch.float16: 2**-11 + 1e-4}
MAX_NUMBERS = 300_000
"""Cases with more, such as those that are only timed, take too long."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulated(require: Callable[..., Any]) -> Any:
    require("c++", shutil.which("c++"), "no C++ compiler")
    return loaded()


@pytest.fixture(scope="module")
def watched(require: Callable[..., Any]) -> Callable[[str], str]:
    """`watched(what)`: what ThreadSanitizer says while `emulation/race_search.py` runs; its first line or nothing."""
    found = subprocess.run(["c++", "-print-file-name=libtsan.so"], capture_output=True, text=True, check=False)
    runtime = Path(found.stdout.strip())
    require("tsan", runtime.is_absolute() and runtime.exists(), "the compiler has no ThreadSanitizer")
    library = compiled("-fsanitize=thread", "-g")

    def run(what: str) -> str:
        paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
        known = {**os.environ, "LD_PRELOAD": str(runtime), "PYTHONPATH": paths, "TSAN_OPTIONS": "exitcode=0"}
        command = [sys.executable, str(EMULATION / "race_search.py"), str(library), what]
        done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=True)
        return next((line for line in done.stderr.splitlines() if "ThreadSanitizer" in line), "")

    return run


def test_no_kernel_has_a_race_within_a_block(watched: Callable[[str], str]) -> None:
    assert "data race" in watched("race")  # it would be found
    assert watched("kernels") == ""


def small(case: Case, limit: int = MAX_NUMBERS) -> bool:
    numbers = 1
    for size in case.shape:
        numbers *= max(size, 1)
    return not case.perf and numbers <= limit


ROWS = [
    pytest.param(name, case, dtype, id=f"{name}-{index}-{str(dtype).removeprefix('torch.')}")
    for name, op in OPS.items()
    for index, case in enumerate(op.cases)
    for dtype in op.dtypes
    if small(case) and (dtype == op.dtypes[0] or index % 3 == 0)
]


def called(emulated: Any, name: str, inputs: tuple[Any, ...]) -> torch.Tensor:
    result: torch.Tensor = getattr(emulated, name).default(*inputs)
    return result


@pytest.mark.parametrize(("name", "case", "dtype"), ROWS)
def test_a_kernel_equals_the_reference(name: str, case: Case, dtype: torch.dtype, emulated: Any) -> None:
    op = OPS[name]
    inputs = cast(op, op.inputs(case, torch.Generator().manual_seed(5)), "cpu", dtype)
    exact = cast(op, inputs, "cpu", torch.float64)
    got = called(emulated, name, inputs)
    want = op.reference(*exact)
    for found, expected in [(got, want), *((inputs[n], exact[n]) for n in op.changes)]:
        assert found.shape == expected.shape
        error = (found.double() - expected.double()).abs() / (1 + expected.double().abs())
        allowed = 0.0 if op.exact else TOLERANCE[dtype]
        assert not error.numel() or float(error.max()) <= allowed, f"{name}: {case.why}: error {error.max():.3g}"


def test_every_operation_of_the_table_has_a_kernel(emulated: Any) -> None:
    key = torch._C._dispatch_has_kernel_for_dispatch_key
    assert all(key(f"intone_emulated::{name}", "CPU") for name in OPS)


def test_kernels_refuse_what_they_cannot_read(emulated: Any) -> None:
    x = torch.zeros(2, 3, 8)
    with pytest.raises(RuntimeError, match="snake: x has strides of neither layout"):
        emulated.snake(torch.zeros(2, 3, 16)[:, :, ::2], torch.ones(3))
    with pytest.raises(RuntimeError, match="snake_beta: beta has size 2 along axis 0, expected 3"):
        emulated.snake_beta(x, torch.ones(3), torch.ones(2), 0, 0)
    with pytest.raises(RuntimeError, match="silu_mul: x has 3 columns"):
        emulated.silu_mul(torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match="add_rms_norm: weight is of another dtype"):
        emulated.add_rms_norm(x[0], x[0], torch.ones(8).half(), 1e-5)
    with pytest.raises(RuntimeError, match="draw_codes: logits of 20000 codes, expected at most 10240"):
        emulated.draw_codes(torch.zeros(1, 20_000), *units(1, 20_000), torch.zeros(1, 1).double(), ZERO, 0, 5)


ZERO = torch.zeros(1, dtype=torch.int64)


def units(count: int, codes: int) -> tuple[torch.Tensor, ...]:
    """Slots, seen codes, settings and counters of units that have just begun."""
    slots, seen = torch.arange(count), torch.zeros(count, codes, dtype=torch.bool)
    counters = torch.tensor([0, 0, 0, 0, 9, 0]).repeat(count, 1)
    return slots, seen, torch.tensor([1.0, 4.0, 1.0, 1.0, 1.0]).repeat(count, 1), counters


def test_the_draws_of_a_distribution(emulated: Any) -> None:
    """Codes come as often as their probability says."""
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().repeat(64, 1)
    uniforms = (torch.arange(64, dtype=torch.float64).unsqueeze(1) + 0.5) / 64
    drawn = emulated.draw_codes(logits, *units(64, 4), uniforms, ZERO, -1, 4)
    assert drawn.bincount().tolist() == [32, 16, 8, 8]
