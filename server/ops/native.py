"""Loads the compiled extension: the one built ahead of time, or one compiled just in time from a checkout."""

import functools
import logging
import os
import re
from importlib import import_module, util
from pathlib import Path
from types import ModuleType

import torch

from intone.server.errors import ExtensionError
from intone.server.ops.build_flags import CXX_FLAGS, LINK_FLAGS, NVCC_FLAGS, nvcc_release, sources, wants_cuda

CSRC = Path(__file__).resolve().parents[2] / "csrc"  # exists in a checkout, not in a wheel
BUILT = "intone.server.ops._C"

logger = logging.getLogger(__name__)


@functools.cache
def load() -> ModuleType:
    """The extension, with its operations registered. Compiling it takes about a minute, once, and is logged.

    Raises:
        ExtensionError: it was not built for the installed torch, and there is no source; the message says what to do.
    """
    reason = unusable()
    if not reason:
        return import_module(BUILT)
    if not CSRC.is_dir():
        raise ExtensionError(
            f"the native extension cannot be used: {reason}. Build it against the torch that is installed, in a clone "
            "of intone: pip install 'setuptools>=77' wheel ninja && pip install --no-build-isolation --no-deps ."
        )
    return _compile(reason)


def unusable() -> str:
    """Why the extension built ahead of time cannot be used; empty if it can. Does not load it."""
    spec = util.find_spec(BUILT)
    if spec is None or spec.origin is None:
        return "it was not built"
    stamp = re.search(rb"intone-built-for-torch=([0-9.]+)", Path(spec.origin).read_bytes())
    built_for = stamp.group(1).decode() if stamp else "an unknown torch"
    return "" if built_for == _torch_release() else f"it was built for {built_for}, and torch is {_torch_release()}"


def _torch_release() -> str:
    """`2.13.0` of `2.13.0+cpu`."""
    found = re.match(r"[0-9.]*[0-9]", torch.__version__)
    return found.group() if found else torch.__version__


def _compile(reason: str) -> ModuleType:
    from torch.utils.cpp_extension import CUDA_HOME  # slow to import, and rarely needed
    from torch.utils.cpp_extension import load as compile_and_load

    # For this machine only, so that without a GPU the kernels are left out, whose generation torch could not choose.
    cuda = torch.cuda.is_available() and wants_cuda(
        torch.version.cuda, nvcc_release(CUDA_HOME), os.environ.get("INTONE_CUDA", "")
    )
    logger.warning("compiling the native extension just in time, because %s; this takes about a minute, once", reason)
    module = compile_and_load(
        name=f"intone_ops_torch_{_torch_release().replace('.', '_')}{'_cuda' if cuda else ''}",
        sources=[str(path) for path in sources(CSRC, cuda)],
        extra_include_paths=[str(CSRC)],
        extra_cflags=CXX_FLAGS,
        extra_cuda_cflags=NVCC_FLAGS,
        extra_ldflags=LINK_FLAGS,
    )
    assert isinstance(module, ModuleType)
    return module
