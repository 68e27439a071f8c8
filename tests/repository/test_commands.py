"""Commands that the Makefile, the pre-commit hooks and the CI script name exist."""

import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOOKS = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf8"))["repos"]
    for hook in repo["hooks"]
]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_what_a_hook_calls_exists(hook):
    program, *arguments = shlex.split(hook["entry"])
    if program == "make":
        assert make("--dry-run", *arguments).returncode == 0
    else:
        assert program.startswith(".venv/bin/")
        assert (Path(sysconfig.get_path("scripts")) / Path(program).name).exists()


def test_help_lists_targets_that_exist():
    listed = [line.split()[1] for line in make("help").stdout.splitlines()]
    assert {"demo", "test", "test-fast", "lint", "hooks"} <= set(listed)
    assert make("--dry-run", *listed).returncode == 0


def test_another_python_is_refused_before_anything_is_installed(tmp_path):
    python = tmp_path / "python"
    version = "import sys; sys.version_info = (3, 13, 0);"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo Python 3.13.0 && exit\n[ "$1" = -c ] || touch {tmp_path}/used\n'
        f'exec {sys.executable} -c "{version} $2"\n'
    )
    python.chmod(0o755)
    refused = make("demo", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert refused.returncode != 0 and "Python 3.13.0. Set another: make PYTHON=python3.12" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["python"]


def test_ci_requires_tools_that_tests_ask_for():
    (listed,) = re.findall(r"INTONE_REQUIRE=(\S+)", (ROOT / ".ci" / "run").read_text("utf8"))
    asked = re.compile(r"require\(\s*\"([\w-]+)\"")
    known = {name for path in (ROOT / "tests").rglob("*.py") for name in asked.findall(path.read_text("utf8"))}
    assert set(listed.split(",")) <= known
