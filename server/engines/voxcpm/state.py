"""What the engine remembers of one unit."""

from dataclasses import dataclass, field

from torch import Tensor

from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.flow import TimeTable
from intone.server.engines.voxcpm.length_limits import Silence
from intone.server.engines.voxcpm.lm import Caches, Wish
from intone.server.engines.voxcpm.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Beginning:
    """Positions with which many prompts begin.

    Attributes:
        prompt: these positions.
        caches: what the models remember of them; empty until the first unit needs it, never changed again.
    """

    prompt: Prompt
    caches: Caches


@dataclass(slots=True)
class Progress:
    """The model's own memory of a unit; exists from the first step on.

    Attributes:
        caches: positions read so far.
        wish: for the patch being made, `[H]` each.
        patch: `[P, D]`, float32, the patch made last; before the first one, the end of the prompt.
        times: for the unit's number of steps.
    """

    caches: Caches
    wish: Wish
    patch: Tensor
    times: TimeTable


@dataclass(slots=True)
class VoxCPMState:
    """One unit. Changed by `step` only.

    Attributes:
        prompt: to be read; None once it has been.
        beginning: what other prompts begin with too; None if there is nothing.
        shared: positions, from the first one on, that the prompt has in common with it.
        seed: 0 to 2**64 - 1.
        steps: of the flow's grid.
        guidance: weight of the wish; 1 is none.
        earliest_end: the model may end with this patch, counted from 0, or a later one.
        max_patches: the unit is cut here.
        decoder: of the VAE, one row.
        progress: None before the first step.
        made: patches made.
        undecoded: `[D, N]`, frames made but not yet heard; None if there are none.
        silence: since the last sound heard; enough of it ends the unit as the model's own wish does.
        ended: the last patch has been made; nothing follows but `undecoded`.
        cut: it was the last because of `max_patches`.
    """

    prompt: Prompt | None
    seed: int
    steps: int
    guidance: float
    earliest_end: int
    max_patches: int
    decoder: DecoderState
    beginning: Beginning | None = None
    shared: int = 0
    progress: Progress | None = None
    made: int = 0
    undecoded: Tensor | None = None
    silence: Silence = field(default_factory=Silence)
    ended: bool = False
    cut: bool = False

    @property
    def done(self) -> bool:
        """Whether all of it has been heard."""
        return self.ended and self.undecoded is None
