"""Trainable transformer layers of VoxCPM's four stacks, with the parameter names of published checkpoints.

Computes the same as `intone.server.engines.voxcpm.transformer`, on whole batches and with gradients.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from intone.server.engines.voxcpm.config import StackConfig
from intone.server.engines.voxcpm.transformer import rope_of
from intone.server.nn.attention import attend
from intone.server.nn.norms import rms_norm
from intone.server.nn.rope import RopeTable

MAX_ROWS = 16_000
"""Maximum batch size of one attention call: some CUDA kernels limit rows times heads to 65,535."""

ROUND_ROWS = 32
"""Non-causal batches are padded to a multiple: on a CPU each new shape costs as much to set up as to compute."""


class Norm(nn.Module):
    """RMS norm."""

    def __init__(self, hidden: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """`[..., H]` → `[..., H]`."""
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention with optional rotary position embedding."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.hidden, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden, bias=False)

    def forward(self, x: Tensor, rope: RopeTable | None, causal: bool, attention: list[Tensor] | None = None) -> Tensor:
        """`[B, T, H]` → `[B, T, H]`. Appends the first head's attention weights, `[B, T, T]`, to `attention`."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        queries, keys, values = (part(x).unflatten(2, (-1, self.head_dim)) for part in projections)
        if rope is not None:
            queries, keys = rope.rotate(queries), rope.rotate(keys)
        if x.is_cuda and attention is None:
            attended = attend(queries, keys, values, causal=causal)
        else:
            attended = attend_small(queries, keys, values, causal=causal, attention=attention)
        result: Tensor = self.o_proj(attended)
        return result


def attend_small(
    queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool, attention: list[Tensor] | None = None
) -> Tensor:
    """The same as `attend`, with explicit attention weights: several times as fast on a CPU for sequences of a patch.

    Appends the first head's attention weights, `[B, T, T]`, to `attention`.
    """
    batch, length, heads, size = queries.shape
    shared = keys.shape[2]
    # The G query heads of a key head are stacked along the positions: [B · shared, G · T, D].
    stacked = queries.unflatten(2, (shared, -1)).permute(0, 2, 3, 1, 4).reshape(batch * shared, -1, size)
    keys, values = (part.transpose(1, 2).flatten(0, 1) for part in (keys, values))  # [B · shared, T, D]
    scores = torch.bmm(stacked * size**-0.5, keys.mT)
    if causal:
        masked = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(masked.repeat(heads // shared, 1), -torch.inf)
    weights = scores.softmax(2)
    if attention is not None:
        attention.append(weights.view(batch, shared, -1, length, length)[:, 0, 0])
    attended = torch.bmm(weights, values).view(batch, shared, -1, length, size)
    return attended.permute(0, 3, 1, 2, 4).reshape(batch, length, -1)


class FeedForward(nn.Module):
    """down(silu(gate(x)) · up(x))."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.feed_forward, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.feed_forward, bias=False)
        self.down_proj = nn.Linear(config.feed_forward, config.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., H]` → `[..., H]`."""
        result: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return result


class Layer(nn.Module):
    """Pre-norm attention and feed-forward with residual connections."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.hidden, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config.hidden, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, rope: RopeTable | None, causal: bool, attention: list[Tensor] | None = None) -> Tensor:
        """`[B, T, H]` → `[B, T, H]`; `attention` as in `Attention`."""
        x = x + self.self_attn(self.input_layernorm(x), rope, causal, attention)
        result: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return result


class Stack(nn.Module):
    """Layers and the final norm.

    Args:
        positions: maximum sequence length, the size of the rotary table.
    """

    def __init__(self, config: StackConfig, positions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = Norm(config.hidden, config.norm_eps)
        rope = rope_of(config, positions, torch.device("cpu"))
        self.register_buffer("cos", rope.cos if rope else None, persistent=False)
        self.register_buffer("sin", rope.sin if rope else None, persistent=False)

    def forward(self, x: Tensor, causal: bool, attention: list[Tensor] | None = None) -> Tensor:
        """`[B, T, H]` → `[B, T, H]`. With `causal`, padding at the end has no effect on the other positions.

        Appends the attention weights of the first head of the two middle layers, `[B, T, T]` each, to `attention`.
        """
        count = x.shape[0]
        if not causal and count % ROUND_ROWS:
            padded: Tensor = self(functional.pad(x, (0, 0, 0, 0, 0, -count % ROUND_ROWS)), causal, attention)
            return padded[:count]
        if x.shape[0] > MAX_ROWS:
            assert attention is None, "attention weights are not collected from batches this large"
            return torch.cat([self(part, causal) for part in x.split(MAX_ROWS)])
        cos, sin = self.cos, self.sin
        rope = RopeTable(cos, sin).at(0, x.shape[1]) if isinstance(cos, Tensor) and isinstance(sin, Tensor) else None
        middle = len(self.layers) // 2
        for number, layer in enumerate(self.layers):
            x = layer(x, rope, causal, attention if number in (middle - 1, middle) else None)
        result: Tensor = self.norm(x)
        return result
