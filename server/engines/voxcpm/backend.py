"""What the parts of a model are built from: layers that torch computes, or native ones with the same meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.weights import Weights


class AnyStack(Protocol):
    """`transformer.Stack`, or what does the same. A cache is known only to the kind of stack that made it."""

    config: StackConfig

    def new_cache(self, limit: int) -> Any:
        """See `Stack.new_cache`."""

    def bidirectional(self, x: Tensor, first: int, last: int) -> Tensor:
        """See `Stack.bidirectional`."""

    def prefill(self, x: Tensor, cache: Any, first: int = 0) -> Tensor:
        """See `Stack.prefill`."""

    def step(self, x: Tensor, caches: Sequence[Any]) -> Tensor:
        """See `Stack.step`."""


Linear = Callable[[Tensor], Tensor]
"""`[..., K]` → `[..., N]`."""


@dataclass(frozen=True, slots=True)
class TorchLinear:
    """`weight` `[N, K]`, `bias` `[N]` or None."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """See `Linear`."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Backend:
    """How to build a stack from its configuration, tensors and most positions, and a linear layer from its tensors."""

    stack: Callable[[StackConfig, Weights, int], AnyStack]
    linear: Callable[[Tensor, Tensor | None], Linear]

    def read(self, weights: Weights, name: str, shape: tuple[int, int]) -> Linear:
        """The linear layer with the tensors `name`.weight, of this shape, and `name`.bias."""
        return self.linear(*weights.affine(name, shape))


TORCH_BACKEND = Backend(Stack, TorchLinear)
