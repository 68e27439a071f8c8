"""The packed linear layer: every type of weights on every instruction set that this processor has."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from intone.server.ops import ensure_built

LEVELS = ("portable", "avx2", "avx512", "avx512_bf16")
FLOAT_TYPES = ("fp32", "bf16")
# Outputs and inputs of a layer, with the reason.
SHAPES = [
    pytest.param(1, 1, id="smallest"),
    pytest.param(17, 3, id="one past a register, less than a word"),
    pytest.param(64, 64, id="exactly a block"),
    pytest.param(130, 257, id="ragged in both"),
    pytest.param(384, 1024, id="wide as VoxCPM 1.5"),
]
# 12 and 24 fill the registers with two panels and with one; 25 takes two blocks, 61 three uneven ones.
ROWS = (1, 2, 5, 12, 13, 18, 24, 25, 61)
FLOAT32 = 1e-6
"""Error bound of a float32 sum in any order, relative to the sum of the magnitudes of its products."""


@pytest.fixture(params=LEVELS)
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set; those that the processor lacks are skipped."""
    best = ensure_built().best_isa()
    if LEVELS.index(request.param) > LEVELS.index(best):
        pytest.skip(f"this processor has no {request.param}")
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's threads; restored after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def layer(outputs: int, inputs: int, rows: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Weight `[N, K]`, bias `[N]` and input `[M, K]`; columns and rows differ in magnitude, one of each is zero."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    weight *= torch.logspace(-2, 2, outputs)[:, None]
    x = torch.randn(rows, inputs, generator=generator) * torch.logspace(2, -2, rows)[:, None]
    weight[outputs // 2], x[rows // 2] = 0 if outputs > 1 else 1, 0 if rows > 1 else 1
    return weight, torch.randn(outputs, generator=generator), x


def int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of x as integers of at most 127, and the scale of each."""
    most = x.abs().amax(1)
    factor = torch.where(most > 0, torch.full_like(most, 127) / most, 0)
    return (x * factor[:, None]).round().double(), most / torch.full_like(most, 127)


def assert_within(found: Tensor, expected: Tensor, allowed: Tensor) -> None:
    over = (found.double() - expected).abs() / allowed
    assert float(over.max()) <= 1, f"{float(over.max())} times what is allowed, at {int(over.argmax())}"


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_int8_is_exactly_the_integer_product(outputs: int, inputs: int, isa: str) -> None:
    for rows in ROWS:
        weight, bias, x = layer(outputs, inputs, rows)
        (w, w_scale), (q, q_scale) = int8(weight), int8(x)
        expected = (q @ w.T).float() * (q_scale[:, None] * w_scale) + bias
        found = ensure_built().Linear(weight, bias, type="int8", isa=isa)(x)
        assert torch.equal(found, expected), (rows, (found - expected).abs().max())


def test_int8_at_its_limits(isa: str) -> None:
    """Every product has the maximum magnitude: no intermediate sum overflows."""
    weight = torch.tensor([1.0, -1.0])[:, None].expand(2, 8192).contiguous()
    x = torch.tensor([1.0, -1.0])[:, None].expand(2, 8192).contiguous()
    found = ensure_built().Linear(weight, type="int8", isa=isa)(x)
    assert float((found - torch.tensor([[8192.0, -8192.0], [-8192.0, 8192.0]])).abs().max()) <= 8192 * 1e-6


@pytest.mark.parametrize("kind", FLOAT_TYPES)
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_floats_are_the_product_of_rounded_factors(kind: str, outputs: int, inputs: int, isa: str) -> None:
    rounded = torch.bfloat16 if kind == "bf16" else torch.float32
    for rows in ROWS:
        weight, bias, x = layer(outputs, inputs, rows)
        w, q = weight.to(rounded).double(), x.to(rounded).double()
        found = ensure_built().Linear(weight, bias, type=kind, isa=isa)(x)
        assert_within(found, q @ w.T + bias, FLOAT32 * (q.abs() @ w.abs().T + bias.abs() + 1e-6))


@pytest.mark.parametrize("kind", ("int8", *FLOAT_TYPES))
def test_rows_are_batch_invariant(kind: str, isa: str) -> None:
    weight, bias, x = layer(130, 257, 61)
    linear = ensure_built().Linear(weight, bias, type=kind, isa=isa)
    together = linear(x)
    for first, last in ((0, 1), (7, 9), (10, 22), (20, 44), (60, 61)):
        assert torch.equal(linear(x[first:last]), together[first:last])


@pytest.mark.parametrize("kind", ("int8", *FLOAT_TYPES))
@pytest.mark.parametrize("half", [1, 31, 32, 33, 200])
def test_gated(kind: str, half: int, isa: str) -> None:
    weight, _, x = layer(2 * half, 96, 7)
    weight = weight / weight.norm(dim=1, keepdim=True).clamp_min(1e-6)
    plain = ensure_built().Linear(weight, type=kind, isa=isa)(x).double()
    gate, up = plain[:, :half], plain[:, half:]
    found = ensure_built().Linear(weight, type=kind, isa=isa, gated=True)(x)
    assert_within(found, functional.silu(gate) * up, 1e-6 * (functional.silu(gate) * up).abs() + 1e-6)


@pytest.mark.parametrize("kind", ("int8", *FLOAT_TYPES))
def test_threads_make_no_difference(kind: str, threads: Callable[[int], None]) -> None:
    weight, bias, x = layer(700, 257, 30)
    linear = ensure_built().Linear(weight, bias, type=kind)
    threads(1)
    alone = linear(x)
    for count in (2, 3):
        threads(count)
        for _ in range(20):
            assert torch.equal(linear(x), alone)


def test_concurrent_callers() -> None:
    weight, bias, x = layer(300, 128, 20)
    linear = ensure_built().Linear(weight, bias, type="int8")
    expected, found = linear(x), []

    def call() -> None:
        found.extend(linear(x) for _ in range(20))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 80 and all(torch.equal(result, expected) for result in found)


def test_nan_propagates() -> None:
    weight, bias, x = layer(64, 64, 3)
    x[1, 5] = torch.nan
    for kind in ("int8", *FLOAT_TYPES):
        found = ensure_built().Linear(weight, bias, type=kind)(x)
        assert not found[1].isfinite().any() and found[[0, 2]].isfinite().all()


def test_wrong_arguments_are_refused() -> None:
    make, (weight, bias, x) = ensure_built().Linear, layer(8, 4, 2)
    for wrong, message in [
        (lambda: make(weight, type="int4"), "found weights 'int4', expected int8, bf16 or fp32"),
        (lambda: make(weight, type="int8", isa="sse"), "found instruction set 'sse'"),
        (lambda: make(weight.double(), type="fp32"), "weight is"),
        (lambda: make(weight[0], type="fp32"), "weight is"),
        (lambda: make(weight, bias[:3], type="fp32"), "bias is not"),
        (lambda: make(weight, bias, type="fp32", gated=True), "no bias"),
        (lambda: make(weight, type="fp32")(x[:, :3]), "input is"),
        (lambda: make(weight, type="fp32")(x.half()), "input is"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            wrong()
