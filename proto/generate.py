"""Regenerate the stubs beside the .proto files: `make proto`, or `python -m intone.proto.generate [FOLDER]`.

grpcio-tools is pinned to 1.80.0: it stamps its output with protobuf 6.31.1, and generated code runs on any protobuf
from its own stamp on, so these stubs load under protobuf 6 and 7. A newer one would shut protobuf 6 out.
"""

import sys
from importlib.metadata import version
from pathlib import Path

TOOLS = "1.80.0"
HERE = Path(__file__).resolve().parent
SOURCES = sorted(HERE.glob("intone/v1/*.proto"))


def generate(folder: Path) -> None:
    """Write `intone/v1/*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` under `folder`.

    Raises:
        RuntimeError: grpcio-tools has another version than the pinned one, or protoc refuses a source.
    """
    found = version("grpcio-tools")
    if found != TOOLS:
        raise RuntimeError(f"grpcio-tools {found} is installed; the stubs need {TOOLS} (see the top of {__file__})")
    import grpc_tools
    from grpc_tools import protoc

    includes = [HERE, Path(grpc_tools.__file__).parent / "_proto"]
    for source in SOURCES:
        outputs = ["python", "pyi"] + (["grpc_python"] if "\nservice " in source.read_text("utf8") else [])
        flags = [f"-I{path}" for path in includes] + [f"--{output}_out={folder}" for output in outputs]
        if protoc.main(["protoc", *flags, str(source.relative_to(HERE))]) != 0:
            raise RuntimeError(f"protoc refused {source}; its message is above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
