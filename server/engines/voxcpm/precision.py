"""What a model computes in, chosen by name. Knows nothing of what it computes."""

from dataclasses import dataclass

import torch

from intone.server.engines.voxcpm.config import ENGINE, VoxCPMConfig
from intone.server.errors import CheckpointError

NAMES = ("auto", "int8", "bf16", "fp32")

WIDE = 1024
"""Width of the language model from which a CPU keeps up with speech in int8 only; narrower ones do in anything."""


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
        """One of `NAMES`, never "auto"."""
        return self.packed or {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.dtype]

    @property
    def kept(self) -> torch.dtype:
        """What a checkpoint that is made in memory is kept in until it is loaded: the published ones are bfloat16."""
        return torch.float32 if self.name == "fp32" else torch.bfloat16


def precision(name: str, config: VoxCPMConfig, device: torch.device) -> Precision:
    """What one of `NAMES` means for a model on a device. On the CPU all stacks are native.

    Raises:
        CheckpointError: the device does not compute so.
    """
    assert name in NAMES, "settings are checked where they are read"
    if device.type == "cpu":
        if name == "auto":
            name = "int8" if config.base.hidden >= WIDE else "fp32"
        return Precision(torch.float32, name)
    if name == "int8":
        raise CheckpointError(ENGINE, f"found int8 on {device}, expected bf16 or fp32: only the CPU computes in int8")
    return Precision(torch.float32 if name == "fp32" else torch.bfloat16, None)
