"""The import rules in pyproject.toml hold, and each of them fails on a violation planted in a copy of the tree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"server": "server", "client": "client", "proto": "proto", "proto/intone/v1": "v1"}

# Contract (how its name starts) → file, and the import that breaks it.
VIOLATIONS = {
    "The server's layers": ("server/nn/rope.py", "from intone.server.runtime.worker import Worker"),
    "Engines do not import": ("server/engines/voxcpm/lm.py", "import intone.server.engines.indextts.engine"),
    "The server never loads": (
        "server/engines/indextts/engine.py",
        "from intone.server.engines.indextts.reference import beam",
    ),
    "The client is installed without": ("client/audio.py", "def f():\n    from torch import Tensor"),
    "The server is installed without": ("server/domain.py", "import intone.client.wav"),
    "The training recipe": ("training/loop.py", "import tests.conftest"),
    "The client's tools are": ("client/audio.py", "from intone.client.tools import drawing"),
    "The client's commands are": ("client/tools/script.py", "from intone.client.commands import arguments"),
    "Generated stubs": ("server/rpc/health.py", "from intone.v1 import speech_pb2"),
    "In the server, only rpc and app": ("server/conversation/session.py", "import grpc.aio"),
    "In the server, only engines, nn and ops": ("server/routing/router.py", "import torch"),
    "In the server, only two modules": ("server/text/segmenter.py", "import hibari"),
}


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the Python files under their installed names, with the rules."""

    def others(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not (name.endswith(".py") or Path(folder, name).is_dir())]

    for folder, package in PACKAGES.items():
        shutil.copytree(ROOT / folder, tmp_path / "intone" / package, ignore=others, dirs_exist_ok=True)
    shutil.copytree(ROOT / "training", tmp_path / "training", ignore=others)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> tuple[int, dict[str, str]]:
    """Exit status, and KEPT or BROKEN for each contract."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "300"}
    done = subprocess.run(
        [*command, "--no-logo", "--no-cache"], cwd=tree, env=environment, capture_output=True, text=True, timeout=120
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\s*$", done.stdout, re.MULTILINE))
    assert verdicts, done.stdout + done.stderr
    return done.returncode, verdicts


def test_every_package_of_the_server_has_a_layer(tree):
    (tree / "intone/server/elsewhere.py").touch()
    status, verdicts = lint_imports(tree)
    broken = [name for name, verdict in verdicts.items() if verdict == "BROKEN"]
    assert status == 1 and len(broken) == 1 and broken[0].startswith("The server's layers")


def test_every_engine_is_independent():
    (contract,) = re.findall(r'type = "independence"\nmodules = \[(.*?)\]', (ROOT / "pyproject.toml").read_text("utf8"))
    engines = {f"intone.server.engines.{path.parent.name}" for path in (ROOT / "server/engines").glob("*/entry.py")}
    assert engines == set(re.findall(r'"([\w.]+)"', contract)), "list every engine in the contract"


def test_rules_hold_and_violations_are_found(tree):
    status, verdicts = lint_imports(tree)
    assert status == 0 and set(verdicts.values()) == {"KEPT"}, verdicts
    for file, statement in VIOLATIONS.values():
        path = tree / ("intone" if file.split("/")[0] in PACKAGES else "") / file
        path.write_text(f"{path.read_text('utf8')}\n{statement}\n", "utf8")
    status, verdicts = lint_imports(tree)
    assert status == 1 and set(verdicts.values()) == {"BROKEN"}, verdicts
    assert all(any(name.startswith(start) for start in VIOLATIONS) for name in verdicts), "a rule without a violation"
