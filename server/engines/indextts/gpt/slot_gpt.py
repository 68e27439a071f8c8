"""The language model and its sampling loop on a GPU: all units in slots of fixed buffers, many codes without a wait.

A step reads the last code of each unit, draws its next one and keeps both on the device; the host only learns of codes
after the last step of a call. Weights and stored keys and values are float16 (or the dtype given; weights of layers may
be int8), the residual stream, norms, scores and draws float32. The same draws as `native_gpt.NativeGPT`, with the same
numbers: in float32 the same codes. On the CPU the same program runs without capture, for tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from intone.server import ops
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.native_gpt import GeneratedCodes, gpt_tensors
from intone.server.engines.indextts.gpt.sampling import PENALISED_FROM_THE_START, Sampling, uniforms
from intone.server.engines.indextts.layers import LayerNorm, Linear
from intone.server.engines.weights import Weights
from intone.server.nn.graphs import WARM_UPS, Program, Programs, bucket_of
from intone.server.nn.int8_linear import Int8Linear
from intone.server.nn.paged_kv import PAGE, Lease, PagedKv, Rows, SlotPool
from intone.server.nn.transfer import fetch, fill

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PREFILL_POSITIONS = (64, 96, 128, 192, 256)
CODES_PER_LAUNCH = (8, 4, 2, 1)
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


Projection = Callable[[Tensor], Tensor]
"""`[..., in]` → `[..., out]`."""


@dataclass(frozen=True, slots=True)
class Block:
    """One layer: linear layers in the model's dtype, norms in float32."""

    norm_1: LayerNorm
    qkv: Projection
    out: Projection
    norm_2: LayerNorm
    up: Projection
    down: Projection


