"""How the extension is compiled: shared by `setup.py` (ahead of time) and `ops/__init__.py` (just in time). A leaf."""

from pathlib import Path

CXX_FLAGS = ["-O3", "-std=c++17", "-fvisibility=hidden", "-fopenmp"]
LINK_FLAGS = ["-fopenmp"]


def sources(csrc: Path) -> list[Path]:
    """Every C++ file below `csrc`, in a fixed order."""
    return sorted(csrc.rglob("*.cpp"))
