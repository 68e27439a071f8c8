"""The velocity field of the flow: a bidirectional transformer over mel frames, then a WaveNet.

DiT with adaptive norms (arXiv 2212.09748) and long skips between its halves (U-ViT, arXiv 2209.12152), as in Seed-VC.
What is constant over the steps of a solve is computed before it: all inputs but the noisy mel (`condition`), and all
that depends on the time alone (`modulations`). Consecutive linear layers are merged into one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import ENGINE, DiTConfig, WaveNetConfig
from intone.server.engines.indextts.checkpoint.folding import chained, weight_normed_conv
from intone.server.engines.indextts.layers import Gated, Linear, Projection, projection
from intone.server.engines.indextts.s2mel.wavenet import WaveNet
from intone.server.engines.weights import Weights
from intone.server.errors import CheckpointError
from intone.server.nn.attention import attend
from intone.server.nn.rope import RopeTable, longrope_table

MAX_FRAMES = 16384  # of recording and speech together
ROPE_THETA = 10000.0
TIME_SCALE = 1000.0
TIME_WAVES = 128
NORM_EPS = 1e-5
LAST_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Layer:
    """Projections of one layer. D = hidden, F = feed_forward; `skip` only in the second half."""

    queries: Projection  # D → D, rows ordered by `_halved`, as are those of the keys
    keys_values: Projection  # D → 2D
    out: Projection  # D → D
    gate_up: Projection  # D → F
    down: Projection  # F → D
    skip: Projection | None  # 2D → D


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
    """

    rows: Tensor
    prompt: int
    visible: Tensor | None = None


