"""The source archive and the wheel are complete, and the client runs from the wheel without torch."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sysconfig.get_path("scripts"))
FOLDERS = {
    "server": "intone/server",
    "client": "intone/client",
    "package": "intone",
    "proto/intone/v1": "intone/v1",  # before the folder that it stands in
    "proto": "intone/proto",
}

VOICE = "server/engines/voxcpm/nano"

# A real build, except for the compiler: the extension of this environment is copied instead.
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

# Imports every module of the client, in a process where the server's dependencies and every extra cannot be imported.
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
assert intone.__version__ == "0.1.0" and not hasattr(intone, "version"), intone.__version__
assert intone.client.__file__.startswith(sys.argv[1]), intone.client.__file__
names = [module.name for module in pkgutil.walk_packages(intone.client.__path__, "intone.client.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def build(what: str, source: Path, out: Path) -> Path:
    """Run one of setuptools' build hooks on the tree `source`; returns the archive."""
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
    for name in ("package", "server", "client", "proto", "csrc"):
        shutil.copytree(ROOT / name, tree / name, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    (tree / VOICE).mkdir(exist_ok=True)
    (tree / VOICE / "anything").touch()  # files of a voice are packaged whatever their names
    archive = build("build_sdist", tree, folder / "out")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel built from the source archive, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build("build_wheel", sdist, folder / "out")) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def modules() -> dict[str, str]:
    """Path of each Python file in the repository → path in the wheel."""
    found: dict[str, str] = {}
    for folder, package in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            found.setdefault(
                path.relative_to(ROOT).as_posix(), f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
            )
    return found


def test_sdist_holds_every_source_file(sdist):
    native = {path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    schema = {path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").rglob("*.proto")}
    missing = (native | schema | modules().keys() | {"LICENSE", "README.md", "setup.py", "pyproject.toml"}) - below(
        sdist
    )
    assert not missing


def test_wheel_holds_every_module_and_nothing_else(wheel):
    found = below(wheel)
    schema = {f"intone/v1/{path.name}" for path in (ROOT / "proto/intone/v1").glob("*.proto")}
    stubs = {f"intone/v1/{path.name}" for path in (ROOT / "proto/intone/v1").glob("*.pyi")}
    (native,) = (name for name in found if re.fullmatch(r"intone/server/ops/_C\.[\w.-]+\.so", name))
    (about,) = {name.partition("/")[0] for name in found if ".dist-info/" in name}
    data = {f"intone/{folder}/{name}" for folder in ("server", "client") for name in below(ROOT / folder)}
    data = {name for name in data if not name.endswith((".py", ".pyc", ".so"))} | {f"intone/{VOICE}/anything"}
    assert any(name.endswith(".tsv") for name in data)
    package = set(modules().values()) | schema | stubs | {"intone/v1/py.typed"} | data | {native}
    assert package - found == set()
    assert {name for name in found - package if not name.startswith(about + "/")} == set()
    assert f"{about}/licenses/LICENSE" in found
    commands = (wheel / about / "entry_points.txt").read_text("utf8")
    assert "intone = intone.__main__:main" in commands
    assert "intone-server = intone.server.__main__:main" in commands


def test_client_runs_from_the_wheel_without_the_server(wheel, tmp_path):
    command = [sys.executable, "-c", CLIENT_ALONE, str(wheel)]
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((ROOT / "client").rglob("*.py"))) - 1  # all but intone.client itself


def test_the_server_without_its_dependencies_says_what_to_install(wheel, tmp_path):
    code = CLIENT_ALONE.partition("import intone.client")[0].replace(' or name.startswith("intone.server")', "")
    code += "sys.argv = ['intone-server']\nfrom intone.server.__main__ import main\nmain()\n"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2, done.stderr
    assert "needs grpc_health, which is not installed" in done.stderr
    assert "pip install --no-build-isolation '.[server,starter" in done.stderr
    torch = re.search(r"'(torch[^']*)'", done.stderr)
    assert torch and f'"{torch.group(1)}"' in (ROOT / "setup.py").read_text("utf8")


@pytest.mark.slow
def test_the_client_installs_alone_in_a_clean_environment(wheel, require, tmp_path):
    (archive,) = (wheel.parent / "out").glob("*.whl")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    venv.create(tmp_path / "venv", with_pip=True)

    def ran(*command: str) -> subprocess.CompletedProcess[str]:
        line = [tmp_path / "venv" / "bin" / command[0], *command[1:]]
        return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=600, check=False)

    installed = ran("pip", "install", "--quiet", str(archive))
    require("registry", installed.returncode == 0, f"pip could not install: {installed.stderr[-300:]}")
    packages = ran("pip", "list", "--format", "freeze").stdout
    assert "intone==0.1.0" in packages and "grpcio==" in packages and "torch" not in packages
    assert ran("intone", "--version").stdout == "intone 0.1.0\n"
    assert ran("python", "-c", "import intone; print(intone.__version__)").stdout == "0.1.0\n"
    assert ran("intone", "info", "--server", "127.0.0.1:1").returncode == 3
    refused = ran("intone-server")
    assert refused.returncode == 2 and "pip install --no-build-isolation" in refused.stderr


def test_every_extra_is_described(wheel):
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    extras = set(re.findall(r"^Provides-Extra: (.+)$", metadata.read_text("utf8"), re.MULTILINE))
    described = (ROOT / "README.md").read_text("utf8").partition("The extras:")[2].partition("\n## ")[0]
    assert {"server", "play"} <= extras
    assert [name for name in sorted(extras - {"test", "training"}) if f"`{name}`" not in described] == []


@pytest.mark.parametrize("command", ["intone", "intone-server"])
def test_commands_explain_themselves(command, tmp_path):
    done = subprocess.run([SCRIPTS / command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout.lower() and "intone" in done.stdout
