"""Every regular expression of the server takes linear time, as it is used, on long runs of every class of characters.

Python's `re` holds the GIL: a pattern with quadratic or worse time lets one text stop every stream.
"""

import ast
import functools
import importlib
import itertools
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import intone.server

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 8000
MAX_CPU_S = 0.02
"""Of one search. Linear ones take a millisecond or less, quadratic ones 0.03 s and more."""

CLASSES = (
    *"aZ0 \n\t\r-=_*#.,!?'\"()[]{}<>/\\|:;$%&+~^`@中一。，、「《é🇦😀０…—·年￥",
    *(
        "1,",
        "a-",
        "a.",
        "1.",
        "1:",
        "- ",
        "* ",
        "a ",
        "1 ",
        "Aa",
        "(a",
        "[a",
        "<a",
        "$1",
        "一百",
        "1/",
        "a@a.",
        "](",
        "x=",
        " \n",
    ),
)
COMMON = "a0 ."
STARTS, ENDS = ("", "x"), ("", "x")
ANCHORED = {"match", "fullmatch"}


def is_server_module(name: str) -> bool:
    return name == "intone.server" or name.startswith("intone.server.")


def modules() -> Iterator[ModuleType]:
    """Every module of the server."""
    for found in pkgutil.walk_packages(intone.server.__path__, "intone.server."):
        if not found.name.endswith("__main__") and "._C" not in found.name:
            yield importlib.import_module(found.name)


def inner(value: Any) -> Iterable[Any]:
    """What a value holds, if it may hold patterns."""
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [*cells, *(value.__defaults__ or ())]
    if isinstance(value, type):
        return vars(value).values() if is_server_module(value.__module__) else ()
    if is_server_module(type(value).__module__):
        slots = (getattr(value, name, None) for name in getattr(type(value), "__slots__", ()))
        return [*getattr(value, "__dict__", {}).values(), *slots]
    return ()


def patterns() -> dict[tuple[str, int], tuple[re.Pattern[str], list[str]]]:
    """Every compiled pattern that can be reached from a module, and the names of the globals that lead there."""
    found: dict[tuple[str, int], tuple[re.Pattern[str], list[str]]] = {}

    def visit(value: Any, name: str, seen: set[int]) -> None:
        if isinstance(value, re.Pattern):
            if isinstance(value.pattern, str):
                found.setdefault((value.pattern, value.flags), (value, []))[1].append(name)
        elif id(value) not in seen and not isinstance(value, str | bytes | ModuleType):
            seen.add(id(value))
            for one in inner(value):
                visit(one, name, seen)

    for module in modules():
        for name, value in vars(module).items():
            if not name.startswith("__"):
                visit(value, f"{module.__name__}:{name}", set())
    return found


@functools.cache
def sources() -> dict[str, ast.Module]:
    """The syntax trees of the server's modules by name."""
    paths = sorted((ROOT / "server").rglob("*.py"))
    return {
        "intone." + ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text("utf8"))
        for path in paths
    }


@functools.cache
def uses() -> dict[str, set[str]]:
    """The methods that each module calls on its names, such as "a.b:_LABEL" → {"fullmatch"}."""
    found: dict[str, set[str]] = {}
    for module, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.setdefault(f"{module}:{node.value.id}", set()).add(node.attr)
            elif isinstance(node, ast.Call):  # passed on, as to `SpannedText.sub`
                for argument in (one for one in node.args if isinstance(one, ast.Name)):
                    found.setdefault(f"{module}:{argument.id}", set()).add("search")
    return found


def is_anchored(names: list[str]) -> bool:
    """Whether a pattern with these names is only used where the match begins at a given place."""
    methods = set().union(*(uses().get(name, set()) for name in names))
    return bool(methods) and methods <= ANCHORED


def calls_of_re() -> Iterator[tuple[str, ast.Call, str]]:
    """Calls of `re.method` inside functions: the place, the call, the method."""
    for module, tree in sources().items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for call in {node for function in functions for node in ast.walk(function) if isinstance(node, ast.Call)}:
            name = call.func
            if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and name.value.id == "re":
                yield f"{module}:{call.lineno}", call, name.attr


def inline_patterns() -> Iterator[tuple[re.Pattern[str], str, bool]]:
    """Patterns that are written where they are used: each with its place, and whether it is anchored."""
    for place, call, method in calls_of_re():
        if call.args and method != "escape" and isinstance(written := _written(place, call.args[0]), str):
            yield re.compile(written), place, method in ANCHORED


