"""What a stranger gets: the archives are whole, the client runs from them without torch, the README's commands work."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
FOLDERS = {
    "server": "intone/server",
    "client": "intone/client",
    "proto/intone/v1": "intone/v1",  # before the folder that it stands in
    "proto": "intone/proto",
}

VOICE = "server/engines/voxcpm/nano"

# Everything but the compiler is real. The extension was compiled when this environment was made; it is copied here.
BUILD = """
import shutil, sys
from setuptools import build_meta
from torch.utils.cpp_extension import BuildExtension
what, folder, built = sys.argv[1:]
def copy(self):
    for extension in self.extensions:
        self.mkpath(self.build_lib + "/intone/server/ops")
        shutil.copy(built, self.get_ext_fullpath(extension.name))
BuildExtension.build_extensions = copy
getattr(build_meta, what)(folder)
"""

# Imports every module of the client, in a process where the server's dependencies and every extra are out of reach.
CLIENT_ALONE = """
import importlib, pkgutil, sys
ABSENT = {"torch", "soundfile", "soxr", "hibari", "safetensors", "tokenizers", "wetext", "sentencex",
          "prometheus_client", "grpc_health", "grpc_reflection", "matplotlib", "miniaudio", "onnxruntime", "scipy"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT or name.startswith("intone.server"):
            raise ModuleNotFoundError(f"{name} is not installed with the client", name=name)
sys.meta_path.insert(0, Absent())
import intone.client
assert intone.client.__file__.startswith(sys.argv[1]), intone.client.__file__
names = [module.name for module in pkgutil.walk_packages(intone.client.__path__, "intone.client.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def build(what: str, source: Path, out: Path) -> Path:
    """One of setuptools' hooks, run on the tree `source`; the archive that came out."""
    out.mkdir()
    built = next((ROOT / "server" / "ops").glob("_C.*.so"), None)
    assert built, "server/ops/_C is not built: pip install --no-build-isolation -e ."
    command = [sys.executable, "-c", BUILD, what, str(out), str(built)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The source archive, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    skip = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for name in ("server", "client", "proto", "csrc"):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    (tree / VOICE).mkdir(exist_ok=True)
    (tree / VOICE / "anything").touch()  # as if a voice were trained, or another file of it
    archive = build("build_sdist", tree, folder / "out")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel that the source archive gives, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build("build_wheel", sdist, folder / "out")) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def modules() -> dict[str, str]:
    """Where each of our Python files stands → where it is installed."""
    found: dict[str, str] = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            found.setdefault(
                path.relative_to(ROOT).as_posix(), f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
            )
    return found


def test_sdist_builds_without_the_repository(sdist):
    native = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    schema = {path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").rglob("*.proto")}
    missing = (native | schema | modules().keys() | {"LICENSE", "README.md", "setup.py", "pyproject.toml"}) - below(
        sdist
    )
    assert not missing


def test_wheel_holds_the_package_and_nothing_else(wheel):
    found = below(wheel)
    schema = {f"intone/v1/{path.name}" for path in (ROOT / "proto/intone/v1").glob("*.proto")}
    stubs = {f"intone/v1/{path.name}" for path in (ROOT / "proto/intone/v1").glob("*.pyi")}
    typed = {"intone/v1/py.typed", "intone/client/py.typed", "intone/server/py.typed"}
    (native,) = (name for name in found if re.fullmatch(r"intone/server/ops/_C\.[\w.-]+\.so", name))
    (about,) = {name.partition("/")[0] for name in found if ".dist-info/" in name}
    voice = {"anything", *(below(ROOT / VOICE) if (ROOT / VOICE).is_dir() else ())}
    voice = {f"intone/{VOICE}/{name}" for name in voice}
    word_lists = {f"intone/server/emotion/data/{path.name}" for path in (ROOT / "server/emotion/data").iterdir()}
    assert word_lists
    package = set(modules().values()) | schema | stubs | typed | voice | word_lists | {native}
    assert package - found == set()
    assert {name for name in found - package if not name.startswith(about + "/")} == set()
    assert f"{about}/licenses/LICENSE" in found
    commands = (wheel / about / "entry_points.txt").read_text("utf8")
    assert "intone = intone.client.__main__:main" in commands
    assert "intone-server = intone.server.__main__:main" in commands


def test_client_runs_from_the_wheel_without_the_server(wheel, tmp_path):
    command = [sys.executable, "-c", CLIENT_ALONE, str(wheel)]
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((ROOT / "client").rglob("*.py"))) - 1  # all but intone.client itself


@pytest.mark.parametrize("command", ["intone", "intone-server"])
def test_commands_explain_themselves(command, tmp_path):
    done = subprocess.run([SCRIPTS / command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout.lower() and "intone" in done.stdout


# ---- the README -----------------------------------------------------------------------------------------------------

TESTED_BLOCK = re.compile(r"^<!-- tested -->\s*\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_to_run(markdown: str) -> list[str]:
    """The shell blocks that stand under a `<!-- tested -->`."""
    return TESTED_BLOCK.findall(markdown)


def test_tested_blocks_are_found():
    mark, block = "<!-- tested -->\n", "```sh\n{}\n```\n"
    text = (
        mark + block.format("a\nb") + "\n" + block.format("not this") + mark + "\n" + block.format("c") + mark + "no\n"
    )
    assert blocks_to_run(text) == ["a\nb\n", "c\n"]


def test_readme_points_at_what_is_there():
    text = (ROOT / "README.md").read_text("utf8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    files = re.findall(r"`((?:server|client|proto|csrc|tests|docs)/[\w./-]+)`", text)
    assert links and files
    assert [name for name in links + files if not (ROOT / name).exists()] == []


def test_readme_commands_run(require, server_address, tmp_path):
    """In order, in one shell, in an empty folder; `$INTONE_SERVER` has the starter voice and a nano VoxCPM."""
    readme = ROOT / "README.md"
    assert readme.exists(), "README.md is missing"
    blocks = blocks_to_run(readme.read_text("utf8"))
    assert blocks, "README.md has no shell block under a `<!-- tested -->`"
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "INTONE_SERVER": server_address},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
