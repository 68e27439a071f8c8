"""Trainable tensors by their published names.

The modules of the server take their tensors from a mapping and compute with torch, so they are trained as they are:
built from the parameters in every step, they pass gradients through the folding of weights as well.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.checkpoint.random_weights import random_tensors, rules
from intone.server.engines.indextts.checkpoint.weights import part_shapes
from intone.server.engines.weights import Weights


class Parameters(nn.Module):
    """Tensors by name. Names of parameters have no dots, so these are replaced.

    Args:
        constant: beginnings and ends of the names of tensors that are not trained.
    """

    def __init__(self, tensors: Mapping[str, Tensor], constant: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.names = {name: name.replace(".", "/") for name in tensors}
        for name, tensor in tensors.items():
            if name.startswith(constant) or name.endswith(constant):
                self.register_buffer(self.names[name], tensor)
            else:
                self.register_parameter(self.names[name], nn.Parameter(tensor.clone()))

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that published name."""
        tensor: Tensor = getattr(self, self.names[name])
        return tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of them, by published name."""
        return {name: self[name] for name in self.names}

    def weights(self) -> Weights:
        """What a module of the server is built from."""
        tensors = self.tensors()
        return Weights(tensors, device=next(iter(tensors.values())).device)


def published(state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a state of `Parameters` below `prefix`, by their published names."""
    return {
        name.removeprefix(prefix).replace("/", "."): tensor for name, tensor in state.items() if name.startswith(prefix)
    }


def initial(config: IndexTTSConfig, part: str, seed: int) -> dict[str, Tensor]:
    """Initial tensors of a part of the checkpoint, by published name; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return random_tensors(part_shapes(config)[part], generator, rules(config).get(part, ()))
