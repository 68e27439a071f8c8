"""Whether a device can be used with the torch that is installed, and how work is given to it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch

from intone.server.nn.graphs import URGENT, undisturbed


def cuda_fault(device: str) -> str:
    """Why "cuda" or "cuda:N" cannot be used here, and what to do about it; empty where it can."""
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} was built without CUDA: install a CUDA build of torch "
            "(https://pytorch.org/get-started), then build intone against it again"
        )
    if not torch.cuda.is_available():
        return "torch finds no usable GPU: `nvidia-smi` shows whether the driver does"
    count = torch.cuda.device_count()
    if torch.device(device).index is not None and torch.device(device).index >= count:
        return f"there is no such GPU: {count} found, cuda:0 to cuda:{count - 1}"
    return ""


def own_stream(device: torch.device, urgent: bool) -> Callable[[], AbstractContextManager[Any]]:
    """Contexts in which work is queued on a stream of its own; `urgent` work goes before that of other streams."""
    if device.type != "cuda":
        return nullcontext
    with undisturbed:
        torch.cuda.synchronize(device)  # what was loaded on another stream is complete
    return partial(torch.cuda.stream, torch.cuda.Stream(device, priority=URGENT if urgent else 0))


def allow_tf32(device: torch.device, allowed: bool) -> None:
    """Whether float32 products and convolutions on CUDA round their inputs to TF32, 10 bits; for the whole process."""
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def free_bytes(device: torch.device) -> int:
    """Memory of a device that nobody uses; of a CPU, a small amount that tests may use."""
    if device.type != "cuda":
        return 256 << 20
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


def reserved_bytes(device: torch.device) -> int:
    """Memory of a CUDA device that this process has taken, for weights, state and graphs."""
    return int(torch.cuda.memory_reserved(device))
