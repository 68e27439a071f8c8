"""The vocoder on a GPU: the chunks that a stream usually has as programs over fixed buffers, others as they come.

A chunk is what `BigVGAN.extend` computes at a time. Its shapes depend on the frames before it only at the beginning of
a stream, so that the programs for the first chunks serve all streams.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor

from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN, BigVGANState
from intone.server.nn.graphs import Program, Programs

Key = tuple[int, int, int, tuple[torch.Size, ...]]


class VocoderPrograms:
    """A vocoder with programs for the chunks of one stream at a time. Not thread-safe.

    Attributes:
        programs: what was captured.
    """

    def __init__(self, vocoder: BigVGAN, device: torch.device, capture: bool) -> None:
        self._vocoder, self._device = vocoder, device
        self.programs = Programs(device, capture)
        self._ready: dict[Key, tuple[_Chunk, Program]] = {}

    def prepare(self, chunks: Sequence[tuple[int, int]]) -> None:
        """Make the programs for the first chunks of a stream ready: numbers of final and of later frames of each."""
        state, bands = self.initial_state(), self._vocoder.config.mel_bands
        for count, later in chunks:
            mel, following = (torch.zeros(bands, frames, device=self._device) for frames in (count, later))
            key = self._key(mel, following, state)
            final, pending, after = self._vocoder.extend(mel, following, state, last=False)
            if key not in self._ready:
                chunk = _Chunk(mel, following, _joined(state), state, final, pending, _joined(after), after)
                self._ready[key] = chunk, self.programs.ready(partial(self._run, chunk))
            state = after

    def initial_state(self) -> BigVGANState:
        """As `BigVGAN.initial_state`."""
        return self._vocoder.initial_state()

    def extend(
        self, mel: Tensor, following: Tensor, state: BigVGANState, last: bool
    ) -> tuple[Tensor, Tensor, BigVGANState]:
        """As `BigVGAN.extend`."""
        found = None if last else self._ready.get(self._key(mel, following, state))
        if found is None:
            return self._vocoder.extend(mel, following, state, last)
        chunk, run = found
        chunk.mel.copy_(mel)
        chunk.following.copy_(following)
        torch.cat([tail.flatten() for tail in state.tails], out=chunk.before)
        run()
        after = BigVGANState(_parts(chunk.after.clone(), chunk.next_state), state.frames + mel.shape[1])
        return chunk.final.clone(), chunk.pending.clone(), after

    def _key(self, mel: Tensor, following: Tensor, state: BigVGANState) -> Key:
        early = min(state.frames, self._vocoder.lookahead_frames)  # later ones have the same number of pending samples
        return mel.shape[1], following.shape[1], early, tuple(tail.shape for tail in state.tails)

    def _run(self, chunk: "_Chunk") -> None:
        state = BigVGANState(_parts(chunk.before, chunk.state), chunk.state.frames)
        final, pending, after = self._vocoder.extend(chunk.mel, chunk.following, state, last=False)
        chunk.final.copy_(final)
        chunk.pending.copy_(pending)
        torch.cat([tail.flatten() for tail in after.tails], out=chunk.after)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Buffers of a chunk, named as in `BigVGAN.extend`, and tails joined as `[n]` before and after it.

    `state` and `next_state` have the shapes of the tails, and `state` the number of frames before the chunk.
    """

    mel: Tensor
    following: Tensor
    before: Tensor
    state: BigVGANState
    final: Tensor
    pending: Tensor
    after: Tensor
    next_state: BigVGANState


def _joined(state: BigVGANState) -> Tensor:
    return torch.cat([tail.flatten() for tail in state.tails])


def _parts(joined: Tensor, like: BigVGANState) -> tuple[Tensor, ...]:
    """Views of joined tails, with the shapes of those of a state."""
    shapes = [tail.shape for tail in like.tails]
    return tuple(
        part.view(shape) for part, shape in zip(joined.split([prod(shape) for shape in shapes]), shapes, strict=True)
    )
