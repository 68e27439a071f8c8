"""The command for a GPU machine: a rehearsal on the CPU, steps that crash or hang, and the report of any part of it."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench_scripts import BENCH, bench_script

gpu, report = bench_script("gpu"), bench_script("gpu_report")


@pytest.mark.parametrize(
    ("code", "status", "end"),
    [
        ("print('done')", "ok", ""),
        ("raise ValueError('broken')", "failed", "ValueError: broken"),
        ("import os, signal; print('so far', flush=True); os.kill(os.getpid(), signal.SIGSEGV)", "killed", "so far"),
        ("import time; print('begun', flush=True); time.sleep(60)", "out of time", "begun"),
    ],
)
def test_a_step_may_end_in_any_way(code: str, status: str, end: str, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("of the step before\n")
    outcome = gpu.run_bounded([sys.executable, "-c", code], 3.0, log, os.environ)
    assert outcome.status == status and outcome.took_s < 10
    assert outcome.tail.endswith(end) and "before" not in outcome.tail
    assert log.read_text().startswith("of the step before\n")


@pytest.mark.slow
def test_children_of_a_step_end_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import subprocess; subprocess.Popen(['sh', '-c', 'echo $$ > {pid}; sleep 60']).wait()"
    outcome = gpu.run_bounded([sys.executable, "-c", code], 2.0, tmp_path / "log", os.environ)
    assert outcome.status == "out of time"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid.read_text().strip()}/cmdline").exists():
        state = Path(f"/proc/{pid.read_text().strip()}/stat").read_text().split(")")[1].split()[0]
        if state == "Z":
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_every_step_is_known_and_fits_the_time() -> None:
    names = [step.name for step in gpu.STEPS]
    said = subprocess.run(
        [sys.executable, BENCH / "gpu_steps.py", "--help"], capture_output=True, text=True, check=True
    )
    assert all(name in said.stdout for name in names)
    assert all(step.limit_s < 300 for step in gpu.STEPS)


@pytest.mark.slow
def test_a_rehearsal_keeps_what_was_found(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH / "gpu.py"), "--out", str(tmp_path), "--device", "cpu", "--size", "nano"]
    command += ["--steps", "build", "environment", "--limit-s", "900"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1000)
    found = json.loads((tmp_path / "report.json").read_text())
    assert list(found["steps"]) == ["environment", "build"], done.stdout
    first = found["steps"]["environment"]
    assert first["status"] == "ok" and first["figures"]["copy_gb_s"] > 0, first
    assert "draw_codes" in found["steps"]["build"]["figures"]["without_kernel"]
    assert (tmp_path / "report.md").read_text() == report.markdown(found)
    assert not list(tmp_path.glob("*.part")) and done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["voxcpm", "indextts", "both", "int8"])
def test_figures_of_speed(name: str) -> None:
    """The code that measures, on the CPU at the size of nano: every figure is there and finite."""
    common, speed = bench_script("gpu_common"), bench_script("gpu_speed")
    found: dict[str, Any] = {}
    getattr(speed, name)(common.Given("cpu", "nano"), common.Results(found, lambda: None))
    tables = {key: value for key, value in found.items() if isinstance(value, list)}
    assert set(tables) >= {"voxcpm": {"streams", "floors"}, "both": {"side by side"}}.get(name, {"one stream"})
    numbers = [value for rows in tables.values() for row in rows for value in row.values() if isinstance(value, float)]
    assert len(numbers) >= 4 and all(math.isfinite(number) for number in numbers), found


def test_the_report_of_a_part() -> None:
    figures = {
        "rows": [{"streams": 1, "ms": 1234.5}, {"streams": 2, "extra": "a|b"}],
        "one": 0.0123,
        "both": {"x": 1.5},
    }
    steps = {
        "good": {"status": "ok", "took_s": 1.25, "figures": figures, "tail": ""},
        "bad": {"status": "killed", "took_s": 3.0, "figures": {}, "tail": "the end"},
    }
    lines = report.markdown({"about": {"commit": "abc"}, "steps": steps}).splitlines()
    assert "| good | ok | 1.2 |" in lines and "| bad | killed | 3.0 |" in lines
    assert "| 1 | 1234 |  |" in lines and "| 2 |  | a/b |" in lines
    assert "- one: 0.0123" in lines and "- both: x 1.5" in lines and "the end" in lines