class DiT:
    """The velocity field; immutable.

    Attributes:
        mel_bands: bands of a mel frame.
        hidden: width of the transformer.
        context_frames: frames on either side that the WaveNet's result for a frame depends on.
    """

    def __init__(self, config: DiTConfig, wavenet: WaveNetConfig, weights: Weights, packed: str = "fp32") -> None:
        """`packed` is the type of the transformer's linear layers, see `layers.projection`.

        Raises:
            CheckpointError: the WaveNet has another width than the transformer.
        """
        if wavenet.hidden != config.hidden:
            found = f"found {wavenet.hidden}, expected {config.hidden} as in s2mel.DiT.hidden_dim"
            raise CheckpointError(ENGINE, f"s2mel.wavenet.hidden_dim: {found}")
        self.mel_bands, self.hidden = config.mel_bands, config.hidden
        self._head_dim = config.hidden // config.heads
        self._wavenet = WaveNet(wavenet, weights.scope("wavenet"))
        self.context_frames = self._wavenet.context_frames
        self._layers = tuple(_layer(weights, index, config, packed) for index in range(config.depth))
        self._norm_in, self._gains = _norms(weights.scope("transformer"), config)
        self._last_norm_in = Linear.read(weights, "final_layer.adaLN_modulation.1", (2 * config.hidden, config.hidden))
        self._times = tuple(
            TimeEmbedding.read(weights.scope(name), config.hidden) for name in ("t_embedder", "t_embedder2")
        )
        self._merge = _merge(weights, config)
        self._tail_in, self._tail_out = _tail(weights, config)
        ones = [1.0] * (self._head_dim // 2)
        self._rope = longrope_table(MAX_FRAMES, self._head_dim, ROPE_THETA, ones, 1.0, self._gains.device)

    def modulations(self, times: Tensor) -> list[Modulation]:
        """One for each time in `times` `[E]`, 0 (noise) to 1 (speech), float32."""
        first, second = (embed(times) for embed in self._times)
        norms = self._norm_in(first).unflatten(1, (-1, 2, self._gains.shape[1]))  # [E, 2L + 1, 2, D]
        norms = torch.stack((norms[:, :, 0] * self._gains, norms[:, :, 1]), dim=2)
        shift, scale = self._last_norm_in(functional.silu(first)).chunk(2, dim=1)
        last = torch.stack((1 + scale, shift), dim=1)
        gates = self._wavenet.gates(second)
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

    def velocity(self, x: Tensor, condition: Condition, time: Modulation) -> Tensor:
        """Noisy mel frames `[B, T - P, M]` → velocities `[R, T - P, M]`."""
        prompt = condition.prompt
        copies = condition.rows.shape[0] // x.shape[0]
        noisy = functional.linear(x, self._merge.noisy).repeat(copies, 1, 1)
        h = torch.cat((condition.rows[:, :prompt], condition.rows[:, prompt:] + noisy), dim=1)
        # After the last attention, nothing depends on frames further back than the WaveNet's context.
        first = max(0, prompt - self.context_frames)
        lead = prompt - first
        h = self._transform(h, first, time.norms, condition.visible)
        noisy = functional.pad(x, (0, 0, lead, 0)).repeat(copies, 1, 1)
        y, residual = self._tail_in(torch.cat((h, noisy), dim=2)).chunk(2, dim=2)
        y = self._wavenet(y.transpose(1, 2), time.gates).transpose(1, 2)
        y = y[:, lead:] + residual[:, lead:]
        y = functional.layer_norm(y, y.shape[2:], time.last[0], time.last[1], LAST_NORM_EPS)
        return self._tail_out(y)

    def _transform(self, h: Tensor, first: int, norms: Tensor, visible: Tensor | None) -> Tensor:
        """All layers and the last norm; rows from `first` on of the result, `[R, T - first, D]`."""
        rope = self._rope.at(0, h.shape[1])
        depth = len(self._layers)
        skips: list[Tensor] = []
        for index, layer in enumerate(self._layers):
            if layer.skip is not None:
                h = layer.skip(torch.cat((h, skips.pop()), dim=2))
            start, own = first if index == depth - 1 else 0, norms[2 * index : 2 * index + 2]
            h = self._apply(layer, h, start, rope, own, visible)
            if index < depth // 2:
                skips.append(h)
        return _modulated(h, norms[-1])

    def _apply(
        self, layer: Layer, h: Tensor, first: int, rope: RopeTable, norms: Tensor, visible: Tensor | None
    ) -> Tensor:
        """One layer on all rows; returns those from `first` on."""
        normed = _modulated(h, norms[0])
        keys_values = layer.keys_values(normed).unflatten(2, (2, -1, self._head_dim))
        queries = layer.queries(normed[:, first:]).unflatten(2, (-1, self._head_dim))
        queries = rope.at(first, h.shape[1]).rotate(queries)
        keys, values = rope.rotate(keys_values[:, :, 0]), keys_values[:, :, 1]
        attended = attend(queries, keys, values, causal=False, visible=visible)
        h = h[:, first:] + layer.out(attended)
        return h + layer.down(layer.gate_up(_modulated(h, norms[1])))


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


def _modulated(h: Tensor, norm: Tensor) -> Tensor:
    """Adaptive RMS norm of `[R, T, D]`; `norm` is scale and shift, `[2, D]`."""
    return torch.addcmul(norm[1], functional.rms_norm(h, h.shape[2:], None, NORM_EPS), norm[0])


def _layer(weights: Weights, index: int, config: DiTConfig, packed: str) -> Layer:
    def plain(weight: Tensor) -> Projection:
        return projection(Linear(weight), packed)

    dim, wide = config.hidden, config.feed_forward
    inner = weights.scope(f"transformer.layers.{index}")
    queries, keys, values = inner.tensor("attention.wqkv.weight", (3 * dim, dim)).chunk(3)
    gate_up = inner.fused({f"feed_forward.{name}.weight": (wide, dim) for name in ("w1", "w3")})
    skips = index > config.depth // 2
    return Layer(
        queries=plain(_halved(queries, config.heads)),
        keys_values=plain(torch.cat((_halved(keys, config.heads), values))),
        out=plain(inner.tensor("attention.wo.weight", (dim, dim))),
        gate_up=projection(Gated(gate_up), packed),
        down=plain(inner.tensor("feed_forward.w2.weight", (dim, wide))),
        skip=projection(Linear.read(inner, "skip_in_linear", (dim, 2 * dim)), packed) if skips else None,
    )


def _halved(rows: Tensor, heads: int) -> Tensor:
    """Rows of a projection in the order that `RopeTable` rotates: the even rows of each head, then the odd ones.

    The model rotates neighbouring rows; reordering queries and keys alike leaves their products unchanged.
    """
    pairs = rows.unflatten(0, (heads, -1, 2))  # [heads, head_dim / 2, 2, D]
    halved: Tensor = pairs.transpose(1, 2).reshape_as(rows)
    return halved


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


def _tail(weights: Weights, config: DiTConfig) -> tuple[Linear, Linear]:
    """[hidden, noisy mel] → [input of the WaveNet, residual around it]; and hidden → mel, after the WaveNet."""
    dim, names = config.hidden, ("conv1", "res_projection")
    skip = Linear.read(weights, "skip_linear", (dim, dim + config.mel_bands))
    both = weights.fused({f"{name}.weight": (dim, dim) for name in names})
    tail_in = chained(skip, Linear(both, weights.fused({f"{name}.bias": (dim,) for name in names})))
    last = Linear(*weight_normed_conv(weights, "final_layer.linear", (dim, dim)))
    return tail_in, chained(last, Linear.read(weights, "conv2", (config.mel_bands, dim, 1)))
