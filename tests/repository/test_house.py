"""The rules of `house_rules.py` hold in this tree, and each of them finds what it is for."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support.house_rules import (
    ALL_RULES,
    CATCHES_ALL,
    FILE_LINES,
    LOCAL_PATH,
    LONGER,
    NATIVE_LINES,
    ROOT,
    SHIPPED_RULES,
    environment_is_read_once,
    findings,
    functions_are_short,
    imports_go_one_way,
    module_of,
    named,
    nobody_swallows_errors,
    sources,
    state_is_a_value,
    texts,
    the_path_is_left_alone,
    too_long,
)


@pytest.mark.parametrize("rule", SHIPPED_RULES, ids=lambda rule: rule.__name__)
def test_shipped_code(rule):
    found = findings(rule, sources("server", "client", "proto", "training"))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
def test_all_code(rule):
    found = findings(rule, sources("server", "client", "proto", "training", "tests"))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "path", "source", "what"),
    [
        (imports_go_one_way, "server/conversation/session.py", "import grpc.aio", "imports grpc.aio: only layers"),
        (imports_go_one_way, "server/conversation/session.py", "from google.rpc import status_pb2", "only layers"),
        (imports_go_one_way, "server/conversation/session.py", "from intone.proto import speech_pb2", "only layers"),
        (
            imports_go_one_way,
            "server/routing/router.py",
            "def f():\n  import torch",
            "router.py:2: imports torch: only layers",
        ),
        (imports_go_one_way, "server/filler.py", "from intone.server import session", "which is above it"),
        (
            imports_go_one_way,
            "server/nn/rope.py",
            "from intone.server.runtime.worker import Worker",
            "which is above it",
        ),
        (imports_go_one_way, "server/domain.py", "from intone.server.audio.encoding import fade", "which is above it"),
        (
            imports_go_one_way,
            "server/engines/voxcpm/lm.py",
            "import intone.server.engines.indextts.gpt.language_model",
            "each other",
        ),
        (imports_go_one_way, "client/stream.py", "from intone.server import domain", "without the server"),
        (imports_go_one_way, "client/stream.py", "from torch import Tensor", "without torch"),
        (imports_go_one_way, "server/wire.py", "from intone.v1 import speech_pb2", "from intone.proto"),
        (functions_are_short, "server/a.py", "async def f():\n" + "  x = 1\n" * 60, "f has 61 lines"),
        (nobody_swallows_errors, "server/a.py", "try:\n  f()\nexcept (KeyError, Exception):\n  pass", "a.py:3"),
        (nobody_swallows_errors, "client/a.py", "try:\n  f()\nexcept:\n  pass", "catches everything"),
        (environment_is_read_once, "server/a.py", "import os\nx = os.environ['X']", "a.py:2: os.environ"),
        (environment_is_read_once, "client/a.py", "from os import getenv", "imports os.getenv"),
        (state_is_a_value, "server/a.py", "def f():\n  global x\n  x = 1", "global x"),
        (
            state_is_a_value,
            "server/a.py",
            "class A:\n  @functools.lru_cache(3)\n  def f(self): pass",
            "a.py:3: a cache",
        ),
        (the_path_is_left_alone, "tests/a.py", "import sys\nsys.path.insert(0, 'x')", "a.py:2: sys.path"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rules_find_what_they_are_for(rule, path, source, what):
    found = list(rule(path, module_of(ROOT / path), ast.parse(source)))
    assert len(found) == 1 and what in found[0], found


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (imports_go_one_way, "server/rpc/speech_service.py", "import grpc\nfrom intone.proto import speech_pb2"),
        (
            imports_go_one_way,
            "server/conversation/session.py",
            "from intone.server.domain import Unit\nimport asyncio, numpy",
        ),
        (imports_go_one_way, "server/engines/voxcpm/lm.py", "import torch\nfrom intone.server.nn import rope"),
        (functions_are_short, "server/a.py", "def f():\n" + "  x = 1\n" * 59),
        (nobody_swallows_errors, "server/a.py", "try:\n  f()\nexcept BaseException:\n  g()\n  raise"),
        (nobody_swallows_errors, "server/runtime/engine_thread.py", "try:\n  f()\nexcept Exception:\n  g()"),
        (environment_is_read_once, "server/config.py", "import os\nx = os.environ"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rules_leave_the_rest_alone(rule, path, source):
    assert not list(rule(path, module_of(ROOT / path), ast.parse(source)))


# ---- files ----------------------------------------------------------------------------------------------------------


def test_files_are_short():
    native = [path for path in (ROOT / "csrc").rglob("*") if path.suffix in {".cpp", ".h", ".cu", ".cuh"}]
    found = too_long(sources("server", "client", "proto", "training", "tests"), FILE_LINES) + too_long(
        native, NATIVE_LINES
    )
    assert not found, "\n" + "\n".join(found)
    assert too_long([Path(__file__)], limit=10)


def test_no_file_takes_the_name_of_a_standard_module():
    taken = [
        named(path) for path in sources("server", "client", "training", "tests") if path.stem in sys.stdlib_module_names
    ]
    assert not taken, f"a script in that folder would import these instead of the standard library's: {taken}"


def test_exceptions_are_still_needed():
    """A file that is gone, or shrank, has no line in the tables any more."""
    for name in LONGER:
        assert (ROOT / name.split(":")[0]).exists(), f"{name} is gone: delete its line in LONGER"
    for name in CATCHES_ALL:
        path = ROOT / name
        if path.exists() and "except Exception" not in path.read_text("utf8"):
            pytest.fail(f"{name} catches nothing broad any more: delete its line in CATCHES_ALL")


def test_no_path_of_somebodys_machine():
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if LOCAL_PATH.search(line)
    ]
    assert not found, "absolute paths of a machine, which no reader has:\n" + "\n".join(found)
    assert LOCAL_PATH.search("cd " + "/wo" + "rk/main") and not LOCAL_PATH.search(
        "https://example.org" + "/wo" + "rk/x"
    )
