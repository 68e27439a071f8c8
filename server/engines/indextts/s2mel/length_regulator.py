"""The length regulator: semantic features at 50 Hz to a condition for each mel frame.

Its norms take mean and variance over all channels and all frames. In a stream not all frames are known yet, so the
caller keeps running sums (`Moments`), which begin with those of the voice's recording.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import FRAMES_PER_FEATURE, RegulatorConfig
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights
from intone.server.nn.transfer import send

KERNEL = 3
NORM_EPS = 1e-5


def mel_frames(features: int, duration_factor: float = 1.0) -> int:
    """Mel frames of so many features, rounded down; multiplied from left to right as the official code does."""
    return int(features * FRAMES_PER_FEATURE * duration_factor)


def exact_ratio(features: int, frames: int) -> np.float32:
    """Features per frame of a whole unit, whose `features` fill `frames` frames."""
    return np.float32(np.float32(features) / np.float32(max(frames, 1)))


def nominal_ratio(duration_factor: float = 1.0) -> np.float32:
    """Features per frame while the length of the unit is unknown; at factor 1 exact for multiples of 25 features."""
    return np.float32(1.0 / (FRAMES_PER_FEATURE * duration_factor))


def source_features(first: int, last: int, ratio: np.float32, features: int) -> NDArray[np.int64]:
    """The index of the feature, below `features`, for each of the frames `first` to `last - 1`.

    In float32 on purpose: where rounding makes an integral product slightly too small, the previous feature is used, as
    in the nearest-neighbour interpolation that the model was trained with.
    """
    if ratio == 1:  # torch's interpolation copies its input then
        return np.arange(first, last).clip(max=features - 1)
    return np.floor(np.arange(first, last).astype(np.float32) * ratio).astype(np.int64).clip(max=features - 1)


@dataclass(frozen=True, slots=True)
class Moments:
    """Running sums of the norms' inputs.

    Attributes:
        frames: frames summed.
        sums: `[blocks, 2]`, float64: sums of the values and of their squares, over frames and channels.
    """

    frames: int
    sums: Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of Mish(Norm(Conv(x)))."""

    conv: tuple[Tensor, Tensor]  # [C, C, K], [C]
    norm: tuple[Tensor, Tensor]  # [C] each


class LengthRegulator:
    """The regulator; immutable.

    Attributes:
        context_frames: frames on either side that a frame's condition depends on, besides through the norms.
        content_in: features `[..., in_channels]` to content `[..., C]`, the input of the methods.
    """

    def __init__(self, config: RegulatorConfig, weights: Weights) -> None:
        self.context_frames = config.blocks * (KERNEL // 2)
        wide = config.channels
        self.content_in = Linear.read(weights, "content_in_proj", (wide, config.in_channels))
        self._blocks = tuple(
            Block(
                conv=weights.affine(f"model.{3 * index}", (wide, wide, KERNEL)),
                norm=weights.affine(f"model.{3 * index + 1}", (wide,)),
            )
            for index in range(config.blocks)
        )
        self._out = Linear.read(weights, f"model.{3 * config.blocks}", (wide, wide, 1))

    def empty_moments(self) -> Moments:
        """The moments before the first frame."""
        return Moments(0, torch.zeros(len(self._blocks), 2, dtype=torch.float64, device=self._out.weight.device))

    def whole(self, content: Tensor, frames: int) -> tuple[Tensor, Moments]:
        """Conditions `[frames, C]` of a whole unit or recording from the content of its T features, `[T, C]`."""
        features = content.shape[0]
        index = source_features(0, frames, exact_ratio(features, frames), features)
        rows = content[send(torch.from_numpy(index), content.device)]
        return self.condition(rows, self.empty_moments(), 0, frames)

    def condition(self, content: Tensor, seen: Moments, lead: int, kept: int) -> tuple[Tensor, Moments]:
        """Content of F consecutive frames, `[F, C]` → conditions of all but the first `lead` frames, `[F - lead, C]`.

        The norms use `seen` plus these F - lead frames. The moments returned are `seen` plus the first `kept` of them,
        because the caller will pass the others again.

        Args:
            lead: context frames before those wanted: `context_frames`, or fewer at the beginning of the speech.
        """
        x = content.t().unsqueeze(0)  # [1, C, F]
        sums: list[Tensor] = []
        for block, before in zip(self._blocks, seen.sums, strict=True):
            y = functional.conv1d(x, *block.conv, padding=KERNEL // 2)
            wide = y[0, :, lead:].double()
            per_frame = torch.stack((wide.sum(0), wide.square().sum(0)))  # [2, F - lead]
            sums.append(before + per_frame[:, :kept].sum(1))
            mean, square = (before + per_frame.sum(1)) / (y.shape[1] * max(seen.frames + wide.shape[1], 1))
            spread = torch.rsqrt(square - mean.square() + NORM_EPS)
            gain, shift = block.norm
            scale = gain * spread.to(gain.dtype)
            x = functional.mish((y - mean.to(y.dtype)) * scale.unsqueeze(1) + shift.unsqueeze(1))
        return self._out(x[0, :, lead:].t()), Moments(seen.frames + kept, torch.stack(sums))
