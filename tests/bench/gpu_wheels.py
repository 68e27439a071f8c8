"""Downloads the wheels of the official packages, for `gpu.py --wheels` on a machine that has a GPU but no network.

    python tests/bench/gpu_wheels.py gpu/wheels        # here, 20 MB; then carry gpu/ there

Each package gets a folder of its own, because they need different versions of others. Left out is what that machine
has: torch and torchaudio, numpy, scipy, scikit-learn, numba, einops, tiktoken, sentencepiece and what these need.
`nano-vllm-voxcpm` is not among them: it needs flash-attn, for which PyPI has no wheels, and to compile it takes longer
than such a machine is lent for.
"""

import argparse
import subprocess
import sys
from pathlib import Path

PYTHON = "3.12"
GLIBC = ("_2_28", "_2_27", "_2_17", "2014")
"""manylinux tags that its Python takes, which pip matches exactly."""

ROOT = Path(__file__).resolve().parents[2]
ORACLES = ROOT / "tests" / "oracles"

VOXCPM = ("voxcpm", "pydantic", "pydantic_core", "annotated-types", "typing-inspection", "typing_extensions")
INDEXTTS = (
    *("indextts25-inference", "transformers", "huggingface_hub", "tokenizers", "omegaconf", "antlr4-python3-runtime"),
    *("librosa", "soundfile", "soxr", "audioread", "pooch", "platformdirs", "decorator", "lazy_loader"),
)
"""transformers and its relatives in the versions that `indextts25-inference` needs, older than those of the machine."""

FROM_SOURCE = ("antlr4-python3-runtime",)
"""Has no wheel on PyPI; it is pure Python."""


def pinned(file: Path) -> dict[str, str]:
    """Requirements with a version, by name."""
    lines = [line.strip() for line in file.read_text("utf8").splitlines()]
    return {line.split("==")[0]: line for line in lines if "==" in line and not line.startswith("#")}


def requirements() -> dict[str, list[str]]:
    """What to download for each official package: the versions that the tests compare with."""
    voxcpm, indextts = (pinned(ORACLES / f"{name}.txt") for name in ("voxcpm", "indextts"))
    return {
        "voxcpm": [voxcpm.get(name, name) for name in VOXCPM],
        "indextts": [indextts.get(name, name) for name in INDEXTTS],
    }


def download(requirement: str, folder: Path) -> None:
    """One wheel, without what it needs; CalledProcessError if there is none."""
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    if requirement.split("==")[0] in FROM_SOURCE:
        command = [*pip, "wheel", "--no-deps", "-w", str(folder), requirement]
    else:
        platforms = [f"--platform=manylinux{version}_x86_64" for version in GLIBC]
        command = [*pip, "download", "--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}"]
        command += ["--implementation=cp", *platforms, "-d", str(folder), requirement]
    subprocess.run(command, check=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for package, wanted in requirements().items():
        for requirement in wanted:
            download(requirement, folder / package)
    files = sorted(folder.rglob("*.whl"))
    print(f"{len(files)} wheels, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {folder}")


if __name__ == "__main__":
    main()
