"""The language model of IndexTTS: text and conditions in, semantic codes out. Knows no audio and no sampling.

GPT-2 blocks (Radford et al. 2019) without its tables, two norms at the end. A unit's memory is a `Decoding`; reading a
sequence whole or code by code gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from intone.server.engines.indextts.checkpoint.config import GPTConfig, IndexTTSConfig, Variant
from intone.server.engines.indextts.gpt.prefix import DURATION_ROWS, Prefixes
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights
from intone.server.nn.attention import attend, attend_one
from intone.server.nn.kv_cache import KvCache
from intone.server.nn.transfer import send


@dataclass(slots=True)
class Decoding:
    """What the model remembers of one unit; changed in place by `advance`.

    Attributes:
        cache: of all positions read.
        prefix: positions before the start code.
    """

    cache: KvCache
    prefix: int

    @property
    def made(self) -> int:
        """Codes read so far, the start code not counted."""
        return self.cache.length - self.prefix - 1


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of one layer, matrices as published: `[in, out]`."""

    norm_1: LayerNorm
    qkv: tuple[Tensor, Tensor]  # bias [3D], weight [D, 3D]
    out: tuple[Tensor, Tensor]  # [D], [D, D]
    norm_2: LayerNorm
    up: tuple[Tensor, Tensor]  # [4D], [D, 4D]
    down: tuple[Tensor, Tensor]  # [D], [4D, D]


class GPT(Prefixes):
    """The model; frozen once built. D is its width, V the number of codes.

    Args:
        upstream_positions: count positions of codes as the official decoding loop does, one too far from the first code
            on, instead of as in training. Only for comparisons.
    """

    def __init__(self, config: IndexTTSConfig, weights: Weights, upstream_positions: bool = False) -> None:
        super().__init__(config, weights)
        self._skipped = int(upstream_positions)
        self._codes, self._code_positions = weights["mel_embedding.weight"], weights["mel_pos_embedding.emb.weight"]
        self._blocks = tuple(_block(weights.scope(f"gpt.h.{index}")) for index in range(config.gpt.layers))
        self._norms = LayerNorm.read(weights, "gpt.ln_f"), LayerNorm.read(weights, "final_norm")
        self._head = Linear.read(weights, "mel_head")

    def longest_text(self) -> int:
        """Text tokens that the position table has room for."""
        return self.config.max_text

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1 - self._skipped

    def begin(self, prefix: Tensor, max_codes: int) -> tuple[Decoding, Tensor]:
        """Read `[S, D]` and the start code; the state and the hidden state that predicts the first code, `[D]`.

        Args:
            max_codes: that the unit may have.
        """
        start = self._codes[self.config.start_code] + self._code_positions[0]
        x = torch.cat((prefix, start.unsqueeze(0)))
        config = self.config
        size = config.dim // config.heads
        cache = KvCache(config.layers, config.heads, size, len(x) + max_codes, x.dtype, x.device)
        return Decoding(cache, len(prefix)), self._read(x, cache)[-1]

    def advance(self, codes: Tensor, units: Sequence[Decoding]) -> Tensor:
        """Read one more code of each unit: `[B]` → the hidden states that predict the next ones, `[B, D]`.

        The hidden state of a unit at this point is also what version 2's acoustic part wants for the code that it
        predicts.
        """
        places = send(torch.tensor([unit.made + 1 + self._skipped for unit in units]), codes.device)
        return self._step(self._codes[codes] + self._code_positions[places], [unit.cache for unit in units])

    def replay(self, codes: Tensor, unit: Decoding) -> Tensor:
        """Read several codes of one unit at once: `[N]` → `[N, D]`, as `advance` would, one by one."""
        first = unit.made + 1 + self._skipped
        places = self._code_positions[first : first + len(codes)]
        return self._read(self._codes[codes] + places, unit.cache)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next code: `[..., D]` → `[..., V]`, float32."""
        return self._head(hidden).float()

    def _read(self, x: Tensor, cache: KvCache) -> Tensor:
        """Positions `[T, D]` behind those in the cache; `[T, D]`."""
        known, count = cache.length, len(x)
        cache.reserve(count)
        # Row t of what is new sees all that is known and the new up to itself.
        seen = torch.ones(count, known + count, dtype=torch.bool, device=x.device).tril(known) if known else None
        for index, block in enumerate(self._blocks):
            queries, keys, values = self._project(block, x)
            keys, values = cache.write(index, keys.transpose(0, 1), values.transpose(0, 1))  # [heads, known + T, d]
            if seen is None:
                mixed = attend(queries[None], keys.transpose(0, 1)[None], values.transpose(0, 1)[None], causal=True)[0]
            else:
                whole = functional.scaled_dot_product_attention(queries.transpose(0, 1), keys, values, attn_mask=seen)
                mixed = whole.transpose(0, 1).flatten(1)
            x = _finish(block, x, mixed)
        cache.length += count
        return self._normed(x)

    def _step(self, x: Tensor, caches: Sequence[KvCache]) -> Tensor:
        """One position for each of B units, of any lengths: `[B, D]` → `[B, D]`."""
        for cache in caches:
            cache.reserve(1)
        for index, block in enumerate(self._blocks):
            queries, keys, values = self._project(block, x)
            # Row by row: each unit has its own length, and attention is a small part of a step.
            mixed = [
                attend_one(queries[row], *cache.write(index, keys[row].unsqueeze(1), values[row].unsqueeze(1)))
                for row, cache in enumerate(caches)
            ]
            x = _finish(block, x, torch.stack(mixed))
        for cache in caches:
            cache.length += 1
        return self._normed(x)

    def _project(self, block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of rows `[T, D]`: `[T, heads, d]` each."""
        joined = torch.addmm(block.qkv[0], block.norm_1(x), block.qkv[1])
        queries, keys, values = joined.unflatten(1, (3, self.config.heads, -1)).unbind(1)
        return queries, keys, values

    def _normed(self, x: Tensor) -> Tensor:
        """Both norms stand in the trained model, one after the other."""
        return self._norms[1](self._norms[0](x))


