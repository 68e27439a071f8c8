"""Quantization error of language model and flow in int8, bfloat16 and float32; batch invariance."""

import dataclasses
from collections.abc import Sequence
from functools import cache, partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from intone.server.config import Config
from intone.server.engines.indextts.checkpoint.config import (
    ConformerConfig,
    DiTConfig,
    GPTConfig,
    IndexTTSConfig,
    PerceiverConfig,
    WaveNetConfig,
)
from intone.server.engines.indextts.checkpoint.random_weights import S2MEL
from intone.server.engines.indextts.gpt.native_gpt import NativeDecoding, NativeGPT
from intone.server.engines.indextts.gpt.sampling import Sampling
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.s2mel.cfm import TimeTable, solve, time_table
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.native_flow import NativeFlow
from intone.server.ops import ensure_built
from intone.server.runtime.loading import loaders
from tests.support.indextts_tiny import tiny_config, untrained, untrained_gpt, weights

EMOTION = ConformerConfig(1024, 64, 128, 4, 2), PerceiverConfig(1024, 64, 1, 4)
SMALL = GPTConfig(64, 3, 4, 300, 130, 60, 80, 0, 1, 128, 129, EMOTION, None)
ODD = dataclasses.replace(SMALL, dim=84, heads=6, codes=1001, start_code=999, stop_code=1000)
WIDE = dataclasses.replace(SMALL, dim=1280, layers=2, heads=20, codes=8194, start_code=8192, stop_code=8193)
ROUNDED = ("bf16", "int8")

# Relative error and cosine distance of the scores for given codes. bfloat16 rounds with a relative error of 2^-9, int8
# with half a step of 1/127 of a row's maximum.
ALLOWED = {"fp32": (2e-6, 1e-7), "bf16": (6e-3, 2e-5), "int8": (3e-2, 4e-4)}


def config_of(model: GPTConfig) -> IndexTTSConfig:
    return dataclasses.replace(tiny_config(), gpt=model)


@cache
def tensors_of(model: GPTConfig) -> dict[str, Tensor]:
    """Random weights with the spread of a trained model's scores, and norms that differ."""
    generator = torch.Generator().manual_seed(3)
    tensors = untrained_gpt(config_of(model), 3)
    tensors["mel_head.weight"] = 3 * tensors["mel_head.weight"]
    for name in [name for name in tensors if "ln_" in name or "_norm" in name]:
        tensors[name] = tensors[name] + 0.1 * torch.randn(tensors[name].shape, generator=generator)
    return tensors


@cache
def python(model: GPTConfig) -> GPT:
    return GPT(config_of(model), weights(tensors_of(model)))


@cache
def native(model: GPTConfig, packed: str) -> NativeGPT:
    return NativeGPT(config_of(model), weights(tensors_of(model)), packed=packed)


