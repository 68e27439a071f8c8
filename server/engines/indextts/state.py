"""The engine's state of one unit."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.domain import SpeakRequest
from intone.server.engines.indextts.gpt.native_gpt import NativeDecoding
from intone.server.engines.indextts.gpt.slot_gpt import SlotDecoding
from intone.server.engines.indextts.s2mel.acoustic import AcousticSettings
from intone.server.engines.indextts.s2mel.streaming import AcousticState, ChunkPlan
from intone.server.engines.indextts.text.front_end import TokenizedText
from intone.server.engines.indextts.vocoder.bigvgan import BigVGANState
from intone.server.engines.indextts.vocoder.crossfader import Crossfader
from intone.server.engines.indextts.vocoder.source import SourcedState
from intone.server.engines.indextts.voice.emotion_clips import EmotionClip
from intone.server.engines.indextts.voice.prepared_voice import Speaker

if TYPE_CHECKING:
    from intone.server.ops._C import ConvGraphState


@dataclass(slots=True)
class IndexTTSState:
    """One unit. Dropping it cancels the unit.

    Attributes:
        clip: the recording whose emotion the unit imitates; None to use the request's emotion weights.
        min_codes: neither the model nor the repetition guard ends the unit before that many codes.
        max_codes: the length guard.
        decoding, acoustic: None before the first step.
        codes, hidden: codes that the acoustic model has not used yet, and their hidden states.
        all_codes: every code of the unit, for the repetition guard.
        ended: no code follows.
        cut: a guard ended the unit, not the model.
        waited_steps: consecutive steps in which the unit had enough codes but another unit was synthesized.
    """

    request: SpeakRequest
    tokenized: TokenizedText
    speaker: Speaker
    clip: EmotionClip | None
    plan: ChunkPlan
    settings: AcousticSettings
    min_codes: int
    max_codes: int
    vocoder: "BigVGANState | ConvGraphState | SourcedState"
    crossfader: Crossfader = field(default_factory=Crossfader)
    acoustic: AcousticState | None = None
    decoding: NativeDecoding | SlotDecoding | None = None
    codes: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    all_codes: list[int] = field(default_factory=list)
    ended: bool = False
    cut: bool = False
    waited_steps: int = 0

    @property
    def needs_clip(self) -> bool:
        """Whether the recording is not encoded yet that the unit is to imitate."""
        return self.clip is not None and self.clip.vector is None

    @property
    def pending(self) -> int:
        """Codes that the acoustic model has not used yet."""
        return sum(len(codes) for codes in self.codes)

    @property
    def done(self) -> bool:
        """Whether no audio follows."""
        return self.ended and self.acoustic is not None and self.acoustic.done

    @property
    def has_audio(self) -> bool:
        """Whether audio of the unit has been returned."""
        return self.acoustic is not None and self.acoustic.chunks > 0

    def take_codes(self) -> tuple[Tensor, Tensor]:
        """Remove and return the pending codes `[n]` and their hidden states `[n, D]`."""
        codes = torch.cat(self.codes) if self.codes else torch.zeros(0, dtype=torch.long)
        hidden = torch.cat(self.hidden) if self.hidden else torch.zeros(0, 0)
        self.codes, self.hidden = [], []
        return codes, hidden
