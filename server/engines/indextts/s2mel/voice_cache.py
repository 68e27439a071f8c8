"""Keys and values of a recording's frames in the flow, computed once for each voice instead of in every chunk.

An approximation: the flow is bidirectional, and the frames of the recording no longer see those that are solved for, in
no layer. They see each other, so all that depends on the recording alone stays exact.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from intone.server.engines.indextts.s2mel.cfm import TimeTable
from intone.server.engines.indextts.s2mel.flow_inputs import FlowInputs
from intone.server.engines.indextts.s2mel.native_flow import NativeFlow

if TYPE_CHECKING:
    from intone.server.engines.indextts.s2mel.acoustic import AcousticPrompt, AcousticSettings, KnownFrames
    from intone.server.ops._C import CachedFrames

BLOCK = 16
"""Frames are cached in multiples of so many."""

MAX_BYTES = 1 << 30
"""Of the voices used last; those of running units come on top. A voice takes 11 MB a step with 430 frames, and the
unconditional sequences of all voices once as much."""


def cached_frames(frames: int, context_frames: int) -> int:
    """How many of a recording's frames are cached; `context_frames` as in `DiT`, which are always computed."""
    return max(0, frames - context_frames) // BLOCK * BLOCK


@dataclass(frozen=True, slots=True)
class CachedVoice:
    """The first frames of a recording at every step of a table.

    Attributes:
        frames: how many.
        steps: of each step, those of the conditional sequence; then, with guidance, of the unconditional one.
    """

    frames: int
    steps: "tuple[CachedFrames, ...]"


@dataclass(slots=True)
class _Sequence:
    """Frames of one sequence, at the first steps of a table.

    Attributes:
        owners: whose ids are in the key: as long as they are referenced here, no other object has their ids.
        rows: `[P, D]`, see `Condition`.
    """

    owners: tuple[object, ...]
    rows: Tensor
    steps: "list[CachedFrames]" = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return sum(step.nbytes for step in self.steps)


class VoiceCache:
    """The voices used last. Not thread-safe."""

    def __init__(self, flow: NativeFlow, inputs: FlowInputs, context_frames: int, max_bytes: int = MAX_BYTES) -> None:
        """`context_frames` as in `cached_frames`."""
        self._flow, self._inputs, self._context_frames, self._max_bytes = flow, inputs, context_frames, max_bytes
        self._sequences: OrderedDict[tuple[int, ...], _Sequence] = OrderedDict()

    def advance(self, prompt: "AcousticPrompt", frames: int | None, settings: "AcousticSettings") -> CachedVoice | None:
        """Compute the last `frames` of a recording, or all, at one more step; None until all steps are there.

        A piece of work takes as long as a step of a solve with so many known frames, for one sequence.
        """
        known, table = prompt.known_frames(frames), settings.times
        count = cached_frames(known.mel.shape[0], self._context_frames)
        if count == 0:
            return CachedVoice(0, ())
        numbers = range(2 if settings.guidance > 0 else 1)
        sequences = [self._sequence(prompt, known, table, number) for number in numbers]
        for sequence in sequences:
            done = len(sequence.steps)
            if done < len(table.lengths):
                norms = table.modulations[done].norms
                sequence.steps.append(self._flow.cache(sequence.rows, count, norms))
                self._drop_oldest(keep=len(sequences))
                return None
        return CachedVoice(count, tuple(step for sequence in sequences for step in sequence.steps))

    def _sequence(self, prompt: "AcousticPrompt", known: "KnownFrames", table: TimeTable, number: int) -> _Sequence:
        """The conditional or, 1, the unconditional one, which is the same for all recordings of a length."""
        key = (number, id(table), known.mel.shape[0], 0 if number else id(prompt))
        found = self._sequences.pop(key, None)
        if found is None:
            mel, content, style = (part.unsqueeze(0) for part in (known.mel, known.condition, known.style))
            rows = self._inputs.condition(mel, content, style, guided=True).rows[number]
            found = _Sequence((table,) if number else (table, prompt), rows)
        self._sequences[key] = found
        return found

    def _drop_oldest(self, keep: int) -> None:
        while len(self._sequences) > keep and sum(each.nbytes for each in self._sequences.values()) > self._max_bytes:
            self._sequences.popitem(last=False)