class SlotGPT:
    """The model with its slots. Not thread-safe.

    Args:
        weights: float32, on the device that computes.
        dtype: of matrices, keys and values.
        slots: units at once, at most `BATCHES[-1]`.
        pages: for keys and values of all units.
        capture: see `Programs`.
        int8: whether the matrices of the layers have int8 weights.

    Attributes:
        max_batch: units at once.
        programs: what was captured.
    """

    new_units = 4
    """See `EngineInfo`. Prefixes are read one after the other."""

    def __init__(
        self,
        config: IndexTTSConfig,
        weights: Weights,
        dtype: torch.dtype,
        slots: int,
        pages: int,
        capture: bool,
        int8: bool = False,
    ) -> None:
        gpt, self.config, self.max_batch = config.gpt, config.gpt, slots
        assert slots <= BATCHES[-1]
        tensors = gpt_tensors(config, weights)
        self._codes, self._places = tensors["mel_embedding.weight"], tensors["mel_pos_embedding.emb.weight"]
        self._device, self._dtype, self._size = self._codes.device, dtype, gpt.dim // gpt.heads
        self._blocks = tuple(_block(tensors, f"gpt.h.{index}", dtype, int8) for index in range(gpt.layers))
        self._norms = _norm(tensors, "gpt.ln_f"), _norm(tensors, "final_norm")
        self._head = tensors["mel_head.weight"].to(dtype), tensors["mel_head.bias"].to(dtype)
        self._pool = SlotPool(slots, pages, max_positions(config), self._device)
        self._kv = PagedKv(gpt.layers, gpt.heads, self._size, pages, dtype, self._device)
        rows = slots + 1
        self._counters = torch.tensor([[0, 0, 0, 0, 1, 1]]).repeat(rows, 1).to(self._device)  # nobody has ended
        self._seen = torch.zeros(rows, gpt.codes, dtype=torch.bool, device=self._device)
        self._settings = torch.ones(rows, 5, device=self._device)
        self.programs = Programs(self._device, capture)
        self._batches: dict[int, _Batch] = {}
        self._steps: dict[tuple[int, int], Program] = {}
        self._prefills: dict[int, tuple[_Prefix, Program]] = {}

    def max_codes(self) -> int:
        """Codes that the position table has room for."""
        return self.config.code_positions - 1

    def prepare(self, max_units: int) -> None:
        """Make the programs for up to `max_units` units ready, before anyone waits for them."""
        for size in (size for size in BATCHES if size <= max_units):
            for codes in CODES_PER_LAUNCH:
                self._step_program(size, codes)
        for count in PREFILL_POSITIONS:
            self._prefill_program(count)

    def begin(
        self, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0, shared: int = 0
    ) -> SlotDecoding | None:
        """As `NativeGPT.begin`, but nothing is kept of the `shared` rows; None where there is no room for the unit now.

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
        counters = [self.config.start_code, 0, count, min_codes, max_codes, 0]
        fill(self._counters[slot], torch.tensor(counters))
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
        batch = self._batch(bucket_of(len(units), BATCHES))
        # Before the batch names units and holds codes: to capture a program, it is run.
        programs = [self._step_program(len(batch.slots), codes) for codes in _launches(count)]
        batch.write(units, count)
        for run in programs:
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

    def _batch(self, size: int) -> "_Batch":
        if size not in self._batches:
            self._batches[size] = _Batch.build(size, self.config.dim, self._device)
        return self._batches[size]

    def _step_program(self, size: int, codes: int) -> Program:
        """Ready to run; captured with the slot of nobody in every row."""
        if (size, codes) not in self._steps:
            batch = self._batch(size)
            batch.slots.zero_()
            batch.column.zero_()
            self._steps[size, codes] = self.programs.ready(partial(self._step, batch, codes))
        return self._steps[size, codes]

    def _prefill_program(self, count: int) -> "tuple[_Prefix, Program]":
        if count not in self._prefills:
            buffers = _Prefix.build(count, self.config.dim, self._device)
            self._prefills[count] = buffers, self.programs.ready(partial(self._prefill, buffers))
        return self._prefills[count]

    def _step(self, batch: "_Batch", codes: int) -> None:
        """Draw the next `codes` codes of each unit."""
        for _ in range(codes):
            self._draw(batch)

    def _draw(self, batch: "_Batch") -> None:
        """Read the last code of each unit, the start code first; draw its next code."""
        slots, column = batch.slots, batch.column
        code, made, length = self._counters[slots].t().contiguous()[:3].unbind()
        hidden = self._read_one(self._codes[code] + self._places[made], self._pool.tables[slots], length)
        logits = functional.linear(hidden.to(self._dtype), *self._head).float()
        drawn = ops.draw_codes(
            logits,
            slots,
            self._seen,
            self._settings,
            self._counters,
            batch.uniforms,
            column,
            self.config.stop_code,
            MAX_TOP_K,
        )
        batch.codes.index_copy_(1, column, drawn.unsqueeze(1))
        batch.hidden.index_copy_(1, column, hidden.unsqueeze(1))
        column += 1

    def _read_one(self, x: Tensor, tables: Tensor, lengths: Tensor) -> Tensor:
        """Append one position `[B, D]` of each unit: the hidden states that predict the next codes, `[B, D]`."""

        def attend(index: int, joined: Tensor) -> Tensor:
            keys, values = self._kv.keys[index], self._kv.values[index]
            return ops.append_attention(joined, self.config.heads, None, None, keys, values, tables, lengths, PAGE)

        return self._norms[1](self._norms[0](self._through(x, attend)))

    def _prefill(self, buffers: "_Prefix") -> None:
        """Store keys and values of a prefix."""
        lengths, slots = buffers.index[0], buffers.index[1]
        places, heads = Rows.first(self._pool.tables[slots], lengths, buffers.rows.shape[0]).places, self.config.heads

        def attend(index: int, joined: Tensor) -> Tensor:
            self._kv.keys[index].index_copy_(0, places, joined[:, heads : 2 * heads])
            self._kv.values[index].index_copy_(0, places, joined[:, 2 * heads :])
            queries, keys, values = (part.transpose(0, 1).unsqueeze(0) for part in joined.chunk(3, dim=1))
            attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
            return attended[0].transpose(0, 1).flatten(1)

        self._through(buffers.rows, attend)

    def _through(self, x: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        """All layers over rows `[N, D]`, float32; `attend` takes the index of a layer and `[N, 3 · heads, d]`."""
        stream, norm = x.clone(), self._blocks[0].norm_1
        normed = norm(x).to(self._dtype)
        for index, block in enumerate(self._blocks):
            joined = block.qkv(normed).view(x.shape[0], -1, self._size)
            normed = _added(stream, block.out(attend(index, joined)), block.norm_2)
            wide = functional.gelu(block.up(normed), approximate="tanh")
            after = self._blocks[min(index + 1, len(self._blocks) - 1)].norm_1  # the last one is not used
            normed = _added(stream, block.down(wide), after)
        return stream


def _added(stream: Tensor, delta: Tensor, norm: LayerNorm) -> Tensor:
    """Add to the stream in place, and norm it."""
    return ops.add_norm(stream, delta, norm.weight, norm.bias, norm.eps, centred=True)


def _launches(count: int) -> list[int]:
    """The numbers of codes of the programs that draw `count` codes."""
    found: list[int] = []
    while count:
        found.append(next(codes for codes in CODES_PER_LAUNCH if codes <= count))
        count -= found[-1]
    return found


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
        columns = MAX_CODES_PER_CALL * WARM_UPS  # warming up takes steps, too
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


def _block(tensors: Mapping[str, Tensor], prefix: str, dtype: torch.dtype, int8: bool) -> Block:
    def matrix(name: str) -> Projection:
        weight = tensors[f"{prefix}.{name}.weight"].t().contiguous().to(dtype)
        return (Int8Linear.of if int8 else Linear)(weight, tensors[f"{prefix}.{name}.bias"].to(dtype))

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
