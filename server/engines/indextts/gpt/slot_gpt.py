"""The language model and its sampling loop on a GPU: all units in slots of fixed buffers, many codes without a wait.

A step reads the last code of each unit, draws its next one and keeps both on the device; the host only learns of codes
after the last step of a call. Weights and stored keys and values are float16 (or the dtype given), the residual stream,
norms, scores and draws float32. The same draws as `native_gpt.NativeGPT`, with the same numbers: in float32 the same
codes. On the CPU the same program runs without capture, for tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.native_gpt import GeneratedCodes, gpt_tensors
from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling, uniforms
from intone.server.engines.indextts.layers import LayerNorm
from intone.server.engines.weights import Weights
from intone.server.nn.graphs import Program, Programs, bucket_of
from intone.server.nn.paged_kv import PAGE, Lease, PagedKv, Rows, SlotPool
from intone.server.nn.transfer import fetch, fill

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PREFILL_POSITIONS = (64, 96, 128, 192, 256)
MAX_CODES_PER_CALL = 8
MAX_TOP_K = 30
NO_CODE = -1
SPEAKER_ROWS = 34
"""Rows of the prefix beside the text, at most."""


@dataclass(slots=True)
class SlotDecoding:
    """The decoding state of one unit; dropping it frees its slot."""

    lease: Lease
    seed: int
    max_codes: int
    code_count: int = 0
    stopped: bool = False

    @property
    def ended(self) -> bool:
        """Whether no code follows: the stop code was drawn, or `max_codes` are generated."""
        return self.stopped or self.code_count >= self.max_codes


@dataclass(frozen=True, slots=True)
class Block:
    """Weights of one layer: matrices `[out, in]` and biases in the model's dtype, norms in float32."""

    norm_1: LayerNorm
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    norm_2: LayerNorm
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