def _written(place: str, argument: ast.expr) -> str | bytes | None:
    """A pattern that is a constant, or made of constants of its module; those of bytes are not for callers' text."""
    constants = dict(vars(sys.modules[place.partition(":")[0]]))
    try:
        text = eval(ast.unparse(argument), constants)  # our own source
    except NameError:
        return None
    return text if isinstance(text, str | bytes) else None


Run = tuple[str, str, str]
"""What a text begins with, what is repeated in it, and what it ends with."""


def runs(pattern: re.Pattern[str]) -> Iterator[Run]:
    """Runs of each class; of some also behind the marks that the pattern itself names."""
    marks = sorted({one for one in pattern.pattern if not one.isalnum()})
    yield from itertools.product(STARTS, CLASSES, ENDS)
    yield from itertools.product(marks, COMMON, ENDS[1:])


def text_of(run: Run, length: int) -> str:
    start, unit, end = run
    return start + unit * (length // len(unit)) + end


class TooSlow(Exception):
    """The search took longer than allowed."""


def _stop(number: int, frame: object) -> None:
    raise TooSlow


def cpu_s(pattern: re.Pattern[str], anchored: bool, text: str) -> float:
    """How long a use of the pattern takes, or infinity if it does not end soon. `re` looks for signals."""
    before = signal.signal(signal.SIGVTALRM, _stop)
    began_s = time.thread_time()
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 5 * MAX_CPU_S)
        if anchored:
            pattern.match(text)
            pattern.fullmatch(text)
        else:
            for _ in pattern.finditer(text):
                pass
        return time.thread_time() - began_s
    except TooSlow:
        return float("inf")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def slow_text(pattern: re.Pattern[str], anchored: bool) -> Run | None:
    """A run on which the pattern takes more than linear time; None if there is none."""
    return next((run for run in runs(pattern) if _is_slow(pattern, anchored, run)), None)


def _is_slow(pattern: re.Pattern[str], anchored: bool, run: Run) -> bool:
    text = text_of(run, LENGTH)
    if cpu_s(pattern, anchored, text) <= MAX_CPU_S:  # almost all
        return False
    took_s = min(cpu_s(pattern, anchored, text) for _ in range(3))
    part_s = min(cpu_s(pattern, anchored, text_of(run, LENGTH // 4)) for _ in range(3))
    # Linear time is four times as long, quadratic time sixteen times.
    return took_s == float("inf") or (took_s > MAX_CPU_S and took_s > 8 * part_s)


def test_the_check_finds_what_it_is_for():
    for quadratic in (r"\s+$", r"(?:[-=]{3,}[ \t]*)+$", r":\d*\.?\d+y", r"[a-z]+[0-9]"):
        assert slow_text(re.compile(quadratic), anchored=False), quadratic
    for linear in (r"(?<!\s)\s+$", r"[a-z]+", r"(?<![a-z])[a-z]+[0-9]"):
        assert slow_text(re.compile(linear), anchored=False) is None, linear
    assert slow_text(re.compile(r"[a-z]+[0-9]"), anchored=True) is None
    assert slow_text(re.compile(r"\s*(.+?)\s*(?:y)?"), anchored=True)


def test_patterns_that_are_made_at_run_time_are_known():
    """They cannot be found by this check. To add a module here, say why its patterns take linear time."""
    known = {
        "intone.server.emotion.word_lists",  # at import, from tables: found as globals
        "intone.server.text.patterns",  # the same
        "intone.server.text.pronunciation.entries",  # alternatives of whole words, escaped
        "intone.server.engines.indextts.checkpoint.random_weights",  # searches names of tensors
        "intone.server.engines.indextts.checkpoint.weights",
    }
    assert list(modules())
    made = {
        place.partition(":")[0]
        for place, call, method in calls_of_re()
        if method != "escape" and call.args and _written(place, call.args[0]) is None
    }
    assert made <= known


@pytest.mark.slow
def test_every_pattern_takes_linear_time():
    found = [(pattern, names[0], is_anchored(names)) for pattern, names in patterns().values()]
    assert len(found) > 200
    slow = {}
    for pattern, name, anchored in (*found, *inline_patterns()):
        text = slow_text(pattern, anchored)
        if text is not None:
            slow[f"{name} {pattern.pattern[:80]}"] = text
    assert slow == {}
