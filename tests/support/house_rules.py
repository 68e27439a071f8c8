"""The rules of the house that a machine can check, for `test_house.py`: who imports whom, what is caught, how long.

Everything is read as text; nothing of ours is imported. A finding says where, what and what to do. An exception to a
rule is a line in a table, with its reason.
"""

import ast
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"server": "intone.server", "client": "intone.client", "proto": "intone.proto"}

# ---- the tables -----------------------------------------------------------------------------------------------------

# From top to bottom; a module may import from its own layer and from those below it. `*` stands for one name; a module
# that no line names belongs to CONVERSATION: the logic that needs neither network nor model.
CONVERSATION = 3
LAYERS = [
    (7, "intone.server.__main__"),
    (6, "intone.server.app"),
    (5, "intone.server.rpc.speech_service"),
    (5, "intone.server.rpc.voice_service"),
    (5, "intone.server.rpc.interceptors"),
    (5, "intone.server.rpc.health"),
    (5, "intone.server.rpc.wire"),
    (4, "intone.server.conversation.session"),
    (2, "intone.server.engines.voxcpm"),
    (2, "intone.server.engines.indextts"),
    (2, "intone.server.engines.starter"),
    (1, "intone.server.engines.weights"),
    (1, "intone.server.engines.int8_checkpoint"),
    (1, "intone.server.engines.config_section"),
    (1, "intone.server.engines.precision"),
    (1, "intone.server.engines.english_text"),
    (1, "intone.server.audio.encoding"),
    (1, "intone.server.audio.recordings"),
    (1, "intone.server.nn"),
    (0.5, "intone.server.ops"),
    (0, "intone.server.storage"),
    (0, "intone.server.engines.base"),
    (0, "intone.server.config"),
    (0, "intone.server.domain"),
    (0, "intone.server.errors"),
    (0, "intone.server.events"),
]
# Third parties that only these may import.
KEPT_TO = {
    "grpc": (5, 6, 7),
    "grpc_status": (5, 6, 7),
    "grpc_health": (5, 6, 7),
    "grpc_reflection": (5, 6, 7),
    "google": (5, 6, 7),
    "intone.proto": (5, 6, 7),
    "torch": (0.5, 1, 2),
    "hibari": (2,),
}
NEVER = [
    ("intone.server.engines.voxcpm", "intone.server.engines.indextts", "engines do not know each other"),
    ("intone.server.engines.indextts", "intone.server.engines.voxcpm", "engines do not know each other"),
    ("intone.server.engines.starter", "intone.server.engines.voxcpm", "engines do not know each other"),
    ("intone.client", "intone.server", "a client is installed without the server"),
    ("intone.client", "torch", "a client is installed without torch"),
    ("intone.server", "intone.client", "the server does not know who calls it"),
    ("intone", "intone.v1", "import the stubs from intone.proto"),
    ("intone", "tests", "tests are not installed"),
    ("intone", "training", "the recipe is not installed"),
    ("training", "intone.client", "the recipe trains and measures what the server loads"),
    ("training", "tests", "the recipe stands on its own"),
]
MAY_IMPORT_STUBS = {"proto/__init__.py"}

# Who may catch everything and go on (a handler that ends in `raise` needs no permission).
CATCHES_ALL = {
    "server/rpc/speech_service.py": "the boundary of a call",
    "server/runtime/engine_thread.py": "the loop of an engine's thread",
    "server/text/normalizer.py": "generated grammars assert on odd input; the text is spoken as it is",
}
READS_ENVIRONMENT = {
    "server/ops/native.py": "how to compile, which is no setting of a server",
    "server/config.py": "the one reader of the server's settings",
    "client/__main__.py": "command line",
    "client/commands": "command line",
    "tests/conftest.py": "what may be skipped",
}
FILE_LINES, FUNCTION_LINES, NATIVE_LINES = 300, 60, 250
LONGER: dict[str, str] = {}  # path, or path:function → why it is better in one piece

