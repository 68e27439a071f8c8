"""The CUDA kernels as a library for the CPU, made by a test-only header; and engines that compute by them.

`tests/native/emulation/cuda/launch.cuh` takes the place of `csrc/cuda/launch.cuh`; the files of the kernels are
compiled unchanged, as C++.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.cpp_extension import include_paths

from intone.server import ops

ROOT = Path(__file__).resolve().parents[2]
EMULATION, CSRC = ROOT / "tests" / "native" / "emulation", ROOT / "csrc"
FLAGS = ("-std=c++20", "-O1", "-fPIC", "-shared", "-pthread", "-DTORCH_TARGET_VERSION=0x020b000000000000", "-w")


def compiled(*flags: str) -> Path:
    """The kernels as a library for the CPU. It and its objects are kept in `build` until a file of theirs changes."""
    folder = ROOT / "build" / "emulation"
    folder.mkdir(parents=True, exist_ok=True)
    headers = [*(CSRC / "cuda").glob("*.cuh"), *EMULATION.rglob("*.*h"), CSRC / "schemas.h", CSRC / "anti_alias.h"]
    common = b"".join(path.read_bytes() for path in sorted(headers)) + f"{torch.__version__} {FLAGS} {flags}".encode()
    includes = [f"-I{path}" for path in (EMULATION, CSRC, *include_paths())]
    command = ["c++", *(flag for flag in FLAGS if flag != "-shared"), *flags, *includes, "-x", "c++", "-c"]

    def object_of(source: Path) -> Path:
        made = folder / f"{source.stem}-{hashlib.sha256(common + source.read_bytes()).hexdigest()[:16]}.o"
        _made(made, [*command, source])
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(object_of, [*sorted((CSRC / "cuda").glob("*.cu")), EMULATION / "library.cpp"]))
    library = folder / f"{hashlib.sha256(str(objects).encode()).hexdigest()[:16]}.so"
    torch_libraries = Path(torch.__file__).parent / "lib"
    links = [f"-L{torch_libraries}", "-ltorch", "-ltorch_cpu", "-lc10"]
    _made(library, ["c++", *FLAGS, *flags, *objects, *links])
    return library


def _made(path: Path, command: list[Any]) -> None:
    """Run the compiler, unless the file that it makes is there."""
    if not path.exists():
        part = path.with_suffix(".part")
        subprocess.run([*command, "-o", part], check=True)
        part.replace(path)


def loaded() -> Any:
    """The kernels under a namespace of their own, `torch.ops.intone_emulated`; compiled if need be."""
    ops.ensure_built()
    torch.ops.load_library(str(compiled()))
    return torch.ops.intone_emulated


@contextmanager
def instead_of_references() -> Iterator[dict[str, int]]:
    """On the CPU, operations of models on a GPU are computed by the kernels; how often each has been called.

    A kernel checks its arguments as on a GPU: dtypes, sizes, and that they are contiguous, which a reference does not.
    """
    kernels, calls = loaded(), dict.fromkeys(ops.PORTABLE, 0)

    def of(name: str) -> Any:
        kernel = getattr(kernels, name).default

        def run(*given: Any) -> torch.Tensor:
            calls[name] += 1
            result: torch.Tensor = kernel(*given)
            return result

        return run

    with torch.library._scoped_library("intone", "IMPL") as library:
        for name in set(ops.PORTABLE) - {"snake"}:  # which the CPU has a kernel of its own for
            library.impl(name, of(name), "CPU")
        yield calls
