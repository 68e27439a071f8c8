"""VoxCPM on a GPU: the state of all units in slots of fixed buffers, and programs over them that can be captured.

A unit has a slot: its patch, its hidden states, its time table and the tail of its audio decoder are rows of buffers,
its keys and values pages (`nn.paged_kv`). A program reads and writes the slots that a small buffer names, for a fixed
number of units (`BATCHES`); rows that are left over name the slot of nobody. Units join and leave at every step, each
with its own steps, guidance and seed. On the CPU the same programs run without capture, for tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intone.server import ops
from intone.server.domain import Samples
from intone.server.engines.devices import allow_tf32, free_bytes, own_stream
from intone.server.engines.voxcpm.audio_vae import AudioVAE, DecoderState
from intone.server.engines.voxcpm.flow import TimeTable
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import Prompt
from intone.server.engines.voxcpm.slot_stack import SlotStack
from intone.server.engines.voxcpm.slot_vae import SlotDecoder
from intone.server.engines.weights import LoadProgress
from intone.server.nn.graphs import Program, Programs, bucket_of
from intone.server.nn.paged_kv import PAGE, Lease, Rows, SlotPool
from intone.server.nn.transfer import fetch, fill

BATCHES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
EVALUATIONS = (3, 5, 7, 9, 11, 15, 19, 24, 31, 49, 99)
"""Evaluations of the flow; a unit with fewer steps than the others of its batch moves by nothing in the last ones."""

PREFILL_UNITS = (1, 2, 4, 8)
PREFILL_POSITIONS = (32, 64, 96, 128, 192, 256)
"""Longer prompts are read alone and not captured."""


NEW_UNITS = PREFILL_UNITS[-1]
"""Units that begin in one step: one pass over the weights reads the prompts of so many."""

LOADED_SHARE = 0.8
"""Of the progress bar: the rest is for captures."""

PREPARED_UNITS = 64
"""Units at once whose programs are captured at load; those of more when they are needed."""

KV_SHARE = 0.3
"""Of the free memory of a device, at most, for keys and values."""

USUAL_POSITIONS = 1024
"""Positions for each slot, on average: a unit of 40 tokens takes 300, with the voice of a recording of 15 s 450."""


@dataclass(slots=True)
class SlotUnit:
    """A unit in its slot; dropping it frees the slot.

    Attributes:
        length: positions in its pages.
        evaluations: of the flow for each patch.
    """

    lease: Lease
    length: int
    evaluations: int

    @property
    def slot(self) -> int:
        """Its row in the buffers."""
        return self.lease.slot


class SlotModel:
    """The model with its slots. Not thread-safe.

    Args:
        model: built with `SLOT_BACKEND` and the audio VAE in torch.
        slots: units at once, at most `BATCHES[-1]`.
        pages: for keys and values of all units.
        capture: see `Programs`.

    Attributes:
        model: the model.
        pool: which slots are free.
        programs: what was captured.
    """

    def __init__(self, model: VoxCPM, slots: int, pages: int, capture: bool) -> None:
        config, device = model.config, model.device
        base, residual = model.lm.base, model.lm.residual
        assert isinstance(base, SlotStack) and isinstance(residual, SlotStack), "built with SLOT_BACKEND"
        assert slots <= BATCHES[-1]
        self.model, self._device = model, device
        self._base, self._residual = base, residual
        self.pool = SlotPool(slots, pages, config.max_length, device)
        self._base_kv, self._residual_kv = base.new_kv(pages), residual.new_kv(pages)
        rows, hidden = slots + 1, (config.base.hidden, config.local_dit.hidden)
        self._patch = torch.zeros(rows, config.patch_frames, config.latent_dim, device=device)
        self._coarse, self._fine = (torch.zeros(rows, hidden[0], dtype=model.dtype, device=device) for _ in range(2))
        self._times = torch.zeros(rows, EVALUATIONS[-1], hidden[1], dtype=model.dtype, device=device)
        self._step_sizes = torch.zeros(rows, EVALUATIONS[-1], device=device)
        assert isinstance(model.vae, AudioVAE), "built with `on_slots`"
        self._decoder = SlotDecoder(model.vae, rows)
        self.programs = Programs(device, capture, urgent=True)
        self._ready: dict[tuple[str, int, int], Program] = {}
        self._batches: dict[int, _Batch] = {}
        self._prefills: dict[tuple[int, int], _Prefill] = {}

    @classmethod
    def loaded(cls, build: Callable[..., VoxCPM], capture: bool, progress: LoadProgress | None = None) -> "SlotModel":
        """Build the model, with slots as the memory of its device allows, and capture what most steps need."""

        def share(first: float, last: float) -> LoadProgress | None:
            return None if progress is None else lambda done: progress(first + done * (last - first))

        model = build(on_slots=True, progress=share(0.0, LOADED_SHARE))
        allow_tf32(model.device, model.dtype != torch.float32)
        with own_stream(model.device, urgent=True)(), torch.inference_mode():
            slots, pages = _room(model)
            made = cls(model, slots, pages, capture)
            if capture and model.device.type == "cuda":
                made.prepare(PREPARED_UNITS, model.config.steps - 1, share(LOADED_SHARE, 1.0))
        return made

    def prepare(self, max_units: int, evaluations: int, progress: Callable[[float], None] | None = None) -> None:
        """Make the programs for up to `max_units` units ready, before anyone waits for them."""
        sizes = [size for size in BATCHES if size < max_units] + [bucket_of(max_units, BATCHES)]
        prompts = [(units, count) for units in PREFILL_UNITS if units <= sizes[-1] for count in PREFILL_POSITIONS]
        count = bucket_of(evaluations, EVALUATIONS)
        steps: list[Callable[[], object]] = [partial(self._prefill_program, *key) for key in prompts]
        for size in sizes:
            steps += [partial(self._advance_program, size), partial(self._make_program, size, count)]
            steps.append(partial(self._decode_program, size))
        for done, step in enumerate(steps, 1):
            step()
            if progress:
                progress(done / len(steps))

    def admit(self, prompt: Prompt, max_positions: int, times: TimeTable, decoder: DecoderState) -> SlotUnit | None:
        """Give a unit a slot and write its initial state; None where there is no room now.

        Raises:
            ValueError: there would never be room for `max_positions`, which prompt and patches take.
        """
        lease = self.pool.lease(max_positions)
        if lease is None:
            return None
        slot, count = lease.slot, len(times.lengths)
        self._patch[slot] = prompt.previous
        self._times[slot, :count] = times.embeddings
        sizes = torch.zeros(EVALUATIONS[-1])
        sizes[:count] = torch.tensor(times.lengths)
        fill(self._step_sizes[slot], sizes)
        self._decoder.admit(slot, decoder)
        return SlotUnit(lease, len(prompt), count)

    def prefill(self, units: Sequence[SlotUnit], prompts: Sequence[Prompt]) -> None:
        """Read the prompts of new units, those of similar length together."""
        groups: dict[tuple[int, bool], list[int]] = {}
        for row, unit in enumerate(units):
            captured = unit.length <= PREFILL_POSITIONS[-1]
            padded = bucket_of(unit.length, PREFILL_POSITIONS) if captured else -(-unit.length // PAGE) * PAGE
            groups.setdefault((padded, captured), []).append(row)
        for (padded, captured), rows in groups.items():
            most = PREFILL_UNITS[-1] if captured else 1
            for first in range(0, len(rows), most):
                chosen = rows[first : first + most]
                self._read([units[row] for row in chosen], [prompts[row] for row in chosen], padded, captured)

    def _read(self, units: Sequence[SlotUnit], prompts: Sequence[Prompt], padded: int, captured: bool) -> None:
        """One pass over prompts of at most `padded` positions."""
        size = bucket_of(len(units), PREFILL_UNITS)
        if captured:
            run, buffers = self._prefill_program(size, padded), self._prefills[size, padded]
        else:
            buffers = self._prefill_buffers(size, padded)
            run = partial(self._prefill, buffers)
        buffers.write(units, prompts)
        run()

    def advance(self, units: Sequence[SlotUnit]) -> None:
        """From the latest patch of each unit to the hidden states that condition its next one."""
        size = bucket_of(len(units), BATCHES)
        run = self._advance_program(size)
        self._batch(size).write(units)
        run()
        for unit in units:
            unit.length += 1

    def make(self, units: Sequence[SlotUnit], noise: NDArray[np.float32], guidance: Sequence[float]) -> None:
        """Solve the flow from `noise` `[n, P, D]` to the next patch of each unit."""
        size = bucket_of(len(units), BATCHES)
        run = self._make_program(size, bucket_of(max(unit.evaluations for unit in units), EVALUATIONS))
        self._decode_program(size)  # before the batch names units, see `_program`
        batch = self._batch(size)
        batch.write(units)
        fill(batch.noise[: len(units)], torch.from_numpy(noise))
        fill(batch.guidance[: len(units)], torch.tensor(guidance))
        run()

    def decode(self, units: Sequence[SlotUnit]) -> tuple[Samples, NDArray[np.bool_]]:
        """The audio of the patches just made, `[n, T]`, and whether each is its unit's last, `[n]`.

        The same units as in the `make` before it. Waits for the device.
        """
        size = bucket_of(len(units), BATCHES)
        self._decode_program(size)()
        host = fetch(self._batch(size).result[: len(units)])
        return host[:, :-1], host[:, -1] > 0

    # ---- programs

    def _batch(self, size: int) -> "_Batch":
        if size not in self._batches:
            config = self.model.config
            samples = config.patch_frames * self.model.vae.hop_out_samples
            self._batches[size] = _Batch.build(size, config.patch_frames, config.latent_dim, samples, self._device)
        return self._batches[size]

    def _program(self, name: str, size: int, count: int, body: Program) -> Program:
        """Ready to run; captured with the slot of nobody in every row."""
        key = (name, size, count)
        if key not in self._ready:
            self._batch(size).clear()
            self._ready[key] = self.programs.ready(body)
        return self._ready[key]

    def _advance_program(self, size: int) -> Program:
        batch = self._batch(size)
        return self._program("advance", size, 0, lambda: self._advance(batch))

    def _make_program(self, size: int, evaluations: int) -> Program:
        batch = self._batch(size)
        return self._program("make", size, evaluations, lambda: self._make(batch, evaluations))

    def _decode_program(self, size: int) -> Program:
        batch = self._batch(size)
        return self._program("decode", size, 0, lambda: self._decode(batch))

    def _prefill_program(self, size: int, count: int) -> Program:
        key = ("prefill", size, count)
        if key not in self._ready:
            buffers = self._prefills[size, count] = self._prefill_buffers(size, count)
            self._ready[key] = self.programs.ready(lambda: self._prefill(buffers))
        return self._ready[key]

    def _prefill_buffers(self, size: int, count: int) -> "_Prefill":
        hidden = self.model.config.base.hidden
        return _Prefill.build(size, count, hidden, self.model.dtype, self._device)

    def _prefill(self, buffers: "_Prefill") -> None:
        lengths, slots = buffers.index[0], buffers.index[1]
        rows = Rows.first(self.pool.tables[slots], lengths, buffers.tokens.shape[1])
        coarse, fine = self.model.lm.prefill_rows(
            buffers.tokens, buffers.is_audio, buffers.audio, rows, self._base_kv, self._residual_kv
        )
        last = (lengths - 1).clamp_min(0)
        each = torch.arange(len(lengths), device=self._device)
        self._coarse.index_copy_(0, slots, coarse[each, last])
        self._fine.index_copy_(0, slots, fine[each, last])

    def _advance(self, batch: "_Batch") -> None:
        slots, lengths = batch.index.unbind()
        embedded = self.model.encoder(self._patch[slots])
        coarse, fine = self.model.lm.decode_rows(
            embedded, self.pool.tables[slots], lengths, self._base_kv, self._residual_kv
        )
        self._coarse.index_copy_(0, slots, coarse)
        self._fine.index_copy_(0, slots, fine)

    def _make(self, batch: "_Batch", evaluations: int) -> None:
        slots, model = batch.index[0], self.model
        coarse, fine = self._coarse[slots], self._fine[slots]
        condition = model.dit.condition(coarse, fine, self._patch[slots])
        times = self._times[slots, :evaluations].transpose(0, 1).unsqueeze(2)  # [E, B, 1, H]
        lengths = self._step_sizes[slots, :evaluations].t().contiguous()  # [E, B]
        both = condition.with_unconditional()
        patches = batch.noise
        for length, time in zip(lengths, times.repeat(1, 2, 1, 1), strict=True):
            velocity = model.dit.velocity(patches, both, time)
            patches = ops.guided_step(patches, velocity, batch.guidance, length)
        self._patch.index_copy_(0, slots, patches)
        batch.result[:, -1] = model.lm.should_stop(coarse).float()

    def _decode(self, batch: "_Batch") -> None:
        slots = batch.index[0]
        batch.result[:, :-1] = self._decoder.decode(self._patch[slots], slots)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Inputs and results of the programs for B units.

    Attributes:
        index: `[2, B]`, int64: slots, and positions of each so far.
        noise: `[B, P, D]`.
        guidance: `[B]`.
        result: `[B, T + 1]`: audio of a patch, and 1 where it is the last one.
    """

    index: Tensor
    noise: Tensor
    guidance: Tensor
    result: Tensor

    @classmethod
    def build(cls, size: int, frames: int, latent_dim: int, samples: int, device: torch.device) -> "_Batch":
        return cls(
            torch.zeros(2, size, dtype=torch.int64, device=device),
            torch.zeros(size, frames, latent_dim, device=device),
            torch.ones(size, device=device),
            torch.zeros(size, samples + 1, device=device),
        )

    def write(self, units: Sequence[SlotUnit]) -> None:
        """Name these units; the other rows name nobody."""
        index = torch.zeros(self.index.shape, dtype=torch.int64)
        index[0, : len(units)] = torch.tensor([unit.slot for unit in units])
        index[1, : len(units)] = torch.tensor([unit.length for unit in units])
        fill(self.index, index)

    def clear(self) -> None:
        """Name nobody."""
        self.index.zero_()


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Inputs of the prefill of B prompts of at most L positions.

    Attributes:
        index: `[2, B]`, int64: lengths, and slots.
        tokens: `[B, L]`, int64.
        is_audio: `[B, L, 1]`, bool.
        audio: `[B, L, H]`, embeddings where `is_audio`.
    """

    index: Tensor
    tokens: Tensor
    is_audio: Tensor
    audio: Tensor

    @classmethod
    def build(cls, size: int, count: int, hidden: int, dtype: torch.dtype, device: torch.device) -> "_Prefill":
        return cls(
            torch.zeros(2, size, dtype=torch.int64, device=device),
            torch.zeros(size, count, dtype=torch.int64, device=device),
            torch.zeros(size, count, 1, dtype=torch.bool, device=device),
            torch.zeros(size, count, hidden, dtype=dtype, device=device),
        )

    def write(self, units: Sequence[SlotUnit], prompts: Sequence[Prompt]) -> None:
        """The prompts of these units; other rows are empty prompts of nobody."""
        index = torch.zeros(self.index.shape, dtype=torch.int64)
        tokens = torch.zeros(self.tokens.shape, dtype=torch.int64)
        is_audio = torch.zeros(self.is_audio.shape, dtype=torch.bool)
        for row, (unit, prompt) in enumerate(zip(units, prompts, strict=True)):
            index[0, row], index[1, row] = len(prompt), unit.slot
            tokens[row, : len(prompt)] = prompt.tokens
            is_audio[row, prompt.audio_positions] = True
            for first, last, at in _runs(prompt.audio_positions.tolist()):
                self.audio[row, first:last] = prompt.audio[at : at + last - first]
        for buffer, values in ((self.index, index), (self.tokens, tokens), (self.is_audio, is_audio)):
            fill(buffer, values)


def _runs(positions: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs of consecutive numbers: first, last + 1, and the index of the first one."""
    runs: list[tuple[int, int, int]] = []
    for at, position in enumerate(positions):
        if runs and runs[-1][1] == position:
            runs[-1] = (runs[-1][0], position + 1, runs[-1][2])
        else:
            runs.append((position, position + 1, at))
    return runs


def _room(model: VoxCPM) -> tuple[int, int]:
    """Slots, and pages for their keys and values: at least for one unit of the greatest length."""
    config = model.config
    sizes = [stack.layers * stack.kv_heads * stack.head_dim for stack in (config.base, config.residual)]
    page_bytes = 2 * PAGE * sum(sizes) * model.dtype.itemsize
    least = -(-config.max_length // PAGE)
    wanted = BATCHES[-1] * USUAL_POSITIONS // PAGE
    pages = max(least, min(wanted, int(KV_SHARE * free_bytes(model.device) / page_bytes)))
    return min(BATCHES[-1], pages), pages
