"""The pages: links and file names in them exist, every figure is on one of them, commands marked as tested run."""

import functools
import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "training/*.md", "server/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)|\b(?:src|href)=\"([^\"]+)\"", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
OUR_PATH = re.compile(r"(?:server|client|proto|csrc|tests|docs|training|examples)/[\w./*-]+")
TESTED_BLOCK = re.compile(r"^<!-- tested -->\s*\n```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@functools.cache
def page(name: str) -> str:
    return (ROOT / name).read_text("utf8")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures, without those in code and those to other sites."""
    for found in LINK.finditer(CODE.sub("", prose(text))):
        target = next(filter(None, found.groups()))
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(text: str) -> set[str]:
    """What `#...` may name: the headings, spelled as GitHub does, and explicit ids."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*\s*$", prose(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    repeated = {f"{slug}-{number}" for slug, last in found.items() for number in range(1, last + 1)}
    return found.keys() | repeated | set(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", text))


def broken_links(name: str, text: str) -> list[str]:
    broken = []
    for target in links(text):
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            broken.append(target)
            continue
        known = anchors(file.read_text("utf8") if path else text) if anchor and file.suffix == ".md" else {anchor}
        if anchor not in known:
            broken.append(target)
    return broken


def missing_files(text: str) -> list[str]:
    """Files of ours that `code` names, with or without a `*`, and that do not exist."""
    named = [found[0].rstrip("./") for code in CODE.findall(prose(text)) if (found := OUR_PATH.match(code))]
    return [name for name in named if not any(ROOT.glob(name))]


def test_pages_are_found():
    assert {"README.md", "training/README.md"} <= set(PAGES)
    assert any(name.startswith("docs/") for name in PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_links_resolve(name):
    assert broken_links(name, page(name)) == []
    assert missing_files(page(name)) == []


def test_broken_links_are_found():
    text = """# A `b`: c, d
    [here](#a-b-c-d) [there](training/README.md) [site](https://example.org/x.md) `[code](gone.md)`
    `server/app.py` `server/a*.py`
    [gone](docs/gone.md) ![gone](gone.png "title") [gone](#a-b) <img src="docs/gone.png"> `server/gone.py --flag`
[reference]: training/README.md#gone
```
[fenced](gone.md)
```
"""
    assert broken_links("README.md", text) == [
        "docs/gone.md",
        "gone.png",
        "#a-b",
        "docs/gone.png",
        "training/README.md#gone",
    ]
    assert missing_files(text) == ["server/gone.py"]
    assert anchors("# One\n## One\n### [Two](x.md) & `three_four`\n") == {"one", "one-1", "two--three_four"}


@pytest.mark.parametrize("folder", ["docs/figures", "docs/samples"])
def test_every_figure_and_sample_is_linked_from_a_page(folder):
    linked = {
        ((ROOT / name).parent / target.partition("#")[0]).resolve() for name in PAGES for target in links(page(name))
    }
    there = [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    assert [path.relative_to(ROOT).as_posix() for path in there if path.resolve() not in linked] == []


# ---- what is written twice ----------------------------------------------------------------------------------------


def sources(*folders: str) -> str:
    """Every Python file and contract below the folders, with adjacent string literals joined as Python joins them."""
    files = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    text = "".join(path.read_text("utf8") for path in files if path.suffix in (".py", ".proto"))
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


def unknown_messages(markdown: str, source: str) -> list[str]:
    """Messages in the first columns of tables that are nowhere in the source; `…` stands for anything."""
    quoted = [code for row in re.findall(r"^\| (.*?) \|", markdown, re.MULTILINE) for code in CODE.findall(row)]
    parts = [(message, part.strip()) for message in quoted for part in message.split("…")]
    return [message for message, part in parts if part not in source]


def test_messages_of_the_troubleshooting_page_exist():
    known = sources("server", "client", "proto/intone") + (ROOT / "Makefile").read_text("utf8")
    assert unknown_messages(page("docs/troubleshooting.md"), known) == []
    table = "| message | x |\n|---|---|\n| `there is no folder …` or `GONE` | `y` |\n| `no … purple folders` | |\n"
    assert unknown_messages(table, known) == ["GONE", "no … purple folders"]


def test_layers_are_those_that_import_linter_checks():
    (contract,) = re.findall(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf8"), re.M | re.S)
    checked = [set(re.findall(r"\w+", layer)) for layer in contract.splitlines()]
    (drawn,) = re.findall(r"```\n(__main__\n.*?)```", page("docs/architecture.md"), re.DOTALL)
    assert [set(line.partition("#")[0].split()) for line in drawn.splitlines()] == checked


# ---- commands -------------------------------------------------------------------------------------------------------


def script(markdown: str) -> str:
    """One shell script of all blocks that follow a `<!-- tested -->`."""
    blocks = TESTED_BLOCK.findall(markdown)
    return "".join(
        text if kind == "sh" else f"python - <<'END_OF_BLOCK'\n{text}END_OF_BLOCK\n" for kind, text in blocks
    )


TESTED = [name for name in PAGES if script(page(name))]


def test_tested_blocks_are_found():
    mark, block = "<!-- tested -->\n", "```{}\n{}\n```\n"
    shell, python, other = block.format("sh", "a\nb"), block.format("python", "c"), block.format("", "not this")
    text = f"{mark}{shell}\n{shell.replace('a', 'not this')}{mark}\n{python}{mark}{other}{mark}no\n"
    assert script(text) == "a\nb\npython - <<'END_OF_BLOCK'\nc\nEND_OF_BLOCK\n"
    assert "README.md" in TESTED


@pytest.mark.parametrize("name", TESTED)
def test_commands_run(name, server_address, tmp_path):
    """In order, in one shell, in an empty folder; `$INTONE_SERVER` has the starter voice and a nano VoxCPM."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", script(page(name))],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "INTONE_SERVER": server_address},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