class SlotGPT:
    """The model with its slots. Not thread-safe.

    Args:
        weights: float32, on the device that computes.
        dtype: of matrices, keys and values.
        slots: units at once, at most `BATCHES[-1]`.
        pages: for keys and values of all units.
        capture: see `Programs`.

    Attributes:
        programs: what was captured.
    """

    def __init__(
        self, config: IndexTTSConfig, weights: Weights, dtype: torch.dtype, slots: int, pages: int, capture: bool
    ) -> None:
        gpt, self.config = config.gpt, config.gpt
        assert slots <= BATCHES[-1]
        tensors = gpt_tensors(config, weights)
        self._codes, self._places = tensors["mel_embedding.weight"], tensors["mel_pos_embedding.emb.weight"]
        self._device, self._dtype, self._size = self._codes.device, dtype, gpt.dim // gpt.heads
        self._blocks = tuple(_block(tensors, f"gpt.h.{index}", dtype) for index in range(gpt.layers))
        self._norms = _norm(tensors, "gpt.ln_f"), _norm(tensors, "final_norm")
        self._head = tensors["mel_head.weight"].to(dtype), tensors["mel_head.bias"].to(dtype)
        self._pool = SlotPool(slots, pages, max_positions(config), self._device)
        self._kv = PagedKv(gpt.layers, gpt.heads, self._size, pages, dtype, self._device)
        rows = slots + 1
        self._code, self._made, self._length, self._min_codes = self._integers(4, rows)
        self._max_codes = torch.ones(rows, dtype=torch.int64, device=self._device)
        self._ended = torch.ones(rows, dtype=torch.bool, device=self._device)
        self._seen = torch.zeros(rows, gpt.codes, dtype=torch.bool, device=self._device)
        self._settings = torch.ones(rows, 5, device=self._device)
        self._unrotated = (
            torch.ones(1, self._size, device=self._device),
            torch.zeros(1, self._size, device=self._device),
        )
        self.programs = Programs(self._device, capture)
        self._steps: dict[int, tuple[_Batch, Program]] = {}
        self._prefills: dict[int, tuple[_Prefix, Program]] = {}

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1

    def prepare(self, max_units: int) -> None:
        """Make the programs for up to `max_units` units ready, before anyone waits for them."""
        for size in (size for size in BATCHES if size <= max_units):
            self._step_program(size)
        for count in PREFILL_POSITIONS:
            self._prefill_program(count)

    def begin(
        self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0
    ) -> SlotDecoding | None:
        """As `NativeGPT.begin`; None where there is no room for the unit now.

        Raises:
            ValueError: `sampling` keeps more codes than `MAX_TOP_K`.
        """
        if not 0 < sampling.top_k <= MAX_TOP_K or sampling.temperature <= 0:
            raise ValueError(f"sampling is {sampling}: expected top_k of 1 to {MAX_TOP_K} and a temperature over 0")
        count = prefix.shape[0]
        lease = self._pool.lease(count + max_codes)
        if lease is None:
            return None
        slot = lease.slot
        for buffer, value in (
            (self._code, self.config.start_code),
            (self._made, 0),
            (self._length, count),
            (self._min_codes, min_codes),
            (self._max_codes, max_codes),
            (self._ended, False),
        ):
            buffer[slot] = value
        self._seen[slot] = False
        self._seen[slot, PENALISED_FROM_THE_START] = True
        self._seen[slot, self.config.start_code] = True
        parts = (sampling.temperature, sampling.top_k, sampling.top_p, sampling.penalty, sampling.min_tokens_to_keep)
        fill(self._settings[slot], torch.tensor(parts, dtype=torch.float32))
        captured = count <= PREFILL_POSITIONS[-1]
        if captured:
            buffers, run = self._prefill_program(bucket_of(count, PREFILL_POSITIONS))
        else:
            buffers = _Prefix.build(-(-count // PAGE) * PAGE, self.config.dim, self._device)
            run = partial(self._prefill, buffers)
        buffers.rows[:count] = prefix
        fill(buffers.index, torch.tensor([[count], [slot]]))
        run()
        return SlotDecoding(lease, seed, max_codes)

    def generate(self, units: Sequence[SlotDecoding], count: int) -> list[GeneratedCodes]:
        """Up to `count` more codes of each unit, fewer where it ends; in the order of `units`. Waits for the device.

        Codes are returned on the host, hidden states on the device.
        """
        batch, run = self._step_program(bucket_of(len(units), BATCHES))
        batch.write(units, count)
        for _ in range(count):
            run()
        codes = fetch(batch.codes[: len(units), :count])
        generated = []
        for row, unit in enumerate(units):
            made = int((codes[row] != NO_CODE).sum())
            unit.code_count += made
            unit.stopped = made < count and unit.code_count < unit.max_codes
            generated.append(GeneratedCodes(torch.from_numpy(codes[row, :made]), batch.hidden[row, :made].clone()))
        return generated

    # ---- programs

    def _integers(self, count: int, rows: int) -> tuple[Tensor, ...]:
        return torch.zeros(count, rows, dtype=torch.int64, device=self._device).unbind()

    def _step_program(self, size: int) -> "tuple[_Batch, Program]":
        if size not in self._steps:
            batch = _Batch.build(size, self.config.dim, self._device)
            self._steps[size] = batch, self.programs.ready(partial(self._step, batch))
        return self._steps[size]

    def _prefill_program(self, count: int) -> "tuple[_Prefix, Program]":
        if count not in self._prefills:
            buffers = _Prefix.build(count, self.config.dim, self._device)
            self._prefills[count] = buffers, self.programs.ready(partial(self._prefill, buffers))
        return self._prefills[count]

    def _step(self, batch: "_Batch") -> None:
        """Read the last code of each unit, the start code first; draw its next code."""
        slots, column = batch.slots, batch.column
        code, made, length, ended = (buffer[slots] for buffer in (self._code, self._made, self._length, self._ended))
        rows = _unrotated(Rows.next(self._pool.tables[slots], length))
        hidden = self._read_one(self._codes[code] + self._places[made], rows)
        logits = functional.linear(hidden.to(self._dtype), *self._head).float()
        barred = torch.where(made < self._min_codes[slots], self.config.stop_code, NO_CODE)
        points = batch.uniforms.index_select(1, column)[:, 0]
        drawn = ops.sample_codes(logits, self._seen[slots], self._settings[slots], barred, points, MAX_TOP_K)
        going = ended.logical_not()
        kept = going & (drawn != self.config.stop_code)
        batch.codes.index_copy_(1, column, torch.where(kept, drawn, NO_CODE).unsqueeze(1))
        batch.hidden.index_copy_(1, column, hidden.unsqueeze(1))
        made = made + kept
        self._seen.index_put_((slots, drawn), torch.ones_like(kept))
        for buffer, value in (
            (self._code, torch.where(kept, drawn, code)),
            (self._made, made),
            (self._length, length + going),
            (self._ended, kept.logical_not() | (made >= self._max_codes[slots])),
        ):
            buffer.index_copy_(0, slots, value)
        column += 1

    def _read_one(self, x: Tensor, rows: Rows) -> Tensor:
        """Append one position `[B, D]` of each unit: the hidden states that predict the next codes, `[B, D]`."""
        heads = self.config.heads
        for index, block in enumerate(self._blocks):
            keys, values = self._kv.keys[index], self._kv.values[index]
            rotated, _ = self._project(block, x, rows, keys, values)
            x = self._finish(
                block, x, ops.decode_attention(rotated[:, :heads], keys, values, rows.tables, rows.lengths, PAGE)
            )
        return self._norms[1](self._norms[0](x))

    def _prefill(self, buffers: "_Prefix") -> None:
        """Store keys and values of a prefix."""
        lengths, slots = buffers.index[0], buffers.index[1]
        rows, x = _unrotated(Rows.first(self._pool.tables[slots], lengths, buffers.rows.shape[0])), buffers.rows
        heads = self.config.heads
        for index, block in enumerate(self._blocks):
            rotated, joined = self._project(block, x, rows, self._kv.keys[index], self._kv.values[index])
            parts = (rotated[:, :heads], rotated[:, heads:], joined[:, 2 * heads :])
            queries, keys, values = (part.transpose(0, 1).unsqueeze(0) for part in parts)
            attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
            x = self._finish(block, x, attended[0].transpose(0, 1).flatten(1))

    def _project(self, block: Block, x: Tensor, rows: Rows, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys `[N, 2 · heads, d]` of rows `[N, D]`, and both with values; keys and values are stored."""
        joined = functional.linear(block.norm_1(x).to(self._dtype), *block.qkv).view(x.shape[0], -1, self._size)
        rotated = ops.rope_append(
            joined, self.config.heads, *self._unrotated, rows.positions, rows.places, keys, values
        )
        return rotated, joined

    def _finish(self, block: Block, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of a layer after attention, on rows `[N, D]`, float32."""
        x = x + functional.linear(attended, *block.out)
        wide = functional.gelu(functional.linear(block.norm_2(x).to(self._dtype), *block.up), approximate="tanh")
        return x + functional.linear(wide, *block.down)


def _unrotated(rows: Rows) -> Rows:
    """With positions of 0, the only one that rotations are known for: this model has none."""
    return replace(rows, positions=torch.zeros_like(rows.positions))


def max_positions(config: IndexTTSConfig) -> int:
    """Of a unit: prefix and codes."""
    return config.gpt.text_positions + SPEAKER_ROWS + config.gpt.code_positions


def page_bytes(config: IndexTTSConfig, dtype: torch.dtype) -> int:
    """Memory of a page of keys and values."""
    return 2 * PAGE * config.gpt.layers * config.gpt.dim * dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Batch:
    """Inputs and results of `generate` for B units.

    Attributes:
        slots: `[B]`, int64.
        column: `[1]`, int64, the step of the call.
        uniforms: `[B, C]`, float64, a number for each draw.
        codes: `[B, C]`, int64, `NO_CODE` after the end of a unit.
        hidden: `[B, C, D]`, float32, the hidden state that predicted each code.
    """

    slots: Tensor
    column: Tensor
    uniforms: Tensor
    codes: Tensor
    hidden: Tensor

    @classmethod
    def build(cls, size: int, dim: int, device: torch.device) -> "_Batch":
        columns = MAX_CODES_PER_CALL + 3  # warming up takes steps, too
        return cls(
            torch.zeros(size, dtype=torch.int64, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
            torch.zeros(size, columns, dtype=torch.float64, device=device),
            torch.zeros(size, columns, dtype=torch.int64, device=device),
            torch.zeros(size, columns, dim, device=device),
        )

    def write(self, units: Sequence[SlotDecoding], count: int) -> None:
        """Name these units, whose next `count` codes are drawn; the other rows name nobody."""
        assert count <= MAX_CODES_PER_CALL
        slots = torch.zeros(self.slots.shape, dtype=torch.int64)
        slots[: len(units)] = torch.tensor([unit.lease.slot for unit in units])
        draws = torch.zeros(self.uniforms.shape, dtype=torch.float64)
        for row, unit in enumerate(units):
            draws[row, :count] = uniforms(unit.seed, unit.code_count, count)
        fill(self.slots, slots)
        fill(self.uniforms, draws)
        self.column.zero_()


@dataclass(frozen=True, slots=True)
class _Prefix:
    """Inputs of the prefill of one prefix: `index` `[2, 1]`, length and slot; `rows` `[L, D]`, the prefix first."""

    index: Tensor
    rows: Tensor

    @classmethod
    def build(cls, count: int, dim: int, device: torch.device) -> "_Prefix":
        return cls(torch.zeros(2, 1, dtype=torch.int64, device=device), torch.zeros(count, dim, device=device))


def _block(tensors: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> Block:
    def matrix(name: str) -> tuple[Tensor, Tensor]:
        weight = tensors[f"{prefix}.{name}.weight"].t().contiguous().to(dtype)
        return weight, tensors[f"{prefix}.{name}.bias"].to(dtype)

    return Block(
        norm_1=_norm(tensors, f"{prefix}.ln_1"),
        qkv=matrix("attn.c_attn"),
        out=matrix("attn.c_proj"),
        norm_2=_norm(tensors, f"{prefix}.ln_2"),
        up=matrix("mlp.c_fc"),
        down=matrix("mlp.c_proj"),
    )


def _norm(tensors: Mapping[str, Tensor], name: str) -> LayerNorm:
    return LayerNorm(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
