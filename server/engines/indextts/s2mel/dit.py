"""The velocity field of the flow: a bidirectional transformer over mel frames, then a WaveNet. Knows no solver.

DiT with adaptive norms (arXiv 2212.09748) and long skips between its halves (U-ViT, arXiv 2209.12152), as in Seed-VC.
What no step of a solve changes is computed before it: the merge of everything but the noisy mel (`condition`), and
everything that hangs on the time alone (`modulation`). Linear layers with nothing between them are one layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import ENGINE, DiTConfig, WaveNetConfig
from intone.server.engines.indextts.checkpoint.folding import chained, weight_normed
from intone.server.engines.indextts.layers import Gated, Linear, Projection, projection
from intone.server.engines.indextts.s2mel.wavenet import WaveNet
from intone.server.engines.weights import Weights
from intone.server.errors import CheckpointError
from intone.server.nn.attention import attend
from intone.server.nn.rope import RopeTable, longrope_table

MAX_FRAMES = 16384  # the recording's and the speech's together
ROPE_THETA = 10000.0
TIME_SCALE = 1000.0
NORM_EPS = 1e-5
LAST_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Layer:
    """Projections of one layer. D = hidden, F = feed_forward; `skip` only in the second half."""

    queries: Projection  # D → D, in the order `_halved` gives them, as are the keys
    keys_values: Projection  # D → 2D
    out: Projection  # D → D
    gate_up: Projection  # D → F
    down: Projection  # F → D
    skip: Projection | None  # 2D → D


@dataclass(frozen=True, slots=True)
class Modulation:
    """What the time of a step does to the field.

    Attributes:
        norms: `[2 · layers + 1, 2, D]`, scale and shift of every norm in order: attention, feed-forward, …, last.
        last: `[2, D]`, the same of the norm behind the WaveNet.
        gates: `[WaveNet's layers, 2D]`.
    """

    norms: Tensor
    last: Tensor
    gates: Tensor


@dataclass(frozen=True, slots=True)
class Condition:
    """What a solve keeps the same.

    Attributes:
        rows: `[R, T, D]`, all inputs of a frame but its noisy mel, merged. R is the batch B, or 2B: with guidance the
            second half knows neither voice nor words.
        prompt: how many of the T frames, at the start, are given and not solved for.
    """

    rows: Tensor
    prompt: int


class DiT:
    """Frozen once built.

    Attributes:
        mel_bands: numbers in a mel frame.
    """

    def __init__(self, config: DiTConfig, wavenet: WaveNetConfig, weights: Weights, packed: str = "fp32") -> None:
        """`weights` as `dit_shapes.tensor_shapes` describes; `packed` is for the transformer's `layers.projection`."""
        if wavenet.hidden != config.hidden:
            found = f"found {wavenet.hidden}, expected {config.hidden} as in s2mel.DiT.hidden_dim"
            raise CheckpointError(ENGINE, f"s2mel.wavenet.hidden_dim: {found}")
        self.mel_bands = config.mel_bands
        self._head_dim = config.hidden // config.heads
        self._wavenet = WaveNet(wavenet, weights.scope("wavenet"))
        self._layers = tuple(_layer(weights, index, config, packed) for index in range(config.depth))
        self._norm_in, self._gains = _norms(weights.scope("transformer"), config.depth)
        self._last_norm_in = Linear.read(weights, "final_layer.adaLN_modulation.1")
        self._times = tuple(TimeEmbedding.read(weights.scope(name)) for name in ("t_embedder", "t_embedder2"))
        self._merge = _merge(weights, config)
        self._tail_in, self._tail_out = _tail(weights)
        ones = [1.0] * (self._head_dim // 2)
        self._rope = longrope_table(MAX_FRAMES, self._head_dim, ROPE_THETA, ones, 1.0, self._gains.device)

    def modulations(self, times: Tensor) -> list[Modulation]:
        """One for each of the E `times` `[E]`, 0 (noise) to 1 (speech), float32."""
        first, second = (embed(times) for embed in self._times)
        norms = self._norm_in(first).unflatten(1, (-1, 2, self._gains.shape[1]))  # [E, 2L + 1, 2, D]
        norms = torch.stack((norms[:, :, 0] * self._gains, norms[:, :, 1]), dim=2)
        shift, scale = self._last_norm_in(functional.silu(first)).chunk(2, dim=1)
        last = torch.stack((1 + scale, shift), dim=1)
        gates = self._wavenet.gates(second)
        return [Modulation(*parts) for parts in zip(norms, last, gates, strict=True)]

    def condition(self, prompt: Tensor, content: Tensor, style: Tensor, guided: bool) -> Condition:
        """From given mel frames `[B, P, M]`, the regulator's conditions `[B, T, C]` of all frames and `[B, S]`.

        Raises:
            ValueError: T is over `MAX_FRAMES`.
        """
        frames = content.shape[1]
        if frames > MAX_FRAMES:
            raise ValueError(f"{frames} mel frames, recording included; at most {MAX_FRAMES}")
        merge = self._merge
        rows = merge.content(content) + functional.linear(style, merge.style).unsqueeze(1)
        rows[:, : prompt.shape[1]] += functional.linear(prompt, merge.prompt)
        if guided:  # the layer's answer to nothing is its bias
            rows = torch.cat((rows, merge.content(torch.zeros_like(content))))
        return Condition(rows, prompt.shape[1])

    def velocity(self, x: Tensor, condition: Condition, time: Modulation) -> Tensor:
        """Noisy mel frames `[B, T - P, M]` → where each of them goes, `[R, T - P, M]`."""
        prompt = condition.prompt
        copies = condition.rows.shape[0] // x.shape[0]
        noisy = functional.linear(x, self._merge.noisy).repeat(copies, 1, 1)
        h = torch.cat((condition.rows[:, :prompt], condition.rows[:, prompt:] + noisy), dim=1)
        # What comes after the last attention looks no further back than the WaveNet does.
        first = max(0, prompt - self._wavenet.context_frames)
        lead = prompt - first
        h = self._transform(h, first, time.norms)
        held = functional.pad(x, (0, 0, lead, 0)).repeat(copies, 1, 1)
        bent, straight = self._tail_in(torch.cat((h, held), dim=2)).chunk(2, dim=2)
        y = self._wavenet(bent.transpose(1, 2), time.gates).transpose(1, 2)
        y = y[:, lead:] + straight[:, lead:]
        y = functional.layer_norm(y, y.shape[2:], time.last[0], time.last[1], LAST_NORM_EPS)
        return self._tail_out(y)

    def _transform(self, h: Tensor, first: int, norms: Tensor) -> Tensor:
        """All layers and the last norm; rows `first` and on of the result, `[R, T - first, D]`."""
        rope = self._rope.at(0, h.shape[1])
        depth = len(self._layers)
        kept: list[Tensor] = []
        for index, layer in enumerate(self._layers):
            if layer.skip is not None:
                h = layer.skip(torch.cat((h, kept.pop()), dim=2))
            h = self._apply(layer, h, first if index == depth - 1 else 0, rope, norms[2 * index : 2 * index + 2])
            if index < depth // 2:
                kept.append(h)
        return _modulated(h, norms[-1])

    def _apply(self, layer: Layer, h: Tensor, first: int, rope: RopeTable, norms: Tensor) -> Tensor:
        """One layer on all rows; the result has those from `first` on."""
        normed = _modulated(h, norms[0])
        keys_values = layer.keys_values(normed).unflatten(2, (2, -1, self._head_dim))
        queries = layer.queries(normed[:, first:]).unflatten(2, (-1, self._head_dim))
        queries = rope.at(first, h.shape[1]).rotate(queries)
        mixed = attend(queries, rope.rotate(keys_values[:, :, 0]), keys_values[:, :, 1], causal=False)
        h = h[:, first:] + layer.out(mixed)
        return h + layer.down(layer.gate_up(_modulated(h, norms[1])))


@dataclass(frozen=True, slots=True)
class Merge:
    """The linear layer that merges all inputs of a frame, by input; conditions are projected first, in the same go."""

    noisy: Tensor  # [D, M]
    prompt: Tensor  # [D, M]
    style: Tensor  # [D, S]
    content: Linear  # C → D, with the bias of them all


@dataclass(frozen=True, slots=True)
class TimeEmbedding:
    """Waves of a time, through two layers."""

    rates: Tensor  # [TIME_WAVES]
    into: Linear
    out: Linear

    @classmethod
    def read(cls, weights: Weights) -> "TimeEmbedding":
        """By published name."""
        return cls(weights["freqs"], Linear.read(weights, "mlp.0"), Linear.read(weights, "mlp.2"))

    def __call__(self, times: Tensor) -> Tensor:
        """Times `[E]` → `[E, D]`."""
        angles = TIME_SCALE * times.unsqueeze(1) * self.rates
        waves = torch.cat((angles.cos(), angles.sin()), dim=1)
        return self.out(functional.silu(self.into(waves)))


def _modulated(h: Tensor, norm: Tensor) -> Tensor:
    """Adaptive root mean square norm of `[R, T, D]`; `norm` is scale and shift, the scale as it stands, not 1 + it."""
    return torch.addcmul(norm[1], functional.rms_norm(h, h.shape[2:], None, NORM_EPS), norm[0])


def _layer(weights: Weights, index: int, config: DiTConfig, packed: str) -> Layer:
    def plain(weight: Tensor) -> Projection:
        return projection(Linear(weight), packed)

    inner = weights.scope(f"transformer.layers.{index}")
    queries, keys, values = inner["attention.wqkv.weight"].chunk(3)
    return Layer(
        queries=plain(_halved(queries, config.heads)),
        keys_values=plain(torch.cat((_halved(keys, config.heads), values))),
        out=plain(inner["attention.wo.weight"]),
        gate_up=projection(Gated(torch.cat([inner[f"feed_forward.{name}.weight"] for name in ("w1", "w3")])), packed),
        down=plain(inner["feed_forward.w2.weight"]),
        skip=projection(Linear.read(inner, "skip_in_linear"), packed) if index > config.depth // 2 else None,
    )


def _halved(rows: Tensor, heads: int) -> Tensor:
    """Rows of a projection in the order that `RopeTable` turns: of each head the even ones, then the odd ones.

    The model turns neighbours; queries and keys in the same new order have the same products.
    """
    pairs = rows.unflatten(0, (heads, -1, 2))  # [heads, head_dim / 2, 2, D]
    halved: Tensor = pairs.transpose(1, 2).reshape_as(rows)
    return halved


def _norms(weights: Weights, depth: int) -> tuple[Linear, Tensor]:
    """What makes scales and shifts of a time, all norms in one layer; and their gains, `[2 · depth + 1, D]`."""
    names = [f"layers.{i}.{kind}_norm" for i in range(depth) for kind in ("attention", "ffn")] + ["norm"]
    weight = torch.cat([weights[f"{name}.project_layer.weight"] for name in names])
    bias = torch.cat([weights[f"{name}.project_layer.bias"] for name in names])
    return Linear(weight, bias), torch.stack([weights[f"{name}.norm.weight"] for name in names])


def _merge(weights: Weights, config: DiTConfig) -> Merge:
    sizes = [config.mel_bands, config.mel_bands, config.hidden, config.style_dim]
    parts = weights["cond_x_merge_linear.weight"].split(sizes, dim=1)
    noisy, prompt, projected, style = (part.contiguous() for part in parts)
    content = chained(Linear.read(weights, "cond_projection"), Linear(projected, weights["cond_x_merge_linear.bias"]))
    return Merge(noisy, prompt, style, content)


def _tail(weights: Weights) -> tuple[Linear, Linear]:
    """Before the WaveNet: [its input; the way round it] from [hidden, noisy mel]. Behind it: mel from hidden."""
    names = ("conv1", "res_projection")
    both = Linear(*(torch.cat([weights[f"{name}.{kind}"] for name in names]) for kind in ("weight", "bias")))
    last = Linear(weight_normed(weights, "final_layer.linear"), weights["final_layer.linear.bias"])
    return chained(Linear.read(weights, "skip_linear"), both), chained(last, Linear.read(weights, "conv2"))
