"""How the extension is compiled: shared by `setup.py` (ahead of time) and `ops/__init__.py` (just in time). A leaf."""

from pathlib import Path

# No -std: torch adds the one its own headers need. Portable code; `csrc/cpu/clones.h` adds what the processor has.
# The two about mathematics keep NaN and infinity as they are and only let loops with comparisons be vectorized.
CXX_FLAGS = ["-O3", "-g0", "-fvisibility=hidden", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
LINK_FLAGS = ["-fopenmp"]


def sources(csrc: Path) -> list[Path]:
    """Every C++ file below `csrc`, in a fixed order."""
    return sorted(csrc.rglob("*.cpp"))
