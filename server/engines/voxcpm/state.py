"""The state of one unit, between steps."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.config import VoxCPMConfig
from intone.server.engines.voxcpm.flow import TimeTable
from intone.server.engines.voxcpm.length_limits import TrailingSilence
from intone.server.engines.voxcpm.lm import Caches, LMCondition
from intone.server.engines.voxcpm.prompt import Prompt

if TYPE_CHECKING:  # it imports the model, which imports this
    from intone.server.engines.voxcpm.slot_model import SlotUnit


@dataclass(slots=True)
class PromptPrefix:
    """Positions that many prompts start with, and their entry in the prefix cache.

    Attributes:
        prompt: these positions.
        caches: the models' KV caches after them; None until a unit needs them, never changed afterwards.
    """

    prompt: Prompt
    caches: Caches | None = None


@dataclass(slots=True)
class Generation:
    """The model's state of a unit; exists from the first step on.

    Attributes:
        caches: KV caches of all positions so far.
        condition: for the next patch, `[H]` each.
        patch: `[P, D]`, float32, the latest patch; before the first one, the end of the prompt.
        times: time table for the unit's number of steps.
    """

    caches: Caches
    condition: LMCondition
    patch: Tensor
    times: TimeTable


@dataclass(slots=True)
class VoxCPMState:
    """One unit. Changed by `step` only.

    Attributes:
        prompt: None after the prefill.
        seed: 0 to 2**64 - 1.
        steps: of the flow's time grid.
        guidance: weight of the condition; 1 is no guidance.
        earliest_end: index of the first patch that the model may end with.
        max_patches: the unit is cut after this many.
        decoder: state of the VAE's decoder, one row.
        prefix: a prefix that other prompts share; None if there is none.
        shared_length: leading positions of the prompt that are those of `prefix`.
        generation: None before the first step, and for a unit in a slot.
        unit: the unit in its slot, on a GPU; None before there is one.
        made: patches generated.
        undecoded: `[D, N]`, latent frames that have not been decoded; None if there are none.
        silence: the silence at the end of the audio so far; enough of it ends the unit.
        ended: the last patch has been generated; only `undecoded` remains.
        cut: the unit ended because of `max_patches`.
    """

    prompt: Prompt | None
    seed: int
    steps: int
    guidance: float
    earliest_end: int
    max_patches: int
    decoder: DecoderState
    prefix: PromptPrefix | None = None
    shared_length: int = 0
    generation: Generation | None = None
    unit: "SlotUnit | None" = None
    made: int = 0
    undecoded: Tensor | None = None
    silence: TrailingSilence = field(default_factory=TrailingSilence)
    ended: bool = False
    cut: bool = False

    @property
    def done(self) -> bool:
        """Whether all audio has been returned."""
        return self.ended and self.undecoded is None

    def held_bytes(self, config: VoxCPMConfig) -> int:
        """Memory of the decoder, and of keys and values in float32. Slots are there anyway."""
        if self.generation is None:
            return 0
        rows = sum(stack.layers * stack.kv_heads * stack.head_dim for stack in (config.base, config.residual))
        return 2 * 4 * rows * self.generation.caches.length + sum(tensor.nbytes for tensor in self.decoder.tensors)
