"""Several threads use one model at once, each with a state of its own; `make sanitize` watches them for races."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.ops import ensure_built
from tests.native.test_refusals import HEADS, SIZE, WIDTH, layer, stack, tiny_gpt, tiny_mel_flow

CALLERS = 4
ROUNDS = 3


def _transformer() -> Callable[[], list[Tensor]]:
    model = stack([layer("int8"), layer("fp32")])
    x = torch.randn(9, WIDTH)

    def speak() -> list[Tensor]:
        cache = model.new_cache(20)
        made = [model.prefill(x, cache)]
        other = cache.fork(9, 20)
        made.append(model.step(x[:2], [cache, other]))
        return [*made, model.bidirectional(x[None], 0, 9)]

    return speak


def _forks() -> Callable[[], list[Tensor]]:
    """Sequences that share the blocks of their common beginning."""
    model = stack()
    x = torch.randn(40, WIDTH)
    common = model.new_cache(64)
    model.prefill(x, common)

    def speak() -> list[Tensor]:
        cache = common.fork(33, 64)
        return [model.step(x[:1], [cache]), model.prefill(x[:20], cache)]

    return speak


def _flow() -> Callable[[], list[Tensor]]:
    size, frames = 6, 2
    parts = {"in_weight": (WIDTH, size), "in_bias": (WIDTH,), "out_weight": (size, WIDTH), "out_bias": (size,)}
    parts_of = {name: torch.randn(shape) for name, shape in parts.items()}
    model = ensure_built().LocalFlow(stack=stack(), **parts_of)
    shapes = [(2, frames, size), (2, 1, WIDTH), (2, frames, WIDTH), (3, WIDTH)]
    given: list[Any] = [torch.randn(shape) for shape in shapes]
    return lambda: [model.solve(*given, [0.4, 0.3, 0.3], torch.full((2,), 2.0))]


def _mel_flow() -> Callable[[], list[Tensor]]:
    steps, frames, bands = 2, 70, 3
    model = tiny_mel_flow(bands)
    norms, last_norm = torch.randn(steps, 7, 2, WIDTH), torch.randn(steps, 2, WIDTH)
    times: dict[str, Any] = {"norms": norms, "last_norm": last_norm, "gates": torch.randn(steps, 2, 2 * WIDTH)}
    noise, rows = torch.randn(20, bands), torch.randn(2, frames, WIDTH)
    return lambda: [model.solve(noise, rows, 0.7, **times, lengths=[0.5, 0.5])]


def _convolutions() -> Callable[[], list[Tensor]]:
    nothing = {"alpha": None, "scale": None, "shift": None, "taps": None, "taps_bias": None, "taps_alpha": None}
    sizes = {"dilation": 1, "stride": 1, "residual": False}
    stages = [
        ensure_built().StageWeights(**nothing, weight=torch.randn(34, 9), bias=torch.randn(34), window=3, up=2,
                                    tail_rows=2, **sizes),
        ensure_built().StageWeights(**{**nothing, "alpha": torch.rand(17)}, weight=torch.randn(1, 34),
                                    bias=torch.randn(1), window=2, up=1, tail_rows=1, **sizes),
    ]  # fmt: skip
    model = ensure_built().ConvChain(stages=stages, isa="best")
    x, tails = torch.randn(50, 3), [torch.zeros(1, *shape) for shape in model.tail_shapes]
    return lambda: [part for result in model.run([x, x], [tails, tails]) for part in (result.output, *result.tails)]


def _gpt() -> Callable[[], list[Tensor]]:
    model = tiny_gpt()
    prefix, uniforms = torch.randn(3, HEADS * SIZE), torch.rand(2, 4, dtype=torch.float64)
    settings = ensure_built().SamplingSettings(temperature=1.0, top_k=5, top_p=0.9, penalty=1.5, min_tokens_to_keep=1)

    def speak() -> list[Tensor]:
        units = [model.begin(prefix, 4, settings, []) for _ in range(2)]
        return [part for made in model.generate(units, 4, uniforms) for part in (made.codes, made.hidden)]

    return speak


@pytest.mark.parametrize("model", [_transformer, _forks, _flow, _mel_flow, _convolutions, _gpt])
def test_threads_share_a_model(model: Callable[[], Callable[[], list[Tensor]]]) -> None:
    torch.manual_seed(3)
    torch.set_num_threads(2)  # of the team of each caller
    speak = model()
    alone = speak()
    with ThreadPoolExecutor(CALLERS) as callers:
        results = [future.result() for future in [callers.submit(speak) for _ in range(CALLERS * ROUNDS)]]
    for result in results:
        assert len(result) == len(alone)
        assert all(torch.equal(got, want) for got, want in zip(result, alone, strict=True))
