"""Builds, checks and measures everything on a GPU machine, in one command that keeps what it has found so far.

    python tests/bench/gpu.py --out OUT [--wheels gpu/wheels]       # on a GPU: under eight minutes
    python tests/bench/gpu.py --out OUT --device cpu --size nano    # the same code on a CPU: a rehearsal

Each step runs in a process of its own, with a time limit of its own: one that crashes or hangs does not end the rest.
After each step OUT/report.json and OUT/report.md are written again, and OUT/log.txt has the output of all steps; at the
end `gpu_plots.py` draws OUT/*.png. Needs torch, ninja and pytest, for CUDA an nvcc of torch's release, and for plots
matplotlib; nothing is downloaded. The official packages are measured if they are installed, or their wheels are brought
along (`gpu_wheels.py`).

Ends with status 1 if a step failed. `gpu_steps.py` has the steps, `gpu_report.py` the tables.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_report import markdown

ROOT = Path(__file__).resolve().parents[2]
TAIL_LINES = 30
LIMIT_S = 470.0
"""Of all steps together; with another limit, those of the steps change alike."""

REPORT_S = 12.0
"""Kept for plots and report at the end of the time limit."""


@dataclass(frozen=True)
class StepLimit:
    """A step of `gpu_steps.STEPS` and its time limit."""

    name: str
    limit_s: float


# After the checks of operations, what is wanted most comes first.
STEPS = (
    StepLimit("environment", 60),
    StepLimit("build", 240),
    StepLimit("operations", 90),
    StepLimit("voxcpm_speed", 110),
    StepLimit("indextts_speed", 110),
    StepLimit("voxcpm_parity", 60),
    StepLimit("indextts_parity", 75),
    StepLimit("both_engines", 90),
    StepLimit("int8_speed", 90),
    StepLimit("kernels", 45),
    StepLimit("voxcpm_official", 75),
    StepLimit("indextts_official", 120),
)


@dataclass(frozen=True)
class Outcome:
    """How a step ended: "ok", "failed", "killed", "out of time" or "skipped"; `tail` is the end of its output."""

    status: str
    took_s: float
    tail: str = ""


def run_bounded(command: Sequence[str], limit_s: float, log: Path, environment: Mapping[str, str]) -> Outcome:
    """Run a command, with its output appended to `log`; kill it and its children at the limit."""
    began_s, start = time.monotonic(), log.stat().st_size if log.exists() else 0
    with log.open("ab") as out:
        child = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdout=out, stderr=out, start_new_session=True
        )
        try:
            code: int | None = child.wait(timeout=max(0.1, limit_s))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill_session(child)
    took_s = time.monotonic() - began_s
    with log.open("rb") as read:
        read.seek(start)
        tail = "\n".join(read.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
    if code is None:
        return Outcome("out of time", took_s, tail)
    return Outcome("ok" if code == 0 else "killed" if code < 0 else "failed", took_s, "" if code == 0 else tail)


def _kill_session(child: "subprocess.Popen[bytes]") -> None:
    """The step may have started processes of its own; ninja gives each compiler a process group of its own."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            session = int(stat.read_text().rpartition(")")[2].split()[3])
            if session == child.pid:
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except OSError:  # it has ended
            continue
    child.wait()


def run_all(given: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the steps in order; the report, which is on disk after each of them."""
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    log, began_s = out / "log.txt", time.monotonic()
    log.write_bytes(b"")
    report: dict[str, Any] = {"about": about(given), "steps": {}}
    for step in STEPS:
        if given.steps and step.name not in given.steps:
            continue
        left_s = given.limit_s - REPORT_S - (time.monotonic() - began_s)
        figures = out / f"{step.name}.part"
        if left_s < 1:
            outcome = Outcome("skipped", 0.0, "no time was left")
        else:
            say(f"{time.monotonic() - began_s:6.1f} s  {step.name}")
            command = [sys.executable, str(ROOT / "tests/bench/gpu_steps.py"), step.name, "--figures", str(figures)]
            command += ["--device", given.device, "--size", given.size]
            command += ["--wheels", str(given.wheels.resolve())] if given.wheels else []
            limit_s = min(step.limit_s * given.limit_s / LIMIT_S, left_s)
            outcome = run_bounded(command, limit_s, log, child_environment())
        report["steps"][step.name] = {
            "status": outcome.status,
            "took_s": round(outcome.took_s, 2),
            "figures": _taken(figures),
            "tail": outcome.tail,
        }
        if outcome.status != "ok":
            say(f"          {outcome.status}: {outcome.tail.splitlines()[-1] if outcome.tail else 'no output'}")
        save(report, out)
    drawn = run_bounded([sys.executable, str(ROOT / "tests/bench/gpu_plots.py"), str(out)], REPORT_S, log, os.environ)
    report["about"]["plots"] = drawn.status
    save(report, out)
    return report


def _taken(path: Path) -> dict[str, Any]:
    """What a step has measured, however it ended; removes the file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
    except (OSError, ValueError):
        return {}
    return found


def save(report: Mapping[str, Any], out: Path) -> None:
    """Write the report so far."""
    for name, text in (("report.json", json.dumps(report, indent=1)), ("report.md", markdown(report))):
        part = out / f"{name}.part"
        part.write_text(text)
        part.replace(out / name)


def about(given: argparse.Namespace) -> dict[str, str]:
    """What was measured, where and when."""
    return {
        "commit": given.commit or _commit(),
        "command": f"python tests/bench/gpu.py --device {given.device} --size {given.size}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "weights": "random",
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return "unknown"
    return done.stdout.strip() or "unknown"


def child_environment() -> dict[str, str]:
    """Of the steps: the package as links, as for mypy, so that nothing has to be installed."""
    links = ROOT / "build" / "typing" / "intone"
    links.mkdir(parents=True, exist_ok=True)
    for name in ("server", "client", "proto"):
        _link(links / name, Path("../../..") / name)
    _link(links / "v1", Path("../../../proto/intone/v1"))
    known = os.environ.get("PYTHONPATH", "")
    paths = [str(links.parent), str(ROOT), *([known] if known else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(target)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--size", default="full", choices=("full", "nano"), help="of the models that are timed")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="of all steps together; default: %(default)s")
    parser.add_argument("--steps", nargs="*", choices=[step.name for step in STEPS], help="only these")
    parser.add_argument("--wheels", type=Path, help="folder of gpu_wheels.py: measure the official packages, too")
    parser.add_argument("--commit", help="named in the report, where there is no git")
    given = parser.parse_args()
    report = run_all(given, lambda line: print(line, flush=True))
    print(markdown(report))
    return 0 if all(step["status"] == "ok" for step in report["steps"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
