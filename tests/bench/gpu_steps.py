"""The steps of `gpu.py`: runs one of them in this process and writes what it finds, as it finds it.

python tests/bench/gpu_steps.py STEP --device cuda --size full --figures FILE
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_official
import gpu_parity
import gpu_speed
import torch
from gpu_common import Given, Results, synchronize
from ops import rows
from timing import min_ms

ROOT = Path(__file__).resolve().parents[2]
COPY_BYTES = 1 << 30
SIDE = {"cuda": 8192, "cpu": 512}
MANY_LAUNCHES = 200


def environment(given: Given, results: Results) -> None:
    """What the machine is, and what it reaches: bandwidth of a copy, matrix products, the cost of a launch."""
    results["torch"] = f"{torch.__version__}, CUDA {torch.version.cuda}"
    results["python"] = sys.version.split()[0]
    results["compiler"] = _first_line("nvcc", "--version", line=-1)
    if given.device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        results["gpu"] = f"{properties.name}, {properties.multi_processor_count} multiprocessors"
        results["memory_gb"] = properties.total_memory / 1e9
        results["driver"] = _first_line("nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.mem", "--format=csv")
    source = torch.ones(COPY_BYTES if given.device == "cuda" else COPY_BYTES >> 4, dtype=torch.uint8).to(given.device)
    target = torch.empty_like(source)
    results["copy_gb_s"] = 2 * len(source) / _ms(given, lambda: target.copy_(source)) / 1e6
    side = SIDE[given.device]
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        a, b = (torch.randn(side, side, device=given.device).to(dtype) for _ in range(2))
        took_ms = _ms(given, lambda a=a, b=b: a @ b, 5)
        results[f"{str(dtype).removeprefix('torch.')}_tflop_s"] = 2 * side**3 / took_ms / 1e9
    one = torch.ones(1, device=given.device)

    def launches() -> None:
        for _ in range(MANY_LAUNCHES):
            one.add_(1)

    results["eager_launch_us"] = 1000 * _ms(given, launches) / MANY_LAUNCHES
    if given.device == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launches()
        results["graph_node_us"] = 1000 * _ms(given, graph.replay) / MANY_LAUNCHES


def build(given: Given, results: Results) -> None:
    """Compile the extension in place, for this GPU, unless a usable one is there; which operations have kernels."""
    from intone.server import ops
    from intone.server.ops import native

    reason, began_s = native.unusable(), time.perf_counter()
    results["reason"] = reason or "none: what is there can be used"
    if reason or given.device == "cuda":
        os.environ["MAX_JOBS"] = str(os.cpu_count() or 1)
        if given.device == "cuda":
            os.environ["TORCH_CUDA_ARCH_LIST"] = ".".join(map(str, torch.cuda.get_device_capability()))
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        ended = subprocess.run(command, cwd=ROOT, check=False).returncode
        results["setup.py"] = f"ended with {ended}" + (": compiled just in time instead" if ended else "")
    ops.ensure_built()
    results["build_s"] = time.perf_counter() - began_s
    key = {"cuda": "CUDA", "cpu": "CPU"}[given.device]
    names = [name.split("::")[1] for name in torch._C._dispatch_get_all_op_names() if name.startswith("intone::")]
    has = {name: torch._C._dispatch_has_kernel_for_dispatch_key(f"intone::{name}", key) for name in sorted(names)}
    results["kernels"] = ", ".join(name for name, found in has.items() if found)
    results["without_kernel"] = ", ".join(name for name, found in has.items() if not found) or "none"


def operations(given: Given, results: Results) -> None:
    """The case table on this device, every case required.

    Raises:
        RuntimeError: a case failed, or none ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cases.xml"
        command = [sys.executable, "-m", "pytest", "tests/native/test_ops.py", "-q", "-W", "default", "--tb=short"]
        command += ["-k", f"equals_its_reference and {given.device}", f"--junitxml={file}", "-p", "no:cacheprovider"]
        required = {"INTONE_REQUIRE": "cuda"} if given.device == "cuda" else {}
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **required}, check=False)
        cases = list(ET.parse(file).iter("testcase")) if file.exists() else []
    failed = [
        case.get("name", "") for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    results["cases"] = {"all": len(cases), "failed": len(failed), "skipped": skipped}
    results["failed"] = ", ".join(failed) or "none"
    if done.returncode or not len(cases) - skipped:
        raise RuntimeError(f"pytest ended with {done.returncode}")


def kernels(given: Given, results: Results) -> None:
    """Every operation on its real sizes, beside its reference and a copy of the same bytes."""
    module = gpu_speed.module_of_tests("support.op_cases")
    dtypes = (torch.float32, torch.bfloat16) if given.device == "cuda" else (torch.float32,)
    with torch.inference_mode():
        for dtype in dtypes:
            head = ("operation", "shape", "case", "us", "vs reference", "GB/s", "of copy")
            found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows(module, given.device, dtype)]
            results[str(dtype)] = [dict(zip(head, row, strict=True)) for row in found]


def _ms(given: Given, call: Callable[[], object], runs: int = 10) -> float:
    """Minimum time of a call, the device's work included."""

    def whole() -> None:
        call()
        synchronize(given.device)

    return min_ms(whole, runs)


def _first_line(*command: str, line: int = 0) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    except OSError:
        return "none"
    return said[line] if said else "none"


STEPS: dict[str, Callable[[Given, Results], None]] = {
    "environment": environment,
    "build": build,
    "operations": operations,
    "voxcpm_parity": gpu_parity.voxcpm,
    "indextts_parity": gpu_parity.indextts,
    "voxcpm_speed": gpu_speed.voxcpm,
    "indextts_speed": gpu_speed.indextts,
    "both_engines": gpu_speed.both,
    "int8_speed": gpu_speed.int8,
    "kernels": kernels,
    "voxcpm_official": gpu_official.voxcpm,
    "indextts_official": gpu_official.indextts,
}


def main() -> int:
    """The command line; an exception of the step is its failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--size", choices=("full", "nano"), required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--wheels", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}

    def write() -> None:
        part = given.figures.with_suffix(".new")
        part.write_text(json.dumps(found))
        part.replace(given.figures)

    STEPS[given.step](Given(given.device, given.size, given.wheels), Results(found, write))
    return 0


if __name__ == "__main__":
    sys.exit(main())
