"""What is compiled into the extension, and when the CUDA kernels are."""

from pathlib import Path

import pytest

from intone.server.ops.build_flags import cuda_architectures, nvcc_release, sources, wants_cuda

CSRC = Path(__file__).resolve().parents[2] / "csrc"


@pytest.mark.parametrize(
    ("torch_cuda", "toolkit", "asked", "wanted"),
    [
        ("13.0", "13.0", "", True),
        ("13.0", "13.2", "1", True),
        ("12.6", "12.9", "", True),
        (None, "13.0", "", False),  # torch without CUDA
        (None, "13.0", "1", False),
        ("13.0", "", "", False),  # no compiler
        ("12.6", "13.0", "", False),  # torch refuses it
        ("13.0", "13.0", "0", False),
    ],
)
def test_cuda_is_compiled_where_torch_and_compiler_fit(
    torch_cuda: str | None, toolkit: str, asked: str, wanted: bool
) -> None:
    assert wants_cuda(torch_cuda, toolkit, asked) is wanted


@pytest.mark.parametrize(("toolkit", "newest"), [("12.6", "9.0+PTX"), ("12.8", "10.0+PTX"), ("13.0", "10.0+PTX")])
def test_without_a_gpu_the_kernels_are_compiled_for_every_generation_that_the_compiler_knows(
    toolkit: str, newest: str
) -> None:
    generations = cuda_architectures(toolkit).split(";")
    assert generations[0] == "8.0" and generations[-1] == newest


def test_the_compiler_is_asked_for_its_release(tmp_path: Path) -> None:
    assert nvcc_release(None) == "" and nvcc_release(str(tmp_path)) == ""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    for said, release in (("Cuda compilation tools, release 13.0, V13.0.88", "13.0"), ("no compiler at all", "")):
        nvcc.write_text(f"#!/bin/sh\necho '{said}'\n")
        nvcc.chmod(0o755)
        assert nvcc_release(str(tmp_path)) == release


def test_files() -> None:
    plain, all_of_them = sources(CSRC), sources(CSRC, cuda=True)
    assert plain == sorted(CSRC.rglob("*.cpp")) and plain
    assert set(all_of_them) - set(plain) == set(CSRC.rglob("*.cu")) and len(all_of_them) > len(plain)
    # Compiled just in time, all objects are in one folder.
    assert len({(path.stem, path.suffix) for path in all_of_them}) == len(all_of_them)
