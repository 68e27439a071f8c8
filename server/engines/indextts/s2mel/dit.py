"""The velocity field of the flow in torch: a bidirectional transformer over mel frames, then a WaveNet.

DiT with adaptive norms (arXiv 2212.09748) and long skips between its halves (U-ViT, arXiv 2209.12152), as in Seed-VC.
What is constant over the steps of a solve comes from `flow_inputs.py`. Consecutive linear layers are merged into one.
On the CPU `native_flow.py` computes the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import ENGINE, DiTConfig, WaveNetConfig
from intone.server.engines.indextts.checkpoint.folding import chained, weight_normed_conv
from intone.server.engines.indextts.layers import Gated, Linear
from intone.server.engines.indextts.s2mel.flow_inputs import MAX_FRAMES, Condition, FlowInputs, Modulation
from intone.server.engines.indextts.s2mel.wavenet import WaveNet
from intone.server.engines.weights import Weights
from intone.server.errors import CheckpointError
from intone.server.nn.attention import attend
from intone.server.nn.rope import RopeTable, longrope_table

ROPE_THETA = 10000.0
NORM_EPS = 1e-5
LAST_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Layer:
    """Projections of one layer. D = hidden, F = feed_forward; `skip` only in the second half."""

    queries: Linear  # D → D, rows ordered by `_halved`, as are those of the keys
    keys_values: Linear  # D → 2D
    out: Linear  # D → D
    gate_up: Gated  # D → F
    down: Linear  # F → D
    skip: Linear | None  # 2D → D


Transform = Callable[[Tensor, int, Tensor, Tensor | None], Tensor]
"""All layers and the last norm: `[R, T, D]`, the first row wanted, `Modulation.norms`, `Condition.visible` → the rows
from that one on, `[R, T - first, D]`."""


class DiT:
    """The velocity field; immutable.

    Attributes:
        inputs: what is constant over the steps of a solve.
        mel_bands: bands of a mel frame.
        hidden: width of the transformer.
        heads, head_dim: attention heads, and the size of one.
        layers: of the transformer.
        rope: rotations for `MAX_FRAMES` positions.
        wavenet: behind the transformer.
        tail_in: [hidden, noisy mel] → [input of the WaveNet, what is added to its result].
        tail_out: hidden → mel.
        context_frames: frames on either side that the WaveNet's result for a frame depends on.
    """

    def __init__(self, config: DiTConfig, wavenet: WaveNetConfig, weights: Weights) -> None:
        """Read all tensors.

        Raises:
            CheckpointError: the WaveNet has another width than the transformer.
        """
        if wavenet.hidden != config.hidden:
            found = f"found {wavenet.hidden}, expected {config.hidden} as in s2mel.DiT.hidden_dim"
            raise CheckpointError(ENGINE, f"s2mel.wavenet.hidden_dim: {found}")
        self.mel_bands, self.hidden = config.mel_bands, config.hidden
        self.heads, self.head_dim = config.heads, config.hidden // config.heads
        self.wavenet = WaveNet(wavenet, weights.scope("wavenet"))
        self.context_frames = self.wavenet.context_frames
        self.layers = tuple(_layer(weights, index, config) for index in range(config.depth))
        self.inputs = FlowInputs(config, weights, self.wavenet.gates)
        self.tail_in, self.tail_out = _tail(weights, config)
        ones = [1.0] * (self.head_dim // 2)
        device = self.tail_in.weight.device
        self.rope = longrope_table(MAX_FRAMES, self.head_dim, ROPE_THETA, ones, 1.0, device)

    def velocity(self, x: Tensor, condition: Condition, time: Modulation, transform: Transform | None = None) -> Tensor:
        """Noisy mel frames `[B, T - P, M]` → velocities `[R, T - P, M]`; `transform` replaces the layers."""
        prompt = condition.prompt
        copies = condition.rows.shape[0] // x.shape[0]
        noisy = functional.linear(x, self.inputs.noisy).repeat(copies, 1, 1)
        h = torch.cat((condition.rows[:, :prompt], condition.rows[:, prompt:] + noisy), dim=1)
        # After the last attention, nothing depends on frames further back than the WaveNet's context.
        first = max(0, prompt - self.context_frames)
        lead = prompt - first
        h = (transform or self._transform)(h, first, time.norms, condition.visible)
        noisy = functional.pad(x, (0, 0, lead, 0)).repeat(copies, 1, 1)
        y, residual = self.tail_in(torch.cat((h, noisy), dim=2)).chunk(2, dim=2)
        y = self.wavenet(y.transpose(1, 2), time.gates).transpose(1, 2)
        y = y[:, lead:] + residual[:, lead:]
        y = functional.layer_norm(y, y.shape[2:], time.last[0], time.last[1], LAST_NORM_EPS)
        return self.tail_out(y)

    def _transform(self, h: Tensor, first: int, norms: Tensor, visible: Tensor | None) -> Tensor:
        """All layers and the last norm; rows from `first` on of the result, `[R, T - first, D]`."""
        rope = self.rope.at(0, h.shape[1])
        depth = len(self.layers)
        skips: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if layer.skip is not None:
                h = layer.skip(torch.cat((h, skips.pop()), dim=2))
            start, own = first if index == depth - 1 else 0, norms[2 * index : 2 * index + 2]
            h = self._apply(layer, h, start, rope, own, visible)
            if index < depth // 2:
                skips.append(h)
        return modulated(h, norms[-1])

    def _apply(
        self, layer: Layer, h: Tensor, first: int, rope: RopeTable, norms: Tensor, visible: Tensor | None
    ) -> Tensor:
        """One layer on all rows; returns those from `first` on."""
        normed = modulated(h, norms[0])
        keys_values = layer.keys_values(normed).unflatten(2, (2, -1, self.head_dim))
        queries = layer.queries(normed[:, first:]).unflatten(2, (-1, self.head_dim))
        queries = rope.at(first, h.shape[1]).rotate(queries)
        keys, values = rope.rotate(keys_values[:, :, 0]), keys_values[:, :, 1]
        attended = attend(queries, keys, values, causal=False, visible=visible)
        h = h[:, first:] + layer.out(attended)
        return h + layer.down(layer.gate_up(modulated(h, norms[1])))


def modulated(h: Tensor, norm: Tensor) -> Tensor:
    """Adaptive RMS norm of `[..., D]`; `norm` is scale and shift, `[2, D]`."""
    return torch.addcmul(norm[1], functional.rms_norm(h, h.shape[-1:], None, NORM_EPS), norm[0])


def _layer(weights: Weights, index: int, config: DiTConfig) -> Layer:
    dim, wide = config.hidden, config.feed_forward
    inner = weights.scope(f"transformer.layers.{index}")
    queries, keys, values = inner.tensor("attention.wqkv.weight", (3 * dim, dim)).chunk(3)
    gate_up = inner.fused({f"feed_forward.{name}.weight": (wide, dim) for name in ("w1", "w3")})
    skips = index > config.depth // 2
    return Layer(
        queries=Linear(_halved(queries, config.heads)),
        keys_values=Linear(torch.cat((_halved(keys, config.heads), values))),
        out=Linear(inner.tensor("attention.wo.weight", (dim, dim))),
        gate_up=Gated(gate_up),
        down=Linear(inner.tensor("feed_forward.w2.weight", (dim, wide))),
        skip=Linear.read(inner, "skip_in_linear", (dim, 2 * dim)) if skips else None,
    )


def _halved(rows: Tensor, heads: int) -> Tensor:
    """Rows of a projection in the order that `RopeTable` rotates: the even rows of each head, then the odd ones.

    The model rotates neighbouring rows; reordering queries and keys alike leaves their products unchanged.
    """
    pairs = rows.unflatten(0, (heads, -1, 2))  # [heads, head_dim / 2, 2, D]
    halved: Tensor = pairs.transpose(1, 2).reshape_as(rows)
    return halved


def _tail(weights: Weights, config: DiTConfig) -> tuple[Linear, Linear]:
    """[hidden, noisy mel] → [input of the WaveNet, residual around it]; and hidden → mel, after the WaveNet."""
    dim, names = config.hidden, ("conv1", "res_projection")
    skip = Linear.read(weights, "skip_linear", (dim, dim + config.mel_bands))
    both = weights.fused({f"{name}.weight": (dim, dim) for name in names})
    tail_in = chained(skip, Linear(both, weights.fused({f"{name}.bias": (dim,) for name in names})))
    last = Linear(*weight_normed_conv(weights, "final_layer.linear", (dim, dim)))
    return tail_in, chained(last, Linear.read(weights, "conv2", (config.mel_bands, dim, 1)))
