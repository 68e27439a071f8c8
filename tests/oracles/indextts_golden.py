"""Golden tensors of IndexTTS: computed once by an oracle script in a separate process, cached under build/, read here.

An oracle script `tests/oracles/indextts_oracle*.py` is called as `SCRIPT GROUP FILE`, with PYTHONPATH set to the folder
of the oracle, and writes one safetensors file. Names: `w.…` for weights, `in.…` for inputs, `out.…` for results, with
the case in front.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
ORACLE = ROOT / "build" / "oracle-indextts"
REQUIREMENTS = ROOT / "tests" / "oracles" / "indextts.txt"
SHARED = ROOT / "tests" / "oracles" / "indextts_oracle.py"
MAX_RELATIVE_ERROR = 1e-5
"""Relative to the largest value; float32 sums in another order differ by a few 1e-7."""


def golden(require: Callable[..., Any], group: str, script: str = "indextts_oracle.py") -> dict[str, Tensor]:
    """The tensors of a group; `require` is the fixture of that name."""
    from safetensors.torch import load_file

    installed = (ORACLE / "indextts25").is_dir()
    require("oracle-indextts", installed, f"no oracle: see {REQUIREMENTS.relative_to(ROOT)}")
    path = ROOT / "tests" / "oracles" / script
    made_by = path.read_bytes() + SHARED.read_bytes() + REQUIREMENTS.read_bytes()
    digest = hashlib.sha256(made_by).hexdigest()[:16]
    kept = ROOT / "build" / "golden-indextts" / f"{path.stem}-{group}-{digest}.safetensors"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        environment = os.environ | {"PYTHONPATH": f"{ORACLE}{os.pathsep}{ROOT}", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(path), group, str(draft)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{script} {group} failed:\n{done.stderr[-4000:]}"
        draft.rename(kept)
    return load_file(kept)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}


def assert_close(ours: Tensor, theirs: Tensor, limit: float = MAX_RELATIVE_ERROR) -> None:
    """Assert equal shapes, and a largest difference of at most `limit` relative to the largest value."""
    assert tuple(ours.shape) == tuple(theirs.shape), f"shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    difference = (ours.double() - theirs.double()).abs()
    error = float(difference.max() / theirs.double().abs().max())
    where = tuple(int(i) for i in torch.unravel_index(difference.argmax(), difference.shape))
    assert error <= limit, f"largest error {error:.2e} of the largest value, at {where}; limit {limit:.0e}"
