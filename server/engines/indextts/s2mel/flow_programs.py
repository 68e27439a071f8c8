"""The flow of IndexTTS on a GPU: one step of a solve for fixed numbers of frames, captured and replayed for every step.

A solve is laid out at the end of its buffers: known frames, then new ones. What is in front of them is hidden from
attention; the WaveNet, which looks at neighbours, sees only frames whose result is not used there. Positions count
relative to each other, so that moving a solve to the end changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.cfm import TimeTable
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import Condition, Modulation
from intone.server.engines.indextts.s2mel.fused_layers import FusedLayers
from intone.server.nn.graphs import Program, Programs, bucket_of
from intone.server.nn.transfer import fill

NEW_FRAMES = (64, 128, 192, 256)
ALL_FRAMES = tuple(range(128, 1025, 64))
MAX_STEPS = 100


class FlowPrograms:
    """Solves for one unit at a time. Not thread-safe.

    Attributes:
        programs: what was captured.
    """

    def __init__(self, dit: DiT, device: torch.device, capture: bool) -> None:
        self._dit, self._device, self._layers = dit, device, FusedLayers(dit)
        self.programs = Programs(device, capture)
        self._ready: dict[tuple[int, int, bool], tuple[_Buffers, Program]] = {}
        self._schedule: _Schedule | None = None
        self._table: TimeTable | None = None

    def fits(self, known: int, new: int) -> bool:
        """Whether there is a program for a solve of so many frames."""
        enough = known >= self._dit.context_frames  # so that no edge is in reach of a new frame
        return enough and new <= NEW_FRAMES[-1] and self._sizes(known, new)[0] <= ALL_FRAMES[-1]

    def prepare(self, known: int, new: int, table: TimeTable) -> None:
        """Make the program for solves of so many frames, with guidance, ready before anyone waits for it."""
        if self.fits(known, new):
            self._load(table)
            self._program(*self._sizes(known, new), guided=True)

    def solve(self, noise: Tensor, condition: Condition, guidance: float, table: TimeTable) -> Tensor:
        """As `cfm.solve`, for one unit: noise `[1, F, M]` and a condition that `fits` → `[1, F, M]`."""
        new, count = noise.shape[1], condition.rows.shape[1]
        self._load(table)
        buffers, run = self._program(*self._sizes(condition.prompt, new), guided=guidance > 0)
        buffers.write(noise, condition.rows, count, guidance)
        for _ in table.lengths:
            run()
        return buffers.x[:, -new:].clone()

    def _sizes(self, known: int, new: int) -> tuple[int, int]:
        """Frames of the buffers, all and new ones; with room for the WaveNet's context in front of the new ones."""
        window = bucket_of(new, NEW_FRAMES)
        least = max(known + new, window + self._dit.context_frames)
        return next((size for size in ALL_FRAMES if size >= least), least), window

    def _load(self, table: TimeTable) -> None:
        """Put the parameters of a table's steps where the programs read them."""
        if self._schedule is None:
            self._schedule = _Schedule.build(table, self._device)
        if table is not self._table:
            self._schedule.write(table)
            self._table = table

    def _program(self, frames: int, window: int, guided: bool) -> "tuple[_Buffers, Program]":
        key = (frames, window, guided)
        if key not in self._ready:
            buffers = _Buffers.build(self._dit, frames, window, guided, self._device)
            self._ready[key] = buffers, self.programs.ready(partial(self._step, buffers))
        return self._ready[key]

    def _step(self, buffers: "_Buffers") -> None:
        schedule = self._schedule
        assert schedule is not None, "`_load` comes first"
        time, length = schedule.at(buffers.step)
        prompt = buffers.rows.shape[1] - buffers.x.shape[1]
        condition = Condition(buffers.rows, prompt, buffers.visible)
        velocity = self._dit.velocity(buffers.x, condition, time, self._layers)
        if buffers.guided:
            conditional, unconditional = velocity.chunk(2)
            velocity = torch.lerp(unconditional, conditional, 1 + buffers.guidance)
        buffers.x.copy_(torch.where(buffers.new, buffers.x + length * velocity, 0))
        buffers.step.add_(1)


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The parameters of `MAX_STEPS` steps: `lengths` `[E]`, and the parts of `Modulation` with E in front."""

    lengths: Tensor
    parts: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def build(cls, table: TimeTable, device: torch.device) -> "_Schedule":
        first = table.modulations[0]
        norms, last, gates = (part.new_zeros(MAX_STEPS, *part.shape) for part in (first.norms, first.last, first.gates))
        return cls(torch.zeros(MAX_STEPS, device=device), (norms, last, gates))

    def write(self, table: TimeTable) -> None:
        """Those of a table; at most `MAX_STEPS`."""
        count = len(table.lengths)
        fill(self.lengths[:count], torch.tensor(table.lengths))
        readers: tuple[Callable[[Modulation], Tensor], ...] = (lambda m: m.norms, lambda m: m.last, lambda m: m.gates)
        for buffer, read in zip(self.parts, readers, strict=True):
            buffer[:count] = torch.stack([read(modulation) for modulation in table.modulations])

    def at(self, step: Tensor) -> tuple[Modulation, Tensor]:
        """Of the step whose number is in `step` `[1]`."""
        norms, last, gates = (part.index_select(0, step)[0] for part in self.parts)
        return Modulation(norms, last, gates), self.lengths.index_select(0, step)


@dataclass(frozen=True, slots=True)
class _Buffers:
    """A solve of at most T frames, W of them new.

    Attributes:
        x: `[1, W, M]`, noisy mel, zero in frames that are not new.
        rows: `[R, T, D]`, as in `Condition`.
        visible: `[T]`, bool, frames of the solve.
        new: `[W, 1]`, bool.
        guidance: `[1]`.
        step: `[1]`, int64, number of the next step.
    """

    x: Tensor
    rows: Tensor
    visible: Tensor
    new: Tensor
    guidance: Tensor
    step: Tensor
    guided: bool

    @classmethod
    def build(cls, dit: DiT, frames: int, window: int, guided: bool, device: torch.device) -> "_Buffers":
        return cls(
            x=torch.zeros(1, window, dit.mel_bands, device=device),
            rows=torch.zeros(2 if guided else 1, frames, dit.hidden, device=device),
            visible=torch.ones(frames, dtype=torch.bool, device=device),
            new=torch.ones(window, 1, dtype=torch.bool, device=device),
            guidance=torch.zeros(1, device=device),
            step=torch.zeros(1, dtype=torch.int64, device=device),
            guided=guided,
        )

    def write(self, noise: Tensor, rows: Tensor, count: int, guidance: float) -> None:
        """Lay out a solve of `count` frames at the end."""
        new = noise.shape[1]
        self.x.zero_()
        self.x[:, -new:] = noise
        self.rows.zero_()
        self.rows[:, -count:] = rows
        self.visible.zero_()
        self.visible[-count:] = True
        self.new.zero_()
        self.new[-new:] = True
        self.guidance.fill_(guidance)
        self.step.zero_()
