"""What the engine remembers of one unit while it is being spoken."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from intone.server.domain import SpeakRequest
from intone.server.engines.indextts.gpt.native_gpt import NativeUnit
from intone.server.engines.indextts.s2mel.acoustic import AcousticSettings
from intone.server.engines.indextts.s2mel.streaming import AcousticState, ChunkPlan
from intone.server.engines.indextts.text.front_end import Reading
from intone.server.engines.indextts.vocoder.bigvgan import BigVGANState
from intone.server.engines.indextts.vocoder.crossfader import Crossfader
from intone.server.engines.indextts.voice.emotion_clips import Clip
from intone.server.engines.indextts.voice.prepared_voice import Speaker


@dataclass(slots=True)
class IndexTTSState:
    """One unit. Dropping it cancels the unit.

    Attributes:
        clip: whose emotion is to be followed, None for that of the request's weights.
        min_codes: before which neither the model nor the guard against repetition may end it.
        max_codes: the length guard.
        acoustic: None before the first step, as is `writer`.
        codes, hidden: what the language model has written and the acoustic model has not taken.
        written: all codes, for the guard against repetition.
        ended: no code follows.
        cut: a guard ended it, not the model.
        waited_steps: it had enough to speak, and another unit's turn it was.
    """

    request: SpeakRequest
    reading: Reading
    speaker: Speaker
    clip: Clip | None
    plan: ChunkPlan
    settings: AcousticSettings
    min_codes: int
    max_codes: int
    vocoder: BigVGANState
    joint: Crossfader = field(default_factory=Crossfader)
    acoustic: AcousticState | None = None
    writer: NativeUnit | None = None
    codes: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    ended: bool = False
    cut: bool = False
    waited_steps: int = 0

    @property
    def pending(self) -> int:
        """Codes that the acoustic model has not taken."""
        return sum(len(codes) for codes in self.codes)

    @property
    def done(self) -> bool:
        """Whether nothing follows."""
        return self.ended and self.acoustic is not None and self.acoustic.done

    @property
    def heard(self) -> bool:
        """Whether some of it was made sound."""
        return self.acoustic is not None and self.acoustic.chunks > 0

    def take_codes(self) -> tuple[Tensor, Tensor]:
        """What is pending, `[n]` and `[n, D]`; it then is not any more."""
        codes = torch.cat(self.codes) if self.codes else torch.zeros(0, dtype=torch.long)
        hidden = torch.cat(self.hidden) if self.hidden else torch.zeros(0, 0)
        self.codes, self.hidden = [], []
        return codes, hidden
