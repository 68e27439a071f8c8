"""Where and how IndexTTS runs: on the CPU, with a native language model, or on a GPU, with slots and graphs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from intone.server.engines.devices import allow_tf32, free_bytes
from intone.server.engines.indextts.checkpoint.config import ENGINE, IndexTTSConfig
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.entry import ENTRY
from intone.server.engines.indextts.gpt.native_gpt import GeneratedCodes, NativeGPT
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.gpt.slot_gpt import BATCHES, SlotGPT, max_positions, page_bytes
from intone.server.engines.indextts.s2mel.acoustic import AcousticModel
from intone.server.engines.indextts.s2mel.cfm import TimeTable
from intone.server.engines.indextts.s2mel.streaming import ChunkPlan
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN
from intone.server.engines.indextts.vocoder.native_bigvgan import NativeBigVGAN
from intone.server.engines.indextts.vocoder.vocoder_programs import VocoderPrograms
from intone.server.engines.packed_cache import PackedCache, PackedLayers, build_with_cache
from intone.server.engines.precision import Precision, precision_on
from intone.server.engines.weights import LoadProgress, Weights
from intone.server.nn.paged_kv import PAGE

PREPARED_UNITS = 16
"""Units at once whose programs are captured at load; those of more when they are needed."""

KV_SHARE = 0.2
"""Of the free memory of a device, at most, for keys and values."""

USUAL_POSITIONS = 512
"""Positions for each slot, on average: a unit of ten seconds takes 350."""


class LanguageModel(Protocol):
    """The interface of `NativeGPT` and `SlotGPT`; states are those that `begin` returned."""

    max_batch: int
    new_units: int

    def max_codes(self) -> int:
        """See `NativeGPT.max_codes`."""

    def begin(
        self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0, shared: int = 0
    ) -> Any:
        """See `NativeGPT.begin` and `SlotGPT.begin`."""

    def generate(self, units: Sequence[Any], count: int) -> list[GeneratedCodes]:
        """See `NativeGPT.generate`."""


class Vocoder(Protocol):
    """The interface of `BigVGAN` and `NativeBigVGAN`; states are those that the vocoder returned."""

    def initial_state(self) -> Any:
        """See `BigVGAN.initial_state`."""

    def extend(self, mel: Tensor, following: Tensor, state: Any, last: bool) -> tuple[Tensor, Tensor, Any]:
        """See `BigVGAN.extend`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device and a precision.

    On CUDA the language model has float16 weights by default, as bfloat16 changes more than two thirds of the codes;
    the other parts are float32, whose products round their inputs to TF32 unless the precision is "fp32".

    Attributes:
        dtype: of the language model's matrices on slots; None for the native language model.
        int8: whether those matrices have int8 weights.
        packed: of the native one and of the native flow, "int8", "bf16" or "fp32"; None to compute in torch.
        graphs: capture graphs, on CUDA.
        precision: for people.
        voice_cache: compute the flow's keys and values of a voice once, see `voice_cache.py`; with the native flow.
        paced: choose the sizes of chunks by the speed that is measured at load, see `pace.py`; with the native flow.
    """

    device: torch.device
    dtype: torch.dtype | None
    int8: bool
    packed: str | None
    graphs: bool
    precision: str
    voice_cache: bool = False
    paced: bool = False

    @classmethod
    def of(
        cls,
        dtype: str = "auto",
        device: str = "cpu",
        graphs: bool = True,
        fixed_buffers: bool = False,
        voice_cache: bool = False,
        paced: bool = False,
    ) -> "Placement":
        """From settings.

        Args:
            dtype: one of `PRECISIONS`.
            fixed_buffers: compute on the CPU as on a GPU, by the same code without graphs: for tests.
        """
        at = torch.device(device)
        if fixed_buffers and at.type == "cpu":
            chosen = Precision(torch.float32, None, dtype == "int8")
        else:
            chosen = precision_on(at, dtype, ENTRY.cpu_precision, torch.float16)
        allow_tf32(at, chosen.dtype != torch.float32)
        slots = chosen.dtype if chosen.packed is None else None
        return cls(at, slots, chosen.int8, chosen.packed, graphs, chosen.name, voice_cache, paced)

    def language_model(self, checkpoint: Checkpoint, weights: Weights, pack_cache: Path | None) -> LanguageModel:
        """From its `weights` in the checkpoint, on the device.

        Args:
            pack_cache: folder where packed weights are saved for the next start; None packs at every start.
        """
        config = checkpoint.config
        if self.packed is not None:
            cache = PackedCache.of(pack_cache, ENGINE, checkpoint.files, checkpoint.fingerprint, self.packed)
            return build_with_cache(partial(_native_gpt, config, weights, self.packed), cache)
        assert self.dtype is not None, "what is not native has a dtype"
        least = -(-max_positions(config) // PAGE)
        wanted = BATCHES[-1] * USUAL_POSITIONS // PAGE
        pages = max(least, min(wanted, int(KV_SHARE * free_bytes(self.device) / page_bytes(config, self.dtype))))
        return SlotGPT(config, weights, self.dtype, min(BATCHES[-1], pages), pages, self.graphs, self.int8)

    def vocoder(self, config: IndexTTSConfig, weights: Weights) -> Vocoder:
        """From the tensors of the vocoder, on the device."""
        vocoder = BigVGAN(config.vocoder, weights)
        return NativeBigVGAN(vocoder) if self.dtype is None else vocoder

    def programs(
        self,
        gpt: LanguageModel,
        acoustic: AcousticModel,
        vocoder: Vocoder,
        plan: ChunkPlan,
        table: Callable[[], TimeTable],
    ) -> tuple[Vocoder, int]:
        """Models on slots run by programs from now on, those of usual units ready: the vocoder, and how many graphs."""
        if not isinstance(gpt, SlotGPT):
            return vocoder, 0
        assert isinstance(vocoder, BigVGAN), "only the CPU has a native one"
        flow, decoding = acoustic.use_programs(self.graphs), VocoderPrograms(vocoder, self.device, self.graphs)
        if self.graphs and self.device.type == "cuda":
            gpt.prepare(PREPARED_UNITS)
            solves, later = plan.solves(acoustic.features_per_code), plan.lookahead_frames
            for known, new in solves:
                flow.prepare(known, new, table())
            decoding.prepare([(new - later, later) for _, new in solves])
        return decoding, gpt.programs.captured + flow.programs.captured + decoding.programs.captured


def _native_gpt(
    config: IndexTTSConfig, weights: Weights, packed: str, *, progress: LoadProgress | None, layers: PackedLayers
) -> NativeGPT:
    return NativeGPT(config, weights, packed=packed, layers=layers)  # `weights` report the progress
