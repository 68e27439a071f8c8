"""Uses the native code as it must not be used; started by `run.py` to see that a fault would be found.

`thread`: two threads step one cache at once. `address`: a tensor tells a size that its memory does not have.
"""

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from intone.server import ops
from tests.native.sanitize import preloaded  # noqa: F401
from tests.native.test_refusals import WIDTH, stack


def race() -> None:
    """Two threads append to one cache."""
    model = stack()
    cache, x = model.new_cache(64), torch.ones(1, WIDTH)
    with ThreadPoolExecutor(2) as callers:
        for _ in range(30):
            callers.submit(model.step, x, [cache])


def overread() -> None:
    """A kernel reads behind the end of a tensor's memory."""
    memory = ctypes.create_string_buffer(4000)
    floats = (ctypes.c_float * 2000).from_address(ctypes.addressof(memory))
    ops.snake(torch.from_numpy(np.ctypeslib.as_array(floats)).view(1, 10, 200), torch.ones(10))


if __name__ == "__main__":
    {"thread": race, "address": overread}[sys.argv[1]]()
