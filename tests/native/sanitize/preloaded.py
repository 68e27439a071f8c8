"""Loads the extension in `INTONE_SANITIZED`, a path, in place of the installed one. Import it before the package.

For pytest: `-p tests.native.sanitize.preloaded`.
"""

import importlib.util
import os
import sys

import torch  # noqa: F401  the extension needs its libraries

NAME = "intone.server.ops._C"

spec = importlib.util.spec_from_file_location(NAME, os.environ["INTONE_SANITIZED"])
assert spec is not None and spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules[NAME] = module

from intone.server.ops import ensure_built  # noqa: E402  after the module is in its place

assert ensure_built().__file__ == os.environ["INTONE_SANITIZED"]
