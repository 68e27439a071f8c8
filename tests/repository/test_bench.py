"""Benchmarks can be imported, and refuse to run on a busy machine, judged by /proc/stat over one second."""

import math
import os
import re
import subprocess
import sys

import pytest

from tests.support.bench_scripts import BENCH, bench_script

conditions = bench_script("conditions")

TWO_CPUS = "cpu  {} 0 50 {} 20 0 0 {} 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 5 0\nctxt 1\n"


@pytest.fixture
def second(monkeypatch, tmp_path):
    """`second(user=, idle=, steal=, own_s=)`: what one second adds, in ticks and in seconds of this process."""
    stat = tmp_path / "stat"
    own = [0.0]
    monkeypatch.setattr(conditions, "STAT", stat)
    monkeypatch.setattr(conditions, "_own_cpu_s", lambda: own[0])

    def prepare(user: int, idle: int, steal: int = 0, own_s: float = 0.0) -> None:
        stat.write_text(TWO_CPUS.format(1000, 9000, 0))

        def sleep(seconds: float) -> None:
            assert seconds == 1.0
            stat.write_text(TWO_CPUS.format(1000 + user, 9000 + idle, steal))
            own[0] += own_s

        monkeypatch.setattr(conditions.time, "sleep", sleep)

    return prepare


def test_idle_machine(second):
    second(user=4, idle=196)
    assert conditions.refuse_if_busy(anyway=False) == pytest.approx(0.04)
    assert f"; other processes use 0.04 of {os.cpu_count()} CPUs; " in conditions.conditions(0.04)


def test_busy_machine(second):
    second(user=100, idle=70, steal=30)
    with pytest.raises(SystemExit, match=r"busy: other processes use 1\.30 of"):
        conditions.refuse_if_busy(anyway=False)
    second(user=100, idle=70, steal=30)
    busy = conditions.refuse_if_busy(anyway=True)
    assert busy == pytest.approx(1.3)
    assert re.search(r"use 1\.30 of \d+ CPUs \(BUSY\);", conditions.conditions(busy))


def test_time_of_this_process_does_not_count(second):
    second(user=100, idle=100, own_s=100 / os.sysconf("SC_CLK_TCK"))
    assert conditions.refuse_if_busy(anyway=False) == 0


def test_without_proc_stat_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(conditions, "STAT", tmp_path / "absent")
    assert math.isnan(conditions.refuse_if_busy(anyway=False))
    assert "; CPU use of other processes unknown; " in conditions.conditions(math.nan)


@pytest.mark.skipif(not conditions.STAT.exists(), reason="Linux only")
def test_the_real_file_can_be_read(monkeypatch):
    monkeypatch.setattr(conditions, "WINDOW_S", 0.05)
    assert 0 <= conditions.other_busy_cpus() <= (os.cpu_count() or 1) + 1


def test_every_script_can_be_imported():
    names = sorted(path.stem for path in BENCH.glob("*.py"))
    command = [sys.executable, "-c", "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCH), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*command, *names], env=environment, capture_output=True, text=True, timeout=120)
    assert len(names) > 10 and done.returncode == 0, done.stderr
