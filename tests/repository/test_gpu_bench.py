"""The command for a GPU machine: a rehearsal on the CPU, steps that crash or hang, and the report of any part of it."""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench_scripts import BENCH, bench_script

gpu, report = bench_script("gpu"), bench_script("gpu_report")
plots, wheels = bench_script("gpu_plots"), bench_script("gpu_wheels")


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
    # In a process group of its own, as ninja's compilers are.
    start = f"subprocess.Popen(['sh', '-c', 'echo $$ > {pid}; sleep 60'], preexec_fn=os.setpgrp).wait()"
    code = f"import os, subprocess; {start}"
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
def test_a_step_that_fails_ends_neither_the_others_nor_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "STEPS", (gpu.StepLimit("no such step", 60), gpu.StepLimit("environment", 400)))
    given = argparse.Namespace(
        out=tmp_path, device="cpu", size="nano", limit_s=gpu.LIMIT_S, steps=None, commit="c", wheels=None
    )
    said: list[str] = []
    gpu.run_all(given, said.append)
    found = json.loads((tmp_path / "report.json").read_text())
    assert [step["status"] for step in found["steps"].values()] == ["failed", "ok"], said
    assert "invalid choice: 'no such step'" in found["steps"]["no such step"]["tail"]
    assert found["about"]["plots"] == "ok" and "| environment | ok |" in (tmp_path / "report.md").read_text()


STREAMS = {"first sound p50 ms": 5.0, "first sound p95 ms": 6.0, "RTF p95": 0.1, "lm ms": 1.0, "vae ms": 0.5}
OPERATION = {"operation": "snake", "shape": "[1, 2]", "of copy": "85%"}
SPEED = {"streams": [{"streams": n, **STREAMS} for n in (1, 2)], "floors": [{"streams": 1, "sum ms": 0.7}]}


@pytest.mark.parametrize(
    ("steps", "drawn"),
    [
        ({}, []),
        ({"indextts_speed": {"figures": {"streams": SPEED["streams"]}}}, ["latency", "real_time"]),
        (
            {"voxcpm_speed": {"figures": SPEED}, "kernels": {"figures": {"torch.float32": [OPERATION]}}},
            ["latency", "real_time", "stages", "operations"],
        ),
    ],
)
def test_plots_of_any_part_of_a_report(steps: dict[str, Any], drawn: list[str], tmp_path: Path) -> None:
    about = {"machine": "one", "commit": "abc", "date": "today"}
    assert plots.draw({"about": about, "steps": steps}, tmp_path) == drawn
    assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(drawn)


def test_wheels_have_the_versions_that_the_tests_compare_with() -> None:
    wanted = wheels.requirements()
    assert wanted["voxcpm"][0] == "voxcpm==2.0.3" and wanted["indextts"][0].startswith("indextts25-inference==")
    assert [name for name in wanted["indextts"] if "==" not in name] == ["soundfile", "soxr"]


@pytest.mark.slow
def test_figures_of_an_official_package(require: Callable[..., Any]) -> None:
    require("oracle", importlib.util.find_spec("voxcpm"), "voxcpm is not installed")
    common, official = bench_script("gpu_common"), bench_script("gpu_official")
    found: dict[str, Any] = {}
    official.voxcpm(common.Given("cpu", "nano"), common.Results(found, lambda: None))
    (row,) = found["official"]
    assert row["package"] == "voxcpm" and 0 < row["patch ms"] < math.inf and row["first sound ms"] > 0


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
