"""The language model and its sampling loop, in C++ on the CPU: prefixes in, semantic codes and hidden states out.

GPT-2 blocks (Radford et al. 2019) with two final norms. With float32 weights it gives the same codes as
`reference/language_model.py` with `reference/sampling.py` for the same seed.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.domain import CPU_BATCH
from intone.server.engines.indextts.checkpoint.config import GPTConfig, IndexTTSConfig
from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling, uniforms
from intone.server.engines.indextts.layers import NORM_EPS
from intone.server.engines.packed_cache import PackedLayers
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops._C import DecoderCache, DecoderLayer, GptUnit

MAX_VOICES = 8
"""Beginnings of prefixes whose keys and values are kept: voices, each with an emotion."""


@dataclass(frozen=True, slots=True)
class NativeDecoding:
    """The decoding state of one unit.

    Attributes:
        memory: KV cache and sampling state; `NativeGPT.generate` changes it in place.
        seed: of the unit's draws, 0 to 2**64 - 1.
        prefix_bytes, code_bytes: memory of the cache, for the prefix and for each code.
    """

    memory: "GptUnit"
    seed: int
    prefix_bytes: int
    code_bytes: int

    @property
    def held_bytes(self) -> int:
        """Memory of the cache."""
        return self.prefix_bytes + self.code_bytes * self.code_count

    @property
    def code_count(self) -> int:
        """Codes generated so far."""
        return self.memory.made

    @property
    def ended(self) -> bool:
        """Whether no code follows: the stop code was drawn, or `max_codes` are generated."""
        return self.memory.ended


@dataclass(frozen=True, slots=True)
class GeneratedCodes:
    """What one call of `generate` adds to a unit.

    Attributes:
        codes: `[n]`, without the stop code.
        hidden: `[n, D]`, the hidden state that predicted each code; the acoustic model of IndexTTS-2 needs it.
    """

    codes: Tensor
    hidden: Tensor


class NativeGPT:
    """The model; immutable. It copies its tensors into a layout of its own.

    Batch-invariant: a unit's codes depend neither on the other units of a call nor on how many codes a call generates.
    A unit is used by one thread at a time; the GIL is released.
    """

    max_batch, new_units = CPU_BATCH, 1
    """See `EngineInfo`."""

    def __init__(
        self,
        config: IndexTTSConfig,
        weights: Weights,
        upstream_positions: bool = False,
        *,
        packed: str = "fp32",
        isa: str = "best",
        layers: PackedLayers | None = None,
    ) -> None:
        """Pack the tensors of `gpt_tensors`.

        Args:
            upstream_positions: as in `reference.language_model.GPT`.
            packed: "int8", "bf16" or "fp32", the type of the linear layers' weights and inputs; int8 has one scale per
                output and one per row of inputs.
            isa: instruction set; only tests set it.
            layers: the source of packed layers; None packs them.
        """
        gpt, self.config, self._skipped = config.gpt, config.gpt, int(upstream_positions)
        native, layers = ensure_built(), layers or PackedLayers()
        load_layer = partial(native.DecoderLayer.of_packed, type=packed, isa=isa)
        load_head = partial(native.Linear.of_packed, type=packed, isa=isa)
        self._native = native
        self._stack = native.DecoderStack(
            heads=gpt.heads,
            kv_heads=gpt.heads,
            head_dim=gpt.dim // gpt.heads,
            norm_eps=NORM_EPS,
            layers=[
                layers.part(f"gpt.{index}", load_layer, partial(_pack_layer, gpt, weights, index, packed, isa))
                for index in range(gpt.layers)
            ],
            norms=[weights.affine(name, (gpt.dim,)) for name in FINAL_NORMS],
        )
        head = layers.part(
            "gpt.head",
            load_head,
            lambda: native.Linear(*weights.affine("mel_head", (gpt.codes, gpt.dim)), type=packed, isa=isa),
        )
        self._gpt = native.Gpt(
            stack=self._stack,
            head=head,
            codes=weights.tensor("mel_embedding.weight", (gpt.codes, gpt.dim)),
            positions=weights.tensor("mel_pos_embedding.emb.weight", (gpt.code_positions, gpt.dim)),
            start_code=gpt.start_code,
            stop_code=gpt.stop_code,
            skipped_positions=self._skipped,
        )
        self._voices: OrderedDict[bytes, DecoderCache] = OrderedDict()

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1 - self._skipped

    def begin(
        self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0, shared: int = 0
    ) -> NativeDecoding:
        """Prefill with a prefix (`Prefixes.prefix`), `[S, D]`, and the start code.

        Args:
            max_codes: of the unit, 1 to `max_codes()`.
            seed: 0 to 2**64 - 1.
            min_codes: the stop code cannot be drawn before that many codes.
            shared: rows at the beginning of the prefix that many units have in common: their keys and values are kept.
        """
        settings = self._native.SamplingSettings(
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            penalty=sampling.penalty,
            min_tokens_to_keep=sampling.min_tokens_to_keep,
        )
        seen = [PENALISED_FROM_THE_START, self.config.start_code]
        rows = prefix.float().cpu()
        before = self._known(rows[:shared]) if shared else None
        memory = self._gpt.begin(rows[shared:], max_codes, settings, seen, min_codes, before)
        # Keys and values in float32, of every layer.
        code_bytes = 2 * 4 * self.config.layers * self.config.dim
        return NativeDecoding(memory, seed, (len(prefix) + 1) * code_bytes, code_bytes)

    def _known(self, rows: Tensor) -> "DecoderCache":
        """The keys and values of these rows at the beginning of a prefix, from an earlier unit or computed now."""
        key = rows.numpy().tobytes()
        found = self._voices.pop(key, None)
        if found is None:
            found = self._stack.new_cache(len(rows))
            self._stack.prefill(rows, found, len(rows) - 1)
        self._voices[key] = found
        if len(self._voices) > MAX_VOICES:
            self._voices.popitem(last=False)
        return found

    def generate(self, units: Sequence[NativeDecoding], count: int) -> list[GeneratedCodes]:
        """Up to `count` more codes of each unit, fewer where it ends; in the order of `units`."""
        draws = [uniforms(unit.seed, unit.code_count, count) for unit in units]
        table = torch.stack(draws) if draws else torch.zeros(0, count, dtype=torch.float64)
        generated = self._gpt.generate([unit.memory for unit in units], count, table)
        return [GeneratedCodes(new.codes, new.hidden) for new in generated]


FINAL_NORMS = ("gpt.ln_f", "final_norm")
"""The trained model has both, one after the other."""


def block_tensors(gpt: GPTConfig, weights: Weights, index: int) -> dict[str, Tensor]:
    """Read the tensors of one block, by published name within it; matrices are `[in, out]`."""
    block, vector, wide = weights.scope(f"gpt.h.{index}"), (gpt.dim,), 4 * gpt.dim
    shapes = {
        "ln_1": (vector, vector),
        "attn.c_attn": ((gpt.dim, 3 * gpt.dim), (3 * gpt.dim,)),
        "attn.c_proj": ((gpt.dim, gpt.dim), vector),
        "ln_2": (vector, vector),
        "mlp.c_fc": ((gpt.dim, wide), (wide,)),
        "mlp.c_proj": ((wide, gpt.dim), vector),
    }
    return {
        f"{name}.{kind}": block.tensor(f"{name}.{kind}", shape)
        for name, pair in shapes.items()
        for kind, shape in zip(("weight", "bias"), pair, strict=True)
    }


def gpt_tensors(config: IndexTTSConfig, weights: Weights) -> dict[str, Tensor]:
    """Read the tensors of the decoding loop, by published name; matrices of the blocks are `[in, out]`."""
    gpt = config.gpt
    tensors = {
        "mel_embedding.weight": weights.tensor("mel_embedding.weight", (gpt.codes, gpt.dim)),
        "mel_pos_embedding.emb.weight": weights.tensor("mel_pos_embedding.emb.weight", (gpt.code_positions, gpt.dim)),
    }
    for index in range(gpt.layers):
        block = block_tensors(gpt, weights, index)
        tensors |= {f"gpt.h.{index}.{name}": tensor for name, tensor in block.items()}
    for name, shape in (*((norm, (gpt.dim,)) for norm in FINAL_NORMS), ("mel_head", (gpt.codes, gpt.dim))):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weights.affine(name, shape)
    return tensors


def _pack_layer(gpt: GPTConfig, weights: Weights, index: int, packed: str, isa: str) -> "DecoderLayer":
    block = {name: tensor.float().cpu() for name, tensor in block_tensors(gpt, weights, index).items()}
    return ensure_built().DecoderLayer(
        attention_norm=block["ln_1.weight"],
        attention_norm_bias=block["ln_1.bias"],
        qkv=block["attn.c_attn.weight"].T,
        qkv_bias=block["attn.c_attn.bias"],
        out=block["attn.c_proj.weight"].T,
        out_bias=block["attn.c_proj.bias"],
        mlp_norm=block["ln_2.weight"],
        mlp_norm_bias=block["ln_2.bias"],
        up=block["mlp.c_fc.weight"].T,
        up_bias=block["mlp.c_fc.bias"],
        down=block["mlp.c_proj.weight"].T,
        down_bias=block["mlp.c_proj.bias"],
        gated=False,
        type=packed,
        isa=isa,
    )
