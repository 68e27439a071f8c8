"""Sources and flags of the extension, for `setup.py` (ahead of time) and `native.py` (just in time).

`setup.py` imports this file by itself, so it must not import the package.
"""

import re
import subprocess
from pathlib import Path

# No -std: torch adds the one its own headers need. No -march: `csrc/cpu/attributes.h` sets it for single functions.
# The last two keep NaN and infinity intact; they only allow loops with comparisons to be vectorized.
CXX_FLAGS = ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
LINK_FLAGS = ["-fopenmp"]
_CHECKED = ["-O1", "-g1", "-fno-omit-frame-pointer", "-D_GLIBCXX_ASSERTIONS"]
SANITIZERS = {
    # Not vptr: the type information of torch's classes is hidden from the extension.
    "address": [
        *("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize=vptr", "-fno-sanitize-recover=all"),
        *_CHECKED,
    ],
    "thread": ["-fsanitize=thread", *_CHECKED],
}
"""Flags of an extension that is checked while it runs; `tests/native/sanitize` builds and runs it."""
# The kernels use the stable interface of torch 2.11, whichever version is installed.
NVCC_FLAGS = ["-O3", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000", "-Xcompiler", "-fvisibility=hidden"]


def sources(csrc: Path, cuda: bool = False) -> list[Path]:
    """Every C++ file below `csrc`, and with `cuda` every CUDA file, sorted."""
    return sorted(path for pattern in ("*.cpp", "*.cu")[: 1 + cuda] for path in csrc.rglob(pattern))


def wants_cuda(torch_cuda: str | None, toolkit: str, asked: str) -> bool:
    """Whether the CUDA files are compiled too.

    Args:
        torch_cuda: CUDA release that torch was built with, `torch.version.cuda`; None for a torch without CUDA.
        toolkit: release of the compiler, from `nvcc_release`; it must have torch's major release.
        asked: the value of INTONE_CUDA; 0 turns it off.
    """
    return asked != "0" and bool(torch_cuda and toolkit) and str(torch_cuda).split(".")[0] == toolkit.split(".")[0]


def cuda_architectures(toolkit: str) -> str:
    """What TORCH_CUDA_ARCH_LIST is set to where no GPU is seen, as while an image is built: torch then has no default.

    Args:
        toolkit: release of the compiler, from `nvcc_release`.

    Returns:
        The generations from Ampere on; the last one also as PTX, which later ones compile when they load it.
    """
    knows_blackwell = tuple(map(int, toolkit.split(".")[:2])) >= (12, 8)
    return "8.0;8.9;9.0;10.0+PTX" if knows_blackwell else "8.0;8.9;9.0+PTX"


def nvcc_release(cuda_home: str | None) -> str:
    """The release of the toolkit in a folder, such as `13.0`; empty if there is none."""
    nvcc = Path(cuda_home or "", "bin", "nvcc")
    if cuda_home is None or not nvcc.is_file():
        return ""
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release ([0-9.]*[0-9])", said)
    return found.group(1) if found else ""
