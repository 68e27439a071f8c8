"""Imports the scripts of `tests/bench`, which import each other from their own folder."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


def bench_script(name: str) -> ModuleType:
    """The module `tests/bench/{name}.py`; its folder is on `sys.path` only while it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCH)
        return importlib.import_module(name)
