"""What the torch engines share: CPU threads, the description of a device, and warm-up."""

import torch

from intone.server.domain import SpeakRequest
from intone.server.engines.base import Engine
from intone.server.engines.devices import reserved_bytes

NO_ROOM_S = 0.005
"""How long a step waits in which no unit has a slot on a GPU: units that are not stepped now hold them."""


def set_threads(threads: int | None) -> None:
    """Set the number of torch's CPU threads; None keeps torch's own choice."""
    if threads is not None:
        torch.set_num_threads(threads)


def describe_device(device: torch.device, precision: str, graphs: int | None = None) -> str:
    """For `EngineInfo.device`: "cpu, 4 threads, int8", or "cuda:0, bf16, 42 graphs, 3.1 GB" with the memory in use."""
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads, {precision}"
    parts = [str(device), precision, f"{graphs} graphs" if graphs else "no graphs"]
    if device.type == "cuda":
        parts.append(f"{reserved_bytes(device) / 1e9:.1f} GB")
    return ", ".join(parts)


def warm_up(engine: Engine, request: SpeakRequest) -> None:
    """Speak a short unit, so that kernels are chosen and weights paged in before the first client waits for audio."""
    state, done = engine.start(request), False
    while not done:
        done = engine.step([state])[0].done