def prefix_of(model: GPTConfig, text: Sequence[int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    voice, emotion = torch.randn(1, model.dim, generator=generator), torch.randn(model.dim, generator=generator)
    return python(model).prefix(text, voice, emotion, 1)


def generated(model: NativeGPT, unit: NativeDecoding, sizes: Sequence[int]) -> tuple[list[int], Tensor]:
    written = [model.generate([unit], size)[0] for size in sizes]
    return torch.cat([w.codes for w in written]).tolist(), torch.cat([w.hidden for w in written])


@pytest.mark.parametrize("packed", ALLOWED)
@pytest.mark.parametrize("size", [SMALL, ODD, WIDE], ids=["small", "odd", "wide as published"])
def test_scores_of_given_codes(size: GPTConfig, packed: str) -> None:
    """The reference's scores for the codes that the native model drew."""
    for seed in range(3):
        prefix = prefix_of(size, range(2, 9 + 20 * seed), seed)
        model = native(size, packed)
        codes, hidden = generated(model, model.begin(prefix, 30, Sampling(), seed), (30,))
        unit, first = python(size).begin(prefix, 30)
        expected = torch.cat((first[None], python(size).replay(torch.tensor(codes[:-1]), unit)))
        head = [tensors_of(size)[f"mel_head.{name}"] for name in ("weight", "bias")]
        kept = torch.arange(size.codes) != size.stop_code  # its bias is far from all others
        found = ensure_built().Linear(*head, type=packed)(hidden)[:, kept]
        wanted = python(size).logits(expected)[:, kept]
        relative, distance = ALLOWED[packed]
        rows = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
        assert float(rows.max()) <= relative
        assert float(1 - functional.cosine_similarity(found.double(), wanted.double(), 1).min()) <= distance
        assert packed == "fp32" or float(rows.min()) > 1e-5  # it was rounded


@pytest.mark.parametrize("packed", ROUNDED)
@pytest.mark.parametrize("size", [SMALL, ODD], ids=["small", "odd"])
def test_batched_units_equal_single_ones(size: GPTConfig, packed: str) -> None:
    """Bit for bit, with different texts, seeds, lengths and ends, joining one by one; more than a block of rows."""
    model = native(size, packed)

    def begun(i: int) -> NativeDecoding:
        return model.begin(prefix_of(size, range(i + 1), i), 10 + i, Sampling(temperature=1.3), i)

    alone = [generated(model, begun(i), (40,)) for i in range(30)]
    units: list[NativeDecoding] = []
    codes: list[list[int]] = [[] for _ in alone]
    states: list[list[Tensor]] = [[] for _ in alone]
    while len(units) < len(alone) or not all(unit.ended for unit in units):
        units += [begun(len(units) + i) for i in range(5)] if len(units) < len(alone) else []
        for i, written in enumerate(model.generate(units, 3)):
            codes[i] += written.codes.tolist()
            states[i].append(written.hidden)
    for i, (expected, hidden) in enumerate(alone):
        assert codes[i] == expected and torch.equal(torch.cat(states[i]), hidden)
    assert len({tuple(made[:10]) for made in codes}) == len(codes)


@pytest.mark.parametrize("packed", ROUNDED)
def test_the_flow(packed: str) -> None:
    """A step and all steps of a flow of the published width with few layers, with guidance."""
    config = DiTConfig(512, 8, 5, 80, 512, 192), WaveNetConfig(512, 2, 5, 1)
    tensors = weights(untrained(partial(DiT, *config), 0, S2MEL))
    generator = torch.Generator().manual_seed(1)
    shapes = ((1, 20, 80), (1, 60, 512), (1, 192))
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    noise = torch.randn(1, 40, 80, generator=generator)
    field = DiT(*config, tensors)
    flow = NativeFlow(field, packed)
    told, times = field.inputs.condition(*given, guided=True), time_table(field.inputs, 6, torch.device("cpu"))
    for table in (TimeTable((1.0,), times.modulations[3:4]), times):
        expected, found = (run(noise, told, 0.7, table) - noise for run in (partial(solve, field), flow.solve))
        relative = float((found - expected).norm() / expected.norm())
        distance = 1 - float(functional.cosine_similarity(found.double().flatten(), expected.double().flatten(), 0))
        assert 1e-5 < relative <= ALLOWED[packed][0] and distance <= ALLOWED[packed][1]


@pytest.mark.parametrize("packed", ROUNDED)
def test_the_number_of_threads_does_not_matter(packed: str) -> None:
    prefix, found = prefix_of(WIDE, range(40)), []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        model = native(WIDE, packed)
        found.append(generated(model, model.begin(prefix, 8, Sampling(), 4), (3, 5)))
    torch.set_num_threads(before)
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])


def test_another_precision_is_refused() -> None:
    with pytest.raises(RuntimeError, match="found weights 'int4', expected int8, bf16 or fp32"):
        NativeGPT(config_of(SMALL), weights(tensors_of(SMALL)), packed="int4")


@pytest.mark.parametrize(("dtype", "name"), [("auto", "fp32"), ("int8", "int8"), ("voxcpm=int8,indextts=bf16", "bf16")])
def test_the_engine_uses_the_configured_precision(dtype: str, name: str) -> None:
    config = Config.of(indextts="nano", random_weights=True, starter=False, threads=1, dtype=dtype)
    assert loaders(config)["indextts"]().info.device == f"cpu, 1 threads, {name}"
