"""The CUDA kernels, run on the CPU by a header that gives their words a meaning there, on the table of cases.

`emulation/cuda/launch.cuh` takes the place of `csrc/cuda/launch.cuh`; the files of the kernels are compiled unchanged,
as C++. On a GPU `test_ops.py` walks the same table.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.cpp_extension import include_paths

from intone.server import ops
from tests.support.op_cases import OPS, Case, cast

ROOT = Path(__file__).resolve().parents[2]
EMULATION, CSRC = ROOT / "tests" / "native" / "emulation", ROOT / "csrc"
FLAGS = ("-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", "-DTORCH_TARGET_VERSION=0x020b000000000000", "-w")
# In float; elsewhere a rounding to the storage type. The sine of the host.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-8 + 1e-4, torch.float16: 2**-11 + 1e-4}
MAX_NUMBERS = 40_000
"""Cases with more, such as those that are only timed, take too long with a system thread for each thread of a block."""

pytestmark = pytest.mark.slow


def compiled(*flags: str) -> Path:
    """The kernels as a library for the CPU, kept in `build` until a file of theirs changes."""
    files = sorted([*(CSRC / "cuda").iterdir(), *EMULATION.rglob("*.*"), CSRC / "schemas.h", CSRC / "anti_alias.h"])
    state = hashlib.sha256(b"".join(path.read_bytes() for path in files))
    state.update(f"{torch.__version__} {FLAGS} {flags}".encode())
    library = ROOT / "build" / "emulation" / f"{state.hexdigest()[:16]}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{path}" for path in (EMULATION, CSRC, *include_paths())]
        objects = []
        for source in (*sorted((CSRC / "cuda").glob("*.cu")), EMULATION / "library.cpp"):
            objects.append(library.with_name(f"{library.stem}-{source.stem}.o"))
            command = ["c++", *(flag for flag in FLAGS if flag != "-shared"), *flags, *includes]
            subprocess.run([*command, "-x", "c++", "-c", source, "-o", objects[-1]], check=True)
        part = library.with_suffix(".part")
        torch_libraries = Path(torch.__file__).parent / "lib"
        links = [f"-L{torch_libraries}", "-ltorch", "-ltorch_cpu", "-lc10"]
        subprocess.run(["c++", *FLAGS, *flags, *objects, *links, "-o", part], check=True)
        part.replace(library)
        for path in objects:
            path.unlink()
    return library


@pytest.fixture(scope="module")
def emulated(require: Callable[..., Any]) -> Any:
    require("c++", shutil.which("c++"), "no C++ compiler")
    ops.ensure_built()
    torch.ops.load_library(str(compiled()))
    return torch.ops.intone_emulated


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


def small(case: Case) -> bool:
    numbers = 1
    for size in case.shape:
        numbers *= max(size, 1)
    return not case.perf and numbers <= MAX_NUMBERS


ROWS = [
    pytest.param(name, case, dtype, id=f"{name}-{index}-{str(dtype).removeprefix('torch.')}")
    for name, op in OPS.items()
    for index, case in enumerate(op.cases)
    for dtype in op.dtypes
    if small(case) and (dtype == torch.float32 or index % 3 == 0)
]


def called(emulated: Any, name: str, inputs: tuple[Any, ...]) -> torch.Tensor:
    if name == "decode_attention":  # the queries are part of wider rows
        inputs = (inputs[0][:, : inputs[-1]], *inputs[1:-1])
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
        error = (found.double() - expected).abs() / (1 + expected.abs())
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
    with pytest.raises(RuntimeError, match="sample_codes: logits of 20000 codes, expected at most 10240"):
        wide = torch.zeros(1, 20_000)
        one = torch.zeros(1)
        emulated.sample_codes(wide, wide.bool(), torch.ones(1, 5), one.long(), one.double(), 5)


def test_the_draws_of_a_distribution(emulated: Any) -> None:
    """Codes come as often as their probability says."""
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().repeat(64, 1)
    settings = torch.tensor([1.0, 4.0, 1.0, 1.0, 1.0]).repeat(64, 1)
    uniforms = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    nobody = torch.full((64,), -1)
    drawn = emulated.sample_codes(logits, torch.zeros(64, 4, dtype=torch.bool), settings, nobody, uniforms, 4)
    assert drawn.bincount().tolist() == [32, 16, 8, 8]
