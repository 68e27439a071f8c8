"""How the extension is compiled: shared by `setup.py` (ahead of time) and `ops/__init__.py` (just in time). A leaf."""

import re
import subprocess
from pathlib import Path

# No -std: torch adds the one its own headers need. Portable code; `csrc/cpu/clones.h` adds what the processor has.
# The two about mathematics keep NaN and infinity as they are and only let loops with comparisons be vectorized.
CXX_FLAGS = ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
LINK_FLAGS = ["-fopenmp"]
# The kernels keep to the stable interface of torch 2.11, whichever newer one is installed.
NVCC_FLAGS = ["-O3", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000", "-Xcompiler", "-fvisibility=hidden"]


def sources(csrc: Path, cuda: bool = False) -> list[Path]:
    """Every C++ file below `csrc`, with `cuda` every CUDA file too, in a fixed order."""
    return sorted(path for pattern in ("*.cpp", "*.cu")[: 1 + cuda] for path in csrc.rglob(pattern))


def wants_cuda(torch_cuda: str | None, toolkit: str, asked: str) -> bool:
    """Whether the CUDA files are compiled too.

    Args:
        torch_cuda: release that torch was built with, `torch.version.cuda`; None for a torch without CUDA.
        toolkit: release of the compiler, as `nvcc_release` gives it; torch takes any of its own major release.
        asked: the environment's INTONE_CUDA; 0 turns it off.
    """
    return asked != "0" and bool(torch_cuda and toolkit) and str(torch_cuda).split(".")[0] == toolkit.split(".")[0]


def nvcc_release(cuda_home: str | None) -> str:
    """`13.0` of the toolkit in that folder, empty where there is none."""
    nvcc = Path(cuda_home or "", "bin", "nvcc")
    if cuda_home is None or not nvcc.is_file():
        return ""
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release ([0-9.]*[0-9])", said)
    return found.group(1) if found else ""
