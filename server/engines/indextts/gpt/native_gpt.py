"""The language model and its sampling loop, in C++ on the CPU: prefixes in, semantic codes and hidden states out.

GPT-2 blocks (Radford et al. 2019) with two final norms. With float32 weights it gives the same codes as
`reference/language_model.py` with `reference/sampling.py` for the same seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.domain import CPU_BATCH
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling, uniforms
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops._C import GptUnit


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
        self, config: IndexTTSConfig, weights: Weights, upstream_positions: bool = False, *, packed: str = "fp32"
    ) -> None:
        """Pack the tensors of `gpt_tensors`.

        Args:
            upstream_positions: as in `reference.language_model.GPT`.
            packed: "int8", "bf16" or "fp32", the type of the linear layers' weights and inputs; int8 has one scale per
                output and one per row of inputs.
        """
        self.config, self._skipped = config.gpt, int(upstream_positions)
        self._native = ensure_built()
        self._gpt = self._native.Gpt(
            layers=config.gpt.layers,
            heads=config.gpt.heads,
            start_code=config.gpt.start_code,
            stop_code=config.gpt.stop_code,
            skipped_positions=self._skipped,
            tensors={name: tensor.float().cpu() for name, tensor in gpt_tensors(config, weights).items()},
            type=packed,
        )

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1 - self._skipped

    def begin(
        self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0
    ) -> NativeDecoding:
        """Prefill with a prefix (`Prefixes.prefix`), `[S, D]`, and the start code.

        Args:
            max_codes: of the unit, 1 to `max_codes()`.
            seed: 0 to 2**64 - 1.
            min_codes: the stop code cannot be drawn before that many codes.
        """
        settings = self._native.SamplingSettings(
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            penalty=sampling.penalty,
            min_tokens_to_keep=sampling.min_tokens_to_keep,
        )
        seen = [PENALISED_FROM_THE_START, self.config.start_code]
        memory = self._gpt.begin(prefix.float().cpu(), max_codes, settings, seen, min_codes)
        # Keys and values in float32, of every layer.
        code_bytes = 2 * 4 * self.config.layers * self.config.dim
        return NativeDecoding(memory, seed, (len(prefix) + 1) * code_bytes, code_bytes)

    def generate(self, units: Sequence[NativeDecoding], count: int) -> list[GeneratedCodes]:
        """Up to `count` more codes of each unit, fewer where it ends; in the order of `units`."""
        draws = [uniforms(unit.seed, unit.code_count, count) for unit in units]
        table = torch.stack(draws) if draws else torch.zeros(0, count, dtype=torch.float64)
        generated = self._gpt.generate([unit.memory for unit in units], count, table)
        return [GeneratedCodes(new.codes, new.hidden) for new in generated]


def gpt_tensors(config: IndexTTSConfig, weights: Weights) -> dict[str, Tensor]:
    """Read the tensors of the decoding loop, by published name; matrices of the blocks are `[in, out]`."""
    gpt = config.gpt
    tensors = {
        "mel_embedding.weight": weights.tensor("mel_embedding.weight", (gpt.codes, gpt.dim)),
        "mel_pos_embedding.emb.weight": weights.tensor("mel_pos_embedding.emb.weight", (gpt.code_positions, gpt.dim)),
    }
    vector, wide = (gpt.dim,), 4 * gpt.dim
    block = {
        "ln_1": (vector, vector),
        "attn.c_attn": ((gpt.dim, 3 * gpt.dim), (3 * gpt.dim,)),
        "attn.c_proj": ((gpt.dim, gpt.dim), vector),
        "ln_2": (vector, vector),
        "mlp.c_fc": ((gpt.dim, wide), (wide,)),
        "mlp.c_proj": ((wide, gpt.dim), vector),
    }
    layers = {f"gpt.h.{index}.{name}": shapes for index in range(gpt.layers) for name, shapes in block.items()}
    last = {"gpt.ln_f": (vector, vector), "final_norm": (vector, vector)}
    for name, shapes in (layers | last | {"mel_head": ((gpt.codes, gpt.dim), (gpt.codes,))}).items():
        for kind, shape in zip(("weight", "bias"), shapes, strict=True):
            tensors[f"{name}.{kind}"] = weights.tensor(f"{name}.{kind}", shape)
    return tensors
