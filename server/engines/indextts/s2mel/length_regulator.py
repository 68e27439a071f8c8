"""The length regulator: semantic features at 50 Hz to a condition for each mel frame. Knows nothing of codes or flows.

Its norms take mean and variance over all channels and all frames. A stream has not seen all frames, so the sums behind
them are a value that the caller keeps: seeded with the voice's recording, then added to.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import FRAMES_PER_FEATURE, RegulatorConfig
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.weights import Weights

KERNEL = 3
NORM_EPS = 1e-5

DEAD_KEYS = (r"embedding\.weight", r"mask_token")


def tensor_shapes(config: RegulatorConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape."""
    wide = config.channels
    shapes: dict[str, tuple[int, ...]] = {"content_in_proj.weight": (wide, config.in_channels)}
    for block in range(config.blocks):
        shapes[f"model.{3 * block}.weight"] = (wide, wide, KERNEL)
        shapes[f"model.{3 * block + 1}.weight"] = (wide,)
    shapes[f"model.{3 * config.blocks}.weight"] = (wide, wide, 1)
    return shapes | {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items()}


def random_tensors(config: RegulatorConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained tensors under the published names; conditions have a variance near 1."""
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            tensors[name] = noise * math.prod(shape[1:]) ** -0.5
        else:
            gain = name.endswith("weight")
            tensors[name] = 1.5 + 0.1 * noise.clamp(-3, 3) if gain else 0.02 * noise
    return tensors


def mel_frames(features: int, duration_factor: float = 1.0) -> int:
    """Mel frames that so many features last; the product is taken from the left and cut."""
    return int(features * FRAMES_PER_FEATURE * duration_factor)


def exact_ratio(features: int, frames: int) -> np.float32:
    """Features to a frame when all `features` are known to fill `frames`: the map of a whole unit."""
    return np.float32(np.float32(features) / np.float32(max(frames, 1)))


def nominal_ratio(duration_factor: float = 1.0) -> np.float32:
    """Features to a frame while the unit's length is unknown. At factor 1 it is exact for multiples of 25 features."""
    return np.float32(1.0 / (FRAMES_PER_FEATURE * duration_factor))


def source_features(first: int, last: int, ratio: np.float32, features: int) -> NDArray[np.int64]:
    """Which feature each of the frames `first` to `last - 1` shows, below `features`.

    In float32 on purpose: a product that should be whole and falls a little short of it shows the feature before, as in
    the nearest-neighbour interpolation that the model was trained with.
    """
    if ratio == 1:  # the interpolation has no map then
        return np.arange(first, last).clip(max=features - 1)
    return np.floor(np.arange(first, last).astype(np.float32) * ratio).astype(np.int64).clip(max=features - 1)


@dataclass(frozen=True, slots=True)
class Moments:
    """What the norms have seen.

    Attributes:
        frames: how many.
        sums: `[blocks, 2]`, float64: over frames and channels, of the values and of their squares before each norm.
    """

    frames: int
    sums: Tensor


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of Mish(Norm(Conv(x)))."""

    conv: tuple[Tensor, Tensor]  # [C, C, K], [C]
    norm: tuple[Tensor, Tensor]  # [C] each


class LengthRegulator:
    """Frozen once built.

    Attributes:
        context_frames: frames on either side that a frame's condition depends on, the norms aside.
        content_in: features `[..., in_channels]` to content `[..., C]`, which the methods take.
    """

    def __init__(self, config: RegulatorConfig, weights: Weights) -> None:
        self.context_frames = config.blocks * (KERNEL // 2)
        self.content_in = Linear.read(weights, "content_in_proj")
        self._blocks = tuple(
            Block(_pair(weights, f"model.{3 * index}"), _pair(weights, f"model.{3 * index + 1}"))
            for index in range(config.blocks)
        )
        self._out = Linear.read(weights, f"model.{3 * config.blocks}")

    def nothing_seen(self) -> Moments:
        """The moments of a unit that is regulated as a whole."""
        return Moments(0, torch.zeros(len(self._blocks), 2, dtype=torch.float64, device=self._out.weight.device))

    def whole(self, content: Tensor, frames: int) -> tuple[Tensor, Moments]:
        """All features of a unit or a recording, `[T, C]`, spread over `frames` frames: `[frames, C]`."""
        features = content.shape[0]
        index = source_features(0, frames, exact_ratio(features, frames), features)
        return self.condition(content[torch.from_numpy(index).to(content.device)], self.nothing_seen(), 0, frames)

    def condition(self, content: Tensor, seen: Moments, lead: int, kept: int) -> tuple[Tensor, Moments]:
        """Frames in a row, `[F, C]` → the conditions of all but the first `lead`, `[F - lead, C]`.

        The norms use `seen` and these F - lead frames; the moments given back are `seen` and the first `kept` of them,
        for whoever will come again with the rest. Unless the row begins with the speech, `lead` is `context_frames`.
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


def _pair(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