def tensor_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of the model proper, its conditioning apart."""
    gpt = config.gpt
    shapes: dict[str, tuple[int, ...]] = {
        "text_embedding.weight": (gpt.text_tokens + 1, gpt.dim),
        "text_pos_embedding.emb.weight": (gpt.text_positions, gpt.dim),
        "mel_embedding.weight": (gpt.codes, gpt.dim),
        "mel_pos_embedding.emb.weight": (gpt.code_positions, gpt.dim),
        "mel_head.weight": (gpt.codes, gpt.dim),
        "mel_head.bias": (gpt.codes,),
    }
    if config.variant is Variant.V25:
        shapes["lang_embedding.weight"] = (gpt.languages, gpt.dim)
    else:
        shapes["speed_emb.weight"] = (DURATION_ROWS, gpt.dim)
    for name in ("gpt.ln_f", "final_norm"):
        shapes |= {f"{name}.weight": (gpt.dim,), f"{name}.bias": (gpt.dim,)}
    for index in range(gpt.layers):
        shapes |= {f"gpt.h.{index}.{name}": shape for name, shape in _block_shapes(gpt).items()}
    return shapes


def dead_keys(config: IndexTTSConfig) -> tuple[str, ...]:
    """Names (whole, as regular expressions) that the file may have and nothing here uses."""
    dead = (r"text_head\..*", r"gpt\.h\.\d+\.attn\.(bias|masked_bias)", r".*\.embed\.pos_enc\.pe")
    if config.variant is Variant.V25:
        return (*dead, r"conditioning_encoder\..*", r"perceiver_encoder\..*", r"speed_emb\..*")
    return dead


def random_tensors(config: IndexTTSConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Untrained tensors by published name. The stop code is never the likeliest: the length guard ends a unit."""
    tensors: dict[str, Tensor] = {}
    for name, shape in tensor_shapes(config).items():
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight", "final_norm.weight")):
            tensors[name] = torch.ones(shape)
        elif len(shape) == 1:
            tensors[name] = 0.02 * torch.randn(shape, generator=generator)
        else:
            # Embeddings and positions share a variance of 1 among them; what ends a residual branch is small.
            scale = 0.7 if "emb" in name else (shape[1] if name == "mel_head.weight" else shape[0]) ** -0.5
            scale *= (2 * config.gpt.layers) ** -0.5 if name.endswith("c_proj.weight") else 1
            tensors[name] = scale * torch.randn(shape, generator=generator)
    tensors["mel_head.bias"][config.gpt.stop_code] = -1e4
    return tensors


def _block_shapes(gpt: GPTConfig) -> dict[str, tuple[int, ...]]:
    wide = 4 * gpt.dim
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("ln_1", "ln_2"):
        shapes |= {f"{name}.weight": (gpt.dim,), f"{name}.bias": (gpt.dim,)}
    for name, inner, outer in (
        ("attn.c_attn", gpt.dim, 3 * gpt.dim),
        ("attn.c_proj", gpt.dim, gpt.dim),
        ("mlp.c_fc", gpt.dim, wide),
        ("mlp.c_proj", wide, gpt.dim),
    ):
        shapes |= {f"{name}.weight": (inner, outer), f"{name}.bias": (outer,)}
    return shapes


def _block(weights: Weights) -> Block:
    def matrix(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.bias"], weights[f"{name}.weight"]

    return Block(
        norm_1=LayerNorm.read(weights, "ln_1"),
        qkv=matrix("attn.c_attn"),
        out=matrix("attn.c_proj"),
        norm_2=LayerNorm.read(weights, "ln_2"),
        up=matrix("mlp.c_fc"),
        down=matrix("mlp.c_proj"),
    )


def _finish(block: Block, x: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a layer after attention, on rows `[T, D]`."""
    x = x + torch.addmm(block.out[0], mixed, block.out[1])
    wide = functional.gelu(torch.addmm(block.up[0], block.norm_2(x), block.up[1]), approximate="tanh")
    return x + torch.addmm(block.down[0], wide, block.down[1])
