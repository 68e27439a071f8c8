"""The native language model against the reference: equal codes and hidden states for any batching and chunking."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import (
    ConformerConfig,
    GPTConfig,
    IndexTTSConfig,
    PerceiverConfig,
    Variant,
)
from intone.server.engines.indextts.gpt.native_gpt import MAX_VOICES, NativeDecoding, NativeGPT
from intone.server.engines.indextts.gpt.sampling import Sampling, uniforms
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import (
    GREEDY,
    BatchSampling,
    barred,
    cut,
    draw,
    seen_at_start,
)
from intone.server.ops import ensure_built
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import tiny_config, untrained_gpt, weights

EMOTION = ConformerConfig(1024, 64, 128, 4, 2), PerceiverConfig(1024, 64, 1, 4)
OFFICIAL = GPTConfig(64, 3, 4, 300, 130, 60, 80, 0, 1, 128, 129, EMOTION, None)
LONG = dataclasses.replace(OFFICIAL, max_codes=400)  # several blocks of positions
# Width and head size that are no multiples of a vector or panel, and more codes.
ODD = dataclasses.replace(OFFICIAL, dim=84, layers=2, heads=6, codes=1001, start_code=999, stop_code=1000)
ISAS = ("portable", "avx2", "avx512", "avx512_bf16")
CLOSE = {"fp32": 1e-5, "bf16": 0.02, "int8": 0.06}
"""Error of the hidden states by type of weights, in norms."""

SAMPLINGS = (
    Sampling(),
    Sampling(temperature=1.3, top_k=0, top_p=0.9, penalty=1.5),
    Sampling(temperature=0.6, top_k=5, top_p=1.0, penalty=2.0),
    Sampling(temperature=1.0, top_k=50, top_p=0.3, penalty=1.0, min_tokens_to_keep=3),
    GREEDY,
)


def config_of(model: GPTConfig) -> IndexTTSConfig:
    return dataclasses.replace(tiny_config(), gpt=model)


@cache
def tensors_of(model: GPTConfig, ends: bool = False) -> dict[str, Tensor]:
    """Random weights with the spread of a trained model's scores; `ends`: with a stop code that can be drawn."""
    generator = torch.Generator().manual_seed(3)
    tensors = untrained_gpt(config_of(model), 3)
    tensors["mel_head.weight"] = 3 * tensors["mel_head.weight"]
    for name in [name for name in tensors if "ln_" in name or "_norm" in name]:
        tensors[name] = tensors[name] + 0.1 * torch.randn(tensors[name].shape, generator=generator)
    if ends:
        tensors["mel_head.bias"][model.stop_code] = 4.0
    return tensors


@cache
def both(model: GPTConfig, ends: bool = False, upstream: bool = False) -> tuple[GPT, NativeGPT]:
    read = weights(tensors_of(model, ends))
    return GPT(config_of(model), read, upstream), NativeGPT(config_of(model), read, upstream)


