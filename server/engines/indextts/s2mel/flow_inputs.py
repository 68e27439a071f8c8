"""What is constant over the steps of a solve of the flow: all that depends on the time alone, and all inputs of the
velocity field but the noisy mel. Computed before the steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import DiTConfig
from intone.server.engines.indextts.checkpoint.folding import chained
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.s2mel.wavenet import Gates
from intone.server.engines.weights import Weights

if TYPE_CHECKING:
    from intone.server.ops._C import CachedFrames

MAX_FRAMES = 16384  # of recording and speech together
TIME_SCALE = 1000.0
TIME_WAVES = 128


@dataclass(frozen=True, slots=True)
class Modulation:
    """The parameters of the field at one time.

    Attributes:
        norms: `[2 · layers + 1, 2, D]`, scale and shift of every norm in order: attention, feed-forward, …, last.
        last: `[2, D]`, the same of the norm behind the WaveNet.
        gates: `[layers of the WaveNet, 2D]`.
    """

    norms: Tensor
    last: Tensor
    gates: Tensor


@dataclass(frozen=True, slots=True)
class Condition:
    """The inputs that are constant during a solve.

    Attributes:
        rows: `[R, T, D]`, all inputs of a frame but its noisy mel, merged. R is the batch size B, or 2B with guidance:
            then the second half is unconditional.
        prompt: number of frames at the start that are known and not solved for.
        visible: `[T]`, bool, the frames that attention sees; None for all.
        cached: frames before these, see `CachedVoice.steps`; for `NativeFlow` only.
    """

    rows: Tensor
    prompt: int
    visible: Tensor | None = None
    cached: "Sequence[CachedFrames]" = ()


class FlowInputs:
    """Computes `Modulation` and `Condition`; immutable.

    Attributes:
        mel_bands: bands of a mel frame.
        style_dim: size of a speaker embedding.
        noisy: `[D, M]`, from a noisy mel frame to what it adds to a row of `Condition.rows`.
    """

    def __init__(self, config: DiTConfig, weights: Weights, gates: Gates) -> None:
        """`gates` of the WaveNet."""
        self.mel_bands, self.style_dim = config.mel_bands, config.style_dim
        self._gates = gates
        self._norm_in, self._gains = _norms(weights.scope("transformer"), config)
        self._last_norm_in = Linear.read(weights, "final_layer.adaLN_modulation.1", (2 * config.hidden, config.hidden))
        self._times = tuple(
            TimeEmbedding.read(weights.scope(name), config.hidden) for name in ("t_embedder", "t_embedder2")
        )
        self._merge = _merge(weights, config)
        self.noisy = self._merge.noisy

    def modulations(self, times: Tensor) -> list[Modulation]:
        """One for each time in `times` `[E]`, 0 (noise) to 1 (speech), float32."""
        first, second = (embed(times) for embed in self._times)
        norms = self._norm_in(first).unflatten(1, (-1, 2, self._gains.shape[1]))  # [E, 2L + 1, 2, D]
        norms = torch.stack((norms[:, :, 0] * self._gains, norms[:, :, 1]), dim=2)
        shift, scale = self._last_norm_in(functional.silu(first)).chunk(2, dim=1)
        last = torch.stack((1 + scale, shift), dim=1)
        gates = self._gates(second)
        return [Modulation(*parts) for parts in zip(norms, last, gates, strict=True)]

    def condition(self, prompt: Tensor, content: Tensor, style: Tensor, guided: bool) -> Condition:
        """Merge known mel frames `[B, P, M]`, the regulator's conditions `[B, T, C]` of all frames and style `[B, S]`.

        Raises:
            ValueError: T is over `MAX_FRAMES`.
        """
        frames = content.shape[1]
        if frames > MAX_FRAMES:
            raise ValueError(f"{frames} mel frames, recording included; at most {MAX_FRAMES}")
        merge = self._merge
        rows = merge.content(content) + functional.linear(style, merge.style).unsqueeze(1)
        rows[:, : prompt.shape[1]] += functional.linear(prompt, merge.prompt)
        if guided:  # zero input, not zero output: the bias stays
            rows = torch.cat((rows, merge.content(torch.zeros_like(content))))
        return Condition(rows, prompt.shape[1])


@dataclass(frozen=True, slots=True)
class Merge:
    """The linear layer that merges a frame's inputs, split by input; `content` includes the conditions' projection."""

    noisy: Tensor  # [D, M]
    prompt: Tensor  # [D, M]
    style: Tensor  # [D, S]
    content: Linear  # C → D, with the bias of the merge


@dataclass(frozen=True, slots=True)
class TimeEmbedding:
    """Sinusoids of a time, then two linear layers."""

    rates: Tensor  # [TIME_WAVES]
    into: Linear
    out: Linear

    @classmethod
    def read(cls, weights: Weights, dim: int) -> "TimeEmbedding":
        """By published name."""
        into = Linear.read(weights, "mlp.0", (dim, 2 * TIME_WAVES))
        return cls(weights.tensor("freqs", (TIME_WAVES,)), into, Linear.read(weights, "mlp.2", (dim, dim)))

    def __call__(self, times: Tensor) -> Tensor:
        """Times `[E]` → `[E, D]`."""
        angles = TIME_SCALE * times.unsqueeze(1) * self.rates
        waves = torch.cat((angles.cos(), angles.sin()), dim=1)
        return self.out(functional.silu(self.into(waves)))


def _norms(weights: Weights, config: DiTConfig) -> tuple[Linear, Tensor]:
    """One layer from a time embedding to scale and shift of all norms, and the norms' gains, `[2 · depth + 1, D]`."""
    dim = config.hidden
    names = [f"layers.{i}.{kind}_norm" for i in range(config.depth) for kind in ("attention", "ffn")] + ["norm"]
    weight = weights.fused({f"{name}.project_layer.weight": (2 * dim, dim) for name in names})
    bias = weights.fused({f"{name}.project_layer.bias": (2 * dim,) for name in names})
    return Linear(weight, bias), torch.stack([weights.tensor(f"{name}.norm.weight", (dim,)) for name in names])


def _merge(weights: Weights, config: DiTConfig) -> Merge:
    sizes = [config.mel_bands, config.mel_bands, config.hidden, config.style_dim]
    weight, bias = weights.affine("cond_x_merge_linear", (config.hidden, sum(sizes)))
    noisy, prompt, projected, style = (part.contiguous() for part in weight.split(sizes, dim=1))
    condition = Linear.read(weights, "cond_projection", (config.hidden, config.content_dim))
    return Merge(noisy, prompt, style, chained(condition, Linear(projected, bias)))
