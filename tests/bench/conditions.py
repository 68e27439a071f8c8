"""What figures must be read with, and whether they can be taken now. For the scripts of this folder; times nothing."""

import argparse
import importlib
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
BUSY_LOAD = 0.5  # processes running on average over the last minute, besides this one


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser that explains itself with a module's text; every script can be told to measure on a busy machine."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anyway", action="store_true", help="measure although the machine is busy")
    return parser


def refuse_if_busy(anyway: bool) -> float:
    """The load before anything is measured; ends the program where that is too much."""
    load = os.getloadavg()[0]
    if load > BUSY_LOAD and not anyway:
        sys.exit(f"The machine is busy (load {load:.2f} > {BUSY_LOAD}): wait, or say --anyway.")
    return load


def commit() -> str:
    """Which source is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        found = ""
    return found or "unknown"


def processor() -> str:
    """Its name, and how many of it there are."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []  # Linux only
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} CPUs"


def command() -> str:
    """What was typed, as it can be typed again in the root of the repository."""
    script = Path(sys.argv[0]).resolve()
    named = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return shlex.join(["python", str(named), *sys.argv[1:]])


def conditions(load: float, device: str = "") -> str:
    """One line: device (the processor, unless another one is named), software, commit, load before, date, command."""
    software = f"Python {platform.python_version()}, torch {torch.__version__}, commit {commit()}"
    busy = " (BUSY)" if load > BUSY_LOAD else ""
    return f"{device or processor()}; {software}; load {load:.2f}{busy}; {time.strftime('%Y-%m-%d')}. `{command()}`"


def module_of_tests(name: str) -> ModuleType:
    """A module of `tests/`, such as "support.fakes": scripts do not have the repository on their path."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"tests.{name}")