def prefix_of(model: GPT, text: Sequence[int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = model.config.dim
    return model.prefix(text, torch.randn(1, width, generator=generator), torch.randn(width, generator=generator), 1)


def python_unit(
    model: GPT, prefix: Tensor, max_codes: int, sampling: Sampling, seed: int, min_codes: int = 0
) -> tuple[list[int], list[Tensor]]:
    """A unit's codes and the hidden states that predicted them, from the reference."""
    unit, hidden = model.begin(prefix, max_codes)
    config = model.config
    seen = seen_at_start(config.codes, config.start_code, hidden.device)
    columns = BatchSampling.of([sampling], config.codes, hidden.device)
    codes: list[int] = []
    states: list[Tensor] = []
    while len(codes) < max_codes:
        allowed = barred(model.logits(hidden)[None], config.stop_code, torch.tensor([len(codes) < min_codes]))
        kept, scores = cut(allowed, seen[None], columns)
        code = draw(kept, scores, uniforms(seed, len(codes), 1))
        if int(code) == config.stop_code:
            break
        codes.append(int(code))
        states.append(hidden)
        seen[code] = True
        hidden = model.advance(code, [unit])[0]
    return codes, states


def generated(model: NativeGPT, unit: NativeDecoding, sizes: Sequence[int]) -> tuple[list[int], Tensor]:
    written = [model.generate([unit], size)[0] for size in sizes]
    return torch.cat([w.codes for w in written]).tolist(), torch.cat([w.hidden for w in written])


@pytest.mark.parametrize("size", [OFFICIAL, ODD], ids=["even", "odd"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_codes_and_hidden_states_equal_the_reference(size: GPTConfig, sampling: Sampling) -> None:
    python, native = both(size)
    kinds = set()
    for seed in range(6):
        prefix = prefix_of(python, range(2, 5 + 7 * seed), seed)
        codes, states = python_unit(python, prefix, 60, sampling, seed)
        mine, hidden = generated(native, native.begin(prefix, 60, sampling, seed), (60,))
        assert mine == codes and len(codes) == 60
        assert_close(hidden, torch.stack(states))
        kinds |= set(codes)
    assert len(kinds) > 20  # a unit of one repeated code would prove little


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("packed", CLOSE)
def test_every_instruction_set(packed: str, isa: str) -> None:
    """The hidden states of the prefix and of the same first code, in a width that is no multiple of a register."""
    if ISAS.index(isa) > ISAS.index(ensure_built().best_isa()):
        pytest.skip(f"this processor has no {isa}")
    python, _ = both(ODD)
    native = NativeGPT(config_of(ODD), weights(tensors_of(ODD)), packed=packed, isa=isa)
    prefix = prefix_of(python, range(2, 40))
    codes, states = python_unit(python, prefix, 9, GREEDY, 0)
    mine, hidden = generated(native, native.begin(prefix, 9, GREEDY, 0), (9,))
    same = next((i for i, pair in enumerate(zip(mine, codes, strict=True)) if pair[0] != pair[1]), 8) + 1
    assert same >= 2
    expected = torch.stack(states[:same])
    assert float((hidden[:same] - expected).norm() / expected.norm()) <= CLOSE[packed]


@pytest.mark.parametrize("shared", [1, 3, 70])
def test_the_beginning_of_a_prefix_is_computed_once(shared: int) -> None:
    """Bit for bit as without it, whatever follows, also where it ends within a block of positions."""
    python, _ = both(LONG)
    native = NativeGPT(config_of(LONG), weights(tensors_of(LONG)))
    beginning = torch.randn(shared, LONG.dim, generator=torch.Generator().manual_seed(9))
    for seed, text in enumerate([[5], [6, 7, 8], range(40)]):
        prefix = torch.cat((beginning, prefix_of(python, text, seed)))
        whole, hidden = generated(native, native.begin(prefix, 90, SAMPLINGS[1], seed), (90,))
        unit = native.begin(prefix, 90, SAMPLINGS[1], seed, shared=shared)
        codes, states = generated(native, unit, (90,))
        assert codes == whole and torch.equal(states, hidden)
        assert len(native._voices) == 1
    for seed in range(MAX_VOICES + 3):
        native.begin(prefix_of(python, [1], seed), 5, GREEDY, 0, shared=3)
    assert len(native._voices) == MAX_VOICES


def test_a_long_unit() -> None:
    python, native = both(LONG)
    prefix = prefix_of(python, range(50))
    codes, states = python_unit(python, prefix, 400, SAMPLINGS[1], 2**64 - 1)
    mine, hidden = generated(native, native.begin(prefix, 400, SAMPLINGS[1], 2**64 - 1), (400,))
    assert mine == codes and len(set(codes)) > 60
    assert_close(hidden, torch.stack(states))


def test_official_greedy_codes(require: Callable[..., Any]) -> None:
    goldens = golden(require, "gpt")
    native = NativeGPT(config_of(OFFICIAL), weights(under(goldens, "w")))
    for case in "abc":
        unit = native.begin(goldens[f"{case}.out.prefix"], 20, GREEDY, 0)
        codes, hidden = generated(native, unit, (20,))
        assert codes == goldens[f"{case}.out.codes"].tolist()
        assert_close(hidden, goldens[f"{case}.out.hidden"][-21:-1])


def test_positions_of_the_official_loop() -> None:
    python, native = both(OFFICIAL, upstream=True)
    prefix = prefix_of(python, [5, 6])
    codes, _ = python_unit(python, prefix, 30, SAMPLINGS[2], 1)
    assert generated(native, native.begin(prefix, 30, SAMPLINGS[2], 1), (30,))[0] == codes
    assert codes != python_unit(both(OFFICIAL)[0], prefix, 30, SAMPLINGS[2], 1)[0]


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 20), max_size=8))
def test_any_number_of_codes_per_call_gives_the_same(sizes: list[int]) -> None:
    python, native = both(OFFICIAL)
    prefix = prefix_of(python, [9, 8, 7])
    whole, hidden = generated(native, native.begin(prefix, 80, SAMPLINGS[1], 7), (80,))
    pieces, states = generated(native, native.begin(prefix, 80, SAMPLINGS[1], 7), [*sizes, 80])
    assert pieces == whole and torch.equal(states, hidden)


@pytest.mark.parametrize("count", [2, 4, 5, 9])
def test_batched_units_equal_single_ones(count: int) -> None:
    """Bit for bit, with different texts, settings, seeds, lengths and ends, joining one by one."""
    python, native = both(OFFICIAL, ends=True)

    def begun(i: int) -> NativeDecoding:
        return native.begin(prefix_of(python, range(i + 1), i), 20 + 5 * i, SAMPLINGS[i % len(SAMPLINGS)], i)

    alone = [generated(native, begun(i), (100,)) for i in range(count)]
    units: list[NativeDecoding] = []
    codes: list[list[int]] = [[] for _ in range(count)]
    states: list[list[Tensor]] = [[] for _ in range(count)]
    for turn in range(40):
        if turn < count:
            units.append(begun(turn))
        for i, written in enumerate(native.generate(units, 3)):
            codes[i] += written.codes.tolist()
            states[i].append(written.hidden)
    for i in range(count):
        assert codes[i] == alone[i][0] and torch.equal(torch.cat(states[i]), alone[i][1])
        assert units[i].ended and units[i].code_count == len(codes[i])
    assert count == 2 or len({len(made) for made in codes}) > 1


def test_a_unit_ends_at_the_stop_code() -> None:
    python, native = both(OFFICIAL, ends=True)
    lengths = set()
    for seed in range(20):
        prefix = prefix_of(python, [3, 4, seed], seed)
        codes, _ = python_unit(python, prefix, 80, SAMPLINGS[1], seed)
        unit = native.begin(prefix, 80, SAMPLINGS[1], seed)
        assert generated(native, unit, (7, 7, 7, 80))[0] == codes
        assert unit.ended and OFFICIAL.stop_code not in codes
        lengths.add(len(codes))
        assert generated(native, unit, (5,))[0] == []
    assert len(lengths) > 5 and max(lengths) < 80


@pytest.mark.parametrize("sampling", [*SAMPLINGS, Sampling(top_k=0, top_p=1.0, min_tokens_to_keep=130)])
def test_no_unit_ends_before_min_codes(sampling: Sampling) -> None:
    python, native = both(OFFICIAL, ends=True)
    lengths: dict[int, list[int]] = {0: [], 30: []}
    for seed, min_codes in itertools.product(range(12), lengths):
        prefix = prefix_of(python, [3, 4, seed], seed)
        codes, states = python_unit(python, prefix, 60, sampling, seed, min_codes)
        mine, hidden = generated(native, native.begin(prefix, 60, sampling, seed, min_codes), (7, 60))
        assert mine == codes and OFFICIAL.stop_code not in codes
        if codes:
            assert_close(hidden, torch.stack(states))
        lengths[min_codes].append(len(codes))
    assert min(lengths[0]) < 30 <= min(lengths[30])


def test_a_unit_ends_at_max_codes() -> None:
    python, native = both(OFFICIAL)
    unit = native.begin(prefix_of(python, [1]), 11, SAMPLINGS[0], 0)
    first, second = native.generate([unit], 10)[0], native.generate([unit], 10)[0]
    assert (len(first.codes), len(second.codes)) == (10, 1) and unit.ended and unit.code_count == 11


def test_no_units_or_codes_requested() -> None:
    python, native = both(OFFICIAL)
    assert native.generate([], 5) == []
    unit = native.begin(prefix_of(python, [1]), 11, SAMPLINGS[0], 0)
    written = native.generate([unit], 0)[0]
    assert written.codes.shape == (0,) and written.hidden.shape == (0, OFFICIAL.dim) and not unit.ended


def test_the_number_of_threads_does_not_matter() -> None:
    wide = dataclasses.replace(OFFICIAL, dim=512, heads=8, layers=1)
    python, native = both(wide)
    prefix = prefix_of(python, range(40))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(generated(native, native.begin(prefix, 20, SAMPLINGS[1], 4), (20,)))
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


def test_the_gil_is_released(turns_while: Callable[..., int]) -> None:
    wide = dataclasses.replace(OFFICIAL, dim=512, heads=8, layers=2)
    python, native = both(wide)
    unit = native.begin(prefix_of(python, range(40)), 80, SAMPLINGS[1], 4)
    assert turns_while(lambda: native.generate([unit], 80)) > 100 and unit.code_count == 80


BAD = {
    r"the prefix is \[3, 5\] Float on cpu, expected \[S, 64\] Float on cpu": (torch.zeros(3, 5), 10),
    "max_codes is 0, expected 1 to 82": (torch.zeros(3, 64), 0),
    "max_codes is 83, expected 1 to 82": (torch.zeros(3, 64), 83),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_prefix_is_refused(message: str) -> None:
    prefix, max_codes = BAD[message]
    with pytest.raises(RuntimeError, match=message):
        both(OFFICIAL)[1].begin(prefix, max_codes, GREEDY, 0)


def test_the_same_unit_twice_in_a_call_is_refused() -> None:
    python, native = both(OFFICIAL)
    unit = native.begin(prefix_of(python, [1]), 11, GREEDY, 0)
    with pytest.raises(RuntimeError, match="a unit is in the batch twice"):
        native.generate([unit, unit], 1)


def test_nan_scores_are_refused() -> None:
    tensors = dict(tensors_of(OFFICIAL))
    tensors["mel_head.bias"] = tensors["mel_head.bias"].clone().index_fill_(0, torch.tensor(17), float("nan"))
    native = NativeGPT(config_of(OFFICIAL), weights(tensors))
    unit = native.begin(prefix_of(both(OFFICIAL)[0], [1]), 11, GREEDY, 0)
    with pytest.raises(RuntimeError, match="the score of code 17 is not a number"):
        native.generate([unit], 1)


def test_max_codes_equal_the_reference() -> None:
    python, native = both(OFFICIAL)
    assert native.begin(prefix_of(python, [1]), python.max_codes(), GREEDY, 0).code_count == 0


def test_version_2() -> None:
    config = dataclasses.replace(tiny_config(Variant.V2), gpt=OFFICIAL)
    read = weights(untrained_gpt(config, 3))
    python, native = GPT(config, read), NativeGPT(config, read)
    prefix = prefix_of(python, [5, 6, 7])
    codes, states = python_unit(python, prefix, 40, SAMPLINGS[1], 3)
    mine, hidden = generated(native, native.begin(prefix, 40, SAMPLINGS[1], 3), (40,))
    assert mine == codes
    assert_close(hidden, torch.stack(states))
