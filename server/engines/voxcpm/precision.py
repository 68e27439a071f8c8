"""What VoxCPM computes in where nobody says. Knows nothing of what it computes."""

import torch

from intone.server.engines.precision import Precision, precision_on
from intone.server.engines.voxcpm.config import ENGINE, VoxCPMConfig

WIDE = 1024
"""Width of the language model from which a CPU keeps up with speech in int8 only; narrower ones do in anything."""


def precision(name: str, config: VoxCPMConfig, device: torch.device) -> Precision:
    """What one of `PRECISIONS` means for a model; see `precision_on`."""
    unasked = "int8" if config.base.hidden >= WIDE else "fp32"
    return precision_on(device, name, unasked, ENGINE)
