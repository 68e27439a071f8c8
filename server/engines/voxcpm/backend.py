"""Implementations of the transformer stacks and linear layers of a model: torch or native, with the same results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional

from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.transformer import Stack
from intone.server.engines.weights import Weights


class Cache(Protocol):
    """The KV cache of one sequence; usable only with the kind of stack that made it."""

    @property
    def length(self) -> int:
        """Positions stored."""

    def fork(self, count: int, limit: int) -> "Cache":
        """An independent cache for at most `limit` positions, starting with the first `count` of this one."""


class AnyStack(Protocol):
    """The interface of `transformer.Stack` and `native_stack.NativeStack`."""

    config: StackConfig

    def new_cache(self, limit: int) -> Cache:
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
    """Builds stacks from configuration, weights and maximum of positions, and linear layers from their tensors."""

    stack: Callable[[StackConfig, Weights, int], AnyStack]
    linear: Callable[[Tensor, Tensor | None], Linear]

    def read(self, weights: Weights, name: str, shape: tuple[int, int]) -> Linear:
        """The linear layer with the tensors `name`.weight, of this shape, and `name`.bias."""
        return self.linear(*weights.affine(name, shape))


TORCH_BACKEND = Backend(Stack, TorchLinear)
