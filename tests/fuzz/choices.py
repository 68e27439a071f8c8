"""Arguments of native calls that the bytes of an input choose, right and wrong ones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

WRONG_NUMBERS = (-1, 0, 1, 2**31, 2**62, -(2**63), 10**30)
WRONG_DTYPES = (torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool, torch.complex64)
VALUES = (0.0, 1e-42, 1e30, 3e38, float("inf"), float("nan"))
THREADS = (1, 1, 1, 1, 2, 3)
"""More than one takes long on a busy machine: the threads of a team wait for each other."""


class Choices:
    """What an input chooses: a byte for each choice, and the first option after its end.

    Its first byte says whether there are wrong arguments, its second how many threads there are.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._wrong = self.below(2) == 1
        self.threads = int(self.one_of(*THREADS))

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        self._at += 1
        return self._data[self._at - 1] % limit if self._at <= len(self._data) else 0

    def one_of(self, *options: Any) -> Any:
        """An option."""
        return options[self.below(len(options))]

    def is_wrong(self) -> bool:
        """Whether the next argument is wrong: one in 24 where any may be, so that most calls pass the first checks."""
        return self._wrong and self.below(24) == 23

    def number(self, right: int) -> int:
        """An integer argument."""
        if self.is_wrong():
            return int(self.one_of(*WRONG_NUMBERS, right + 1, right - 1))
        return right

    def tensor(self, *shape: int, dtype: torch.dtype = torch.float32, layout_matters: bool = False) -> Any:
        """A tensor argument: of another shape, dtype, layout or kind where it is wrong.

        `layout_matters`: whether tensors that are not contiguous are refused; others may have any layout.
        """
        if self.is_wrong():
            return self._wrong_tensor(shape, dtype)
        values = self._values(shape, dtype)
        return values if layout_matters else self._laid_out(values)

    def _values(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        generator = torch.Generator().manual_seed(self.below(256))
        values = torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
        if values.numel() and self.below(16) == 15:
            values.view(-1)[self.below(values.numel())] = self.one_of(*VALUES)
        return values.to(dtype)

    def _laid_out(self, values: Tensor) -> Tensor:
        """The same values with other strides."""
        kind = self.below(8)
        if kind == 1 and values.dim() > 1:
            return values.transpose(-1, -2).contiguous().transpose(-1, -2)
        if kind == 2 and values.dim():
            return torch.stack((values, values + 1), -1)[..., 0]
        if kind == 3:  # not aligned to a vector
            return torch.cat((values.new_zeros(1), values.flatten()))[1:].view(values.shape)
        return values

    def _wrong_tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Any:
        sizes, axis = list(shape), self.below(max(len(shape), 1))
        match self.below(9):
            case 0:
                dtype = self.one_of(*WRONG_DTYPES)
            case 1 if sizes:
                sizes[axis] += self.one_of(1, -1, 7)
            case 2 if sizes:
                sizes[axis] = 0
            case 3 if sizes:
                del sizes[axis]
            case 4:
                sizes.insert(axis, self.one_of(1, 2))
            case 5 if sizes:  # every stride 0
                return self._values([1] * len(sizes), dtype).expand(sizes)
            case 6:
                return torch.zeros(sizes, dtype=dtype, device="meta")
            case 7:
                return torch.zeros(sizes, dtype=dtype).to_sparse()
            case _:
                return self.one_of(None, 1.0, "x", [torch.zeros(1)])
        return self._laid_out(self._values([max(size, 0) for size in sizes], dtype))
