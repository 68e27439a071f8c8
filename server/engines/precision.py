"""The numeric precision of an engine, chosen by name."""

from dataclasses import dataclass

import torch

from intone.server.domain import PRECISIONS
from intone.server.ops import ensure_built

_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of the parts of a model.

    Attributes:
        dtype: of the parts computed by torch.
        packed: weight type of the native stacks, "int8", "bf16" or "fp32"; None for stacks computed by torch.
        int8: whether the weights of stacks computed by torch are int8.
    """

    dtype: torch.dtype
    packed: str | None
    int8: bool = False

    @property
    def name(self) -> str:
        """One of `PRECISIONS`, never "auto"; or "fp16", which is what "auto" is for some engines on CUDA."""
        return self.packed or ("int8" if self.int8 else _NAMES[self.dtype])

    @property
    def checkpoint_dtype(self) -> torch.dtype:
        """The dtype of a checkpoint made in memory, bfloat16 like the published ones unless the precision is "fp32"."""
        return torch.float32 if self.name == "fp32" else torch.bfloat16


def precision_on(
    device: torch.device, name: str, cpu_default: str, cuda_default: torch.dtype = torch.bfloat16
) -> Precision:
    """The precision that one of `PRECISIONS` stands for on a device. On the CPU all stacks are native.

    Args:
        cpu_default, cuda_default: what "auto" stands for on either; fp32 on a CPU for which no kernel is written, where
            nothing else is faster. The latter is also the dtype beside int8 weights.
    """
    assert name in PRECISIONS, "settings are checked when they are read"
    if device.type == "cpu":
        auto = "fp32" if ensure_built().best_isa() == "portable" else cpu_default
        return Precision(torch.float32, auto if name == "auto" else name)
    return Precision({"fp32": torch.float32, "bf16": torch.bfloat16}.get(name, cuda_default), None, name == "int8")
