"""Shared by the benchmark scripts: command line, refusal on a busy machine, the line of conditions under a result."""

import argparse
import importlib
import math
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
STAT = Path("/proc/stat")
MAX_BUSY_CPUS = 0.25
"""CPUs that other processes may keep busy while a benchmark runs."""
WINDOW_S = 1.0


def command_line(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose description is the script's docstring; every script has `--anyway`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anyway", action="store_true", help="measure even if the machine is busy")
    return parser


def refuse_if_busy(anyway: bool) -> float:
    """CPUs that other processes keep busy, measured over one second; exits if there are too many. NaN off Linux."""
    busy = other_busy_cpus()
    if busy > MAX_BUSY_CPUS and not anyway:
        sys.exit(f"The machine is busy: {_described(busy)}, at most {MAX_BUSY_CPUS} allowed. Wait, or use --anyway.")
    return busy


def other_busy_cpus() -> float:
    """How many CPUs are busy with anything but this process, over the next second; NaN where there is no /proc/stat.

    The load average would lag by minutes, and counts processes that wait for the disk. Time that a hypervisor gave to
    other machines ("steal") counts as busy.
    """
    if not STAT.exists():
        return float("nan")
    before, own_before_s = _ticks(), _own_cpu_s()
    time.sleep(WINDOW_S)
    after, own_after_s = _ticks(), _own_cpu_s()
    busy, total = after[0] - before[0], after[1] - before[1]
    own = (own_after_s - own_before_s) * os.sysconf("SC_CLK_TCK")
    return max(0.0, busy - own) / max(1, total) * after[2]


def _ticks() -> tuple[int, int, int]:
    """Clock ticks that all CPUs together were busy, ticks in all, and the number of CPUs."""
    lines = STAT.read_text("utf8").splitlines()
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, lines[0].split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait, sum(line.startswith("cpu") for line in lines) - 1


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _described(busy: float) -> str:
    if math.isnan(busy):
        return "CPU use of other processes unknown"
    return f"other processes use {busy:.2f} of {os.cpu_count()} CPUs"


def commit() -> str:
    """`git describe` of the source that is measured."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        found = ""
    return found or "unknown"


def processor() -> str:
    """Model name and number of CPUs."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []  # Linux only
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} CPUs"


def command() -> str:
    """The command line, as it can be repeated in the root of the repository."""
    script = Path(sys.argv[0]).resolve()
    named = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return shlex.join(["python", str(named), *sys.argv[1:]])


def conditions(busy: float, device: str = "") -> str:
    """One line: device (default: the processor), software, commit, CPU use of others before, date, command."""
    software = f"Python {platform.python_version()}, torch {torch.__version__}, commit {commit()}"
    others = f"{_described(busy)}{' (BUSY)' if busy > MAX_BUSY_CPUS else ''}"
    return f"{device or processor()}; {software}; {others}; {time.strftime('%Y-%m-%d')}. `{command()}`"


def counted(number: int, noun: str) -> str:
    """ "1 thread", "2 threads": for captions."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def module_of_tests(name: str) -> ModuleType:
    """A module of `tests/`, such as "support.fakes". Scripts do not have the repository on their path."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"tests.{name}")
