"""Copies between host and device that do not wait for queued work, and the one that does."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def send(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`, through pinned memory on CUDA: a copy from pageable memory would wait for queued work."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def fill(buffer: Tensor, values: Tensor) -> None:
    """Overwrite a buffer on a device with `values` of the host, of the same shape; as `send`."""
    buffer.copy_(values.pin_memory() if buffer.device.type == "cuda" else values, non_blocking=True)


def fetch(values: Tensor) -> NDArray[Any]:
    """A copy on the host, after all queued work: the only place where a step waits for the device."""
    if values.device.type != "cuda":
        return values.clone().numpy()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    done = torch.cuda.Event()
    done.record()
    done.synchronize()
    return host.numpy()
