"""The Node client: its packages, installed once from the committed lock file."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "foreign"
NODE_HOME = ROOT / "build" / "foreign"  # kept between runs


def node_environment(require: Callable[..., Any]) -> dict[str, str]:
    """The environment in which `node` finds the packages; skips the test if they cannot be had."""
    require("node", shutil.which("node") and shutil.which("npm"), "node and npm are not installed")
    wanted = (FOREIGN / "package-lock.json").read_bytes()
    done = NODE_HOME / "node_modules" / ".package-lock.json"
    lock = NODE_HOME / "package-lock.json"
    if not (done.exists() and lock.exists() and lock.read_bytes() == wanted):
        NODE_HOME.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOREIGN / "package.json", NODE_HOME)
        lock.write_bytes(wanted)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(npm, cwd=NODE_HOME, capture_output=True, text=True, timeout=300)
        require("node", installed.returncode == 0, f"npm ci failed: {installed.stderr[-500:]}")
    return {**os.environ, "NODE_PATH": str(NODE_HOME / "node_modules")}
