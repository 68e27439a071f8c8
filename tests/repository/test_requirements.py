"""Every requirement of the package is locked to an allowed version with hashes, and its licence is named in NOTICE."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKED = {
    "server.txt": {"server", "starter", "mandarin", "otel"},
    "test.txt": {"server", "starter", "mandarin", "otel", "play", "plot", "test"},
}
BUILDS = {"torch"}
"""Packages whose build depends on the machine: installed before the others, and not locked."""


def declared(extras: set[str]) -> list[Requirement]:
    """Requirements of the package with these extras."""
    found = [Requirement(text) for text in importlib.metadata.requires("intone") or []]
    environments = [{"extra": extra, "python_version": "3.11"} for extra in ("", *extras)]
    return [one for one in found if one.marker is None or any(one.marker.evaluate(given) for given in environments)]


def locked(file: str) -> dict[str, list[tuple[str, int]]]:
    """Name → versions with the number of their hashes, of a file of `requirements/`."""
    found: dict[str, list[tuple[str, int]]] = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements" / file).read_text("utf8")):
        if pinned := re.match(r"([\w.-]+)==([^\s;]+)", block):
            hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}", block))
            found.setdefault(canonicalize_name(pinned[1]), []).append((pinned[2], hashes))
    return found


@pytest.mark.parametrize("file", LOCKED)
def test_locked_versions_satisfy_the_package(file):
    versions, wanted = locked(file), declared(LOCKED[file])
    assert len(wanted) > 15
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in BUILDS:
            assert name in versions, f"{name} is not in requirements/{file}: make lock"
            fitting = [version for version, _ in versions[name] if requirement.specifier.contains(version)]
            assert fitting, f"{requirement} is locked to {versions[name]}: make lock"
    assert all(hashes > 0 for found in versions.values() for _, hashes in found)
    assert not BUILDS & versions.keys()


def test_notice_names_every_runtime_requirement():
    notice = (ROOT / "NOTICE").read_text("utf8")
    extras = set(importlib.metadata.metadata("intone").get_all("Provides-Extra")) - {"test", "training"}
    assert {"server", "starter", "mandarin", "play", "plot", "qwen"} <= extras
    for requirement in declared(extras):
        assert re.search(rf"(?m)^  (\S+, )*{re.escape(requirement.name)}\b", notice), requirement.name
    for extra in extras:
        assert f"intone[{extra}]" in notice
