"""What the torch engines share: CPU threads, the description of a device, and warm-up."""

import torch

from intone.server.domain import SpeakRequest
from intone.server.engines.base import Engine


def set_threads(threads: int | None) -> None:
    """Set the number of torch's CPU threads; None keeps torch's own choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def describe_device(device: torch.device, precision: str) -> str:
    """For `EngineInfo.device`: "cpu, 4 threads, int8" or "cuda:0, bf16"."""
    place = f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    return f"{place}, {precision}"


def warm_up(engine: Engine, request: SpeakRequest) -> None:
    """Speak a short unit, so that kernels are chosen and weights paged in before the first client waits for audio."""
    state, done = engine.start(request), False
    while not done:
        done = engine.step([state])[0].done
