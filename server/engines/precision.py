"""What an engine computes in, chosen by name. Knows nothing of what it computes."""

from dataclasses import dataclass

import torch

from intone.server.domain import PRECISIONS
from intone.server.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Precision:
    """How the parts compute.

    Attributes:
        dtype: of what torch computes.
        packed: weights of the native stacks, "int8", "bf16" or "fp32"; None leaves the stacks to torch.
    """

    dtype: torch.dtype
    packed: str | None

    @property
    def name(self) -> str:
        """One of `PRECISIONS`, never "auto"."""
        return self.packed or {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.dtype]

    @property
    def kept(self) -> torch.dtype:
        """What a checkpoint that is made in memory is kept in until it is loaded: the published ones are bfloat16."""
        return torch.float32 if self.name == "fp32" else torch.bfloat16


def precision_on(device: torch.device, name: str, unasked: str, engine: str) -> Precision:
    """What one of `PRECISIONS` means on a device. On the CPU all stacks are native.

    Args:
        unasked: what "auto" is on the CPU.
        engine: whose name an error bears.

    Raises:
        CheckpointError: the device does not compute so.
    """
    assert name in PRECISIONS, "settings are checked where they are read"
    if device.type == "cpu":
        return Precision(torch.float32, unasked if name == "auto" else name)
    if name == "int8":
        raise CheckpointError(engine, f"found int8 on {device}, expected bf16 or fp32: only the CPU computes in int8")
    return Precision(torch.float32 if name == "fp32" else torch.bfloat16, None)
