"""`server/ops/_C.pyi` describes exactly what the extension has: names, parameters, defaults and types."""

import ast
from pathlib import Path

from intone.server import ops
from intone.server.ops import Extension, ensure_built

STUB = Path(ops.__file__).with_name("_C.pyi")
NUMBERS = {
    "typing.SupportsInt | typing.SupportsIndex": "int",
    "typing.SupportsFloat | typing.SupportsIndex": "float",
}


def plain(function: ast.FunctionDef) -> str:
    """Its signature without annotations of `self` and without quotes of defaults."""
    for argument in function.args.args[:1]:
        if argument.arg in ("self", "arg0"):
            argument.arg, argument.annotation = "self", None
    return f"({ast.unparse(function.args)}) -> {ast.unparse(function.returns) if function.returns else ''}"


def described() -> dict[str, str]:
    """Name → signature, of the stub."""
    found = {}
    for node in ast.parse(STUB.read_text("utf8")).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = plain(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = "class"
            found |= {
                f"{node.name}.{part.name}": plain(part) for part in node.body if isinstance(part, ast.FunctionDef)
            }
    return found


def signature(documentation: str, module: str) -> str:
    """The signature that pybind11 writes into a docstring."""
    line = documentation.strip().splitlines()[0]
    for long, short in {**NUMBERS, f"{module}.": "", "collections.abc.": "", "torch.": ""}.items():
        line = line.replace(long, short)
    function = ast.parse(f"def {line if line[0] != '(' else f'f{line}'}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return plain(function)


def built() -> dict[str, str]:
    """Name → signature, of the extension."""
    module = ensure_built()
    found = {}
    for name, thing in vars(module).items():
        if name.startswith("__"):
            continue
        if not isinstance(thing, type):
            found[name] = signature(thing.__doc__, module.__name__)
            continue
        found[name] = "class"
        for part, value in vars(thing).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if not part.startswith("_") or str(function.__doc__).startswith(f"{part}("):
                found[f"{name}.{part}"] = signature(function.__doc__, module.__name__)
    return found


def test_the_stub_matches_the_built_module():
    assert described() == built()


def test_the_protocol_names_classes_of_the_stub():
    names = set(Extension.__annotations__) - {"__file__", "__name__"} | {"best_isa"}
    assert names <= set(described())