# ---- reading --------------------------------------------------------------------------------------------------------


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if not {"v1", "node_modules", "__pycache__"} & set(path.parts))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    first, *inner = path.relative_to(ROOT).with_suffix("").parts
    parts = [PACKAGES.get(first, first), *inner]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported; `from a import b` counts as `a.b`, which says at least as much."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module or '.'}.{alias.name}") for alias in node.names)


def layer(module: str) -> float:
    return next((rank for rank, package in LAYERS if inside(module, package)), CONVERSATION)


# ---- the rules: (name of the file, its module, its tree) → findings ------------------------------------------------

Rule = Callable[[str, str, ast.Module], Iterator[str]]


def imports_go_one_way(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for line, target in imports(tree):
        for importer, forbidden, reason in NEVER:
            if inside(module, importer) and inside(target, forbidden) and name not in MAY_IMPORT_STUBS:
                yield f"{name}:{line}: imports {target}: {reason}"
        if not inside(module, "intone.server"):
            continue
        if inside(target, "intone.server") and layer(target) > layer(module):
            yield f"{name}:{line}: imports {target}, which is above it: move what is shared down, or pass it in"
        for kept, ranks in KEPT_TO.items():
            if inside(target, kept) and layer(module) not in ranks:
                yield f"{name}:{line}: imports {target}: only layers {ranks} may (see LAYERS), it is in {layer(module)}"


def functions_are_short(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES and f"{name}:{node.name}" not in LONGER:
                yield f"{name}:{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES} allowed: split it"


def nobody_swallows_errors(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
            continue
        caught = (
            {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)} if node.type else {"everything"}
        )
        if caught & {"everything", "Exception", "BaseException"} and name not in CATCHES_ALL:
            yield f"{name}:{node.lineno}: catches {min(caught)} and goes on: name the exception, or end in `raise`"


def environment_is_read_once(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        used = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if (
            used
            and node.attr in {"environ", "getenv", "putenv", "environb"}
            and not any(name == allowed or name.startswith(allowed + "/") for allowed in READS_ENVIRONMENT)
        ):
            yield f"{name}:{node.lineno}: os.{node.attr}: settings are read in server/config.py and passed in"
    for line, target in imports(tree):
        if target in {"os.environ", "os.getenv"}:
            yield f"{name}:{line}: imports {target}: write os.environ, so that it can be found"


def state_is_a_value(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"{name}:{node.lineno}: global {', '.join(node.names)}: give it an owner and pass it in"
        for method in node.body if isinstance(node, ast.ClassDef) else []:
            for decorator in getattr(method, "decorator_list", []):
                if re.search(r"\b(lru_cache|functools\.cache)\b", ast.unparse(decorator)):
                    yield f"{name}:{method.lineno}: a cache on a method keeps its object alive: store the value"


def the_path_is_left_alone(name: str, module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield f"{name}:{node.lineno}: sys.path: import intone.… from the installed package"


SHIPPED_RULES = [imports_go_one_way, nobody_swallows_errors, environment_is_read_once, state_is_a_value]
ALL_RULES = [functions_are_short, the_path_is_left_alone]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf8"), named(path))


def findings(rule: Rule, paths: list[Path]) -> list[str]:
    return [finding for path in paths for finding in rule(named(path), module_of(path), tree_of(path))]


# ---- files ----------------------------------------------------------------------------------------------------------


def too_long(paths: list[Path], limit: int) -> list[str]:
    counts = [(named(path), len(path.read_text("utf8").splitlines())) for path in paths]
    return [
        f"{name} has {lines} lines, {limit} allowed: split it by noun"
        for name, lines in counts
        if lines > limit and name not in LONGER
    ]


NOT_OURS = {".git", ".venv", ".hypothesis", "build", "dist", "demo", "node_modules", "__pycache__"}
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/")


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file of the repository, generated and ignored folders aside."""
    for folder, inner, files in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in NOT_OURS and not name.endswith(("_cache", ".egg-info")))
        for path in (Path(folder, name) for name in sorted(files)):
            content = path.read_bytes()
            if b"\0" not in content:
                yield named(path), content.decode("utf8", errors="replace")  # random bytes can lack a zero
