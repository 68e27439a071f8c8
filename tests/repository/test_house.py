"""What ruff and import-linter do not check: lengths of files and functions, and absolute paths of one machine."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60
IGNORED = {".git", ".venv", ".hypothesis", "build", "dist", "demo", "node_modules", "__pycache__"}
PYTHON, NATIVE = {".py"}, {".cpp", ".h", ".cu", ".cuh"}
# Spelled so that this file does not contain one.
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)" + "/")


def files() -> Iterator[tuple[Path, str]]:
    """Path in the repository, and content, of every text file outside of generated and ignored folders."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in IGNORED and not name.endswith(("_cache", ".egg-info")))
        for path in (Path(folder, name) for name in sorted(set(names) - IGNORED)):  # .git is a file in a worktree
            content = path.read_bytes()
            if b"\0" not in content:
                yield path.relative_to(ROOT), content.decode("utf8", errors="replace")  # random bytes can lack a zero


def ours(suffixes: set[str]) -> Iterator[tuple[Path, str]]:
    return ((path, text) for path, text in files() if path.suffix in suffixes and path.parts[:2] != ("proto", "intone"))


def long_functions(path: Path, source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES} are allowed"


def local_paths(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if LOCAL_PATH.search(line):
            yield f"{path}:{number}: {line.strip()[:100]}"


def test_files_are_short():
    lengths = [(path, len(text.splitlines())) for path, text in ours(PYTHON | NATIVE)]
    assert {path.suffix for path, _ in lengths} == PYTHON | NATIVE
    assert [f"{path} has {lines} lines" for path, lines in lengths if lines > MAX_FILE_LINES] == []


def test_functions_are_short():
    assert [finding for path, text in ours(PYTHON) for finding in long_functions(path, text)] == []
    body = "  x = 1\n" * (MAX_FUNCTION_LINES - 1)
    assert not list(long_functions(Path("a.py"), f"def f():\n{body}"))
    (found,) = long_functions(Path("a.py"), f"async def f():\n{body}  x = 2\n")
    assert "f has 61 lines" in found


def test_no_absolute_path_of_one_machine():
    assert [finding for path, text in files() for finding in local_paths(path, text)] == []
    planted = "cd " + "/wo" + "rk/main"
    assert list(local_paths(Path("a.md"), f"fine\n{planted}\nhttps://example.org{planted[3:]}\n")) == [
        f"a.md:2: {planted}"
    ]
