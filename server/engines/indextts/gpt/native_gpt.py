"""The language model of IndexTTS and its sampling loop, native: prefixes in, codes out. Knows no audio.

With float32 weights the same codes as `model.py` with `sampling.py` for the same seed, many at a call. On the CPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import GPTConfig, IndexTTSConfig
from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling, uniforms
from intone.server.engines.weights import Weights
from intone.server.ops import ensure_built


@dataclass(frozen=True, slots=True)
class NativeUnit:
    """What the model remembers of one unit.

    Attributes:
        memory: the native part; `NativeGPT.generate` changes it in place.
        seed: of the unit's draws, 0 to 2**64 - 1.
    """

    memory: Any
    seed: int

    @property
    def made(self) -> int:
        """Codes so far."""
        return int(self.memory.made)

    @property
    def ended(self) -> bool:
        """No code follows: the model has said so, or the most that the unit may have are made."""
        return bool(self.memory.ended)


@dataclass(frozen=True, slots=True)
class Written:
    """What a call adds to a unit.

    Attributes:
        codes: `[n]`, without the stop code.
        hidden: `[n, D]`, the hidden state that predicted each code; IndexTTS-2's acoustic part wants it.
    """

    codes: Tensor
    hidden: Tensor


class NativeGPT:
    """The model; frozen once built. It copies its tensors, into an order of its own.

    A unit's codes do not depend on its company, nor on how many are asked for at a time. One thread at a time may have
    a unit; the interpreter's lock is not held.
    """

    def __init__(
        self, config: IndexTTSConfig, weights: Weights, upstream_positions: bool = False, *, packed: str = "fp32"
    ) -> None:
        """`weights` as `gpt.tensor_shapes` describes; `upstream_positions` as in `gpt.GPT`.

        `packed`, "int8", "bf16" or "fp32", is what weights and inputs of the linear layers are rounded to; int8 with a
        scale for each output and for each row of inputs.
        """
        self.config, self._skipped = config.gpt, int(upstream_positions)
        self._native = ensure_built()
        self._gpt = self._native.Gpt(
            layers=config.gpt.layers,
            heads=config.gpt.heads,
            start_code=config.gpt.start_code,
            stop_code=config.gpt.stop_code,
            skipped_positions=self._skipped,
            tensors={name: weights[name].float().cpu() for name in _names(config.gpt)},
            type=packed,
        )

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1 - self._skipped

    def begin(self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0) -> NativeUnit:
        """Read `GPT.prefix`, `[S, D]`, and the start code.

        Args:
            max_codes: that the unit may have, 1 to `max_codes()`.
            seed: 0 to 2**64 - 1.
            min_codes: before which the model cannot end the unit.
        """
        settings = self._native.SamplingSettings(
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            penalty=sampling.penalty,
            min_tokens_to_keep=sampling.least,
        )
        seen = [PENALISED_FROM_THE_START, self.config.start_code]
        memory = self._gpt.begin(prefix.float().cpu(), max_codes, settings, seen, min_codes)
        return NativeUnit(memory, seed)

    def generate(self, units: Sequence[NativeUnit], count: int) -> list[Written]:
        """Up to `count` more codes of each unit, fewer where it ends; in the same order."""
        draws = [uniforms(unit.seed, unit.made, count) for unit in units]
        table = torch.stack(draws) if draws else torch.zeros(0, count, dtype=torch.float64)
        written = self._gpt.generate([unit.memory for unit in units], count, table)
        return [Written(new.codes, new.hidden) for new in written]


def _names(gpt: GPTConfig) -> list[str]:
    """Published names of what the loop needs; a prefix is made elsewhere."""
    parts = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    layers = [f"gpt.h.{index}.{part}" for index in range(gpt.layers) for part in parts]
    both = [f"{name}.{kind}" for name in (*layers, "gpt.ln_f", "final_norm", "mel_head") for kind in ("weight", "bias")]
    return ["mel_embedding.weight", "mel_pos_embedding.emb.weight", *both]
