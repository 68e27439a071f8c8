"""Every native operation against its reference in float64, on every case, device and dtype; loading the extension.

To add an operation, add an entry to `op_cases.OPS`.
"""

import logging
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from intone.server import ops
from intone.server.errors import ExtensionError
from intone.server.ops import native, reference
from tests.support.op_case import Case, Inputs, Op
from tests.support.op_cases import OPS, cast

# Largest |got - want| / (1 + |want|).
TOLERANCE = {
    ("cpu", torch.float32): 1e-6,  # a few roundings of a number near 1; measured 2.1e-7
    ("cpu", torch.bfloat16): 2**-8 + 1e-5,  # half a unit in the last of 8 bits, computed in float32
    ("cpu", torch.float16): 2**-11 + 1e-5,  # the same with 11 bits
    ("cuda", torch.float32): 1e-5,  # the fast sine of the device
    ("cuda", torch.bfloat16): 2**-8 + 1e-4,
    ("cuda", torch.float16): 2**-11 + 1e-4,
}

ROWS = [
    pytest.param(name, case, device, dtype, id=f"{name}-{index}-{device}-{str(dtype).removeprefix('torch.')}")
    for name, op in OPS.items()
    for index, case in enumerate(op.cases)
    for device, dtype in TOLERANCE
    if dtype in op.dtypes
]


def _inputs(op: Op, case: Case, device: str, dtype: torch.dtype) -> Inputs:
    return cast(op, op.inputs(case, torch.Generator().manual_seed(5)), device, dtype)


@pytest.fixture
def on_device(require: Callable[..., Any]) -> Callable[[str, str], None]:
    """Skips a case whose device is missing; `REQUIRE_CUDA=1` makes that a failure."""

    def check(device: str, name: str) -> None:
        if device == "cuda":
            require("cuda", torch.cuda.is_available(), "no CUDA device")
            ops.ensure_built()
            has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key(f"intone::{name}", "CUDA")
            require("cuda", has_kernel, f"{name} has no CUDA kernel yet")

    return check


@pytest.mark.parametrize(("name", "case", "device", "dtype"), ROWS)
def test_op_equals_its_reference(
    name: str, case: Case, device: str, dtype: torch.dtype, on_device: Callable[[str, str], None]
) -> None:
    on_device(device, name)
    op = OPS[name]
    inputs = _inputs(op, case, device, dtype)
    kept = {n: t.clone() for n, t in enumerate(inputs) if isinstance(t, torch.Tensor) and n not in op.changes}

    got = op.call(*inputs)

    like = inputs[0] if got.shape == inputs[0].shape else torch.empty(got.shape)
    assert got.dtype == (torch.int64 if op.exact else op.result or dtype) and got.stride() == like.stride()
    assert all(torch.equal(inputs[n], before) for n, before in kept.items())
    exact = cast(op, _inputs(op, case, device, dtype), device, torch.float64)  # of the rounded inputs
    want = op.reference(*exact)
    results = [(got, want), *((inputs[n], exact[n]) for n in op.changes)]
    for found, expected in results:
        assert found.shape == expected.shape
        error = ((found.double() - expected.double()).abs() / (1 + expected.double().abs())).flatten()
        if error.numel():
            worst = int(error.argmax())
            message = f"{name}: {case.why}: error {error[worst]:.3g} at element {worst}"
            allowed = 0.0 if op.exact else TOLERANCE[device, dtype]
            assert float(error[worst]) <= allowed, message  # also false for NaN


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_op_passes_opcheck(name: str, dtype: torch.dtype) -> None:
    ops.ensure_built()
    if dtype not in OPS[name].dtypes:
        pytest.skip(f"{name} does not compute in {dtype}")
    for case in (case for case in OPS[name].cases if not case.perf):
        inputs = _inputs(OPS[name], case, "cpu", dtype)
        # Without the autograd checks: these operations have no gradient.
        torch.library.opcheck(
            getattr(torch.ops.intone, name).default, inputs, test_utils=["test_schema", "test_faketensor"]
        )


def test_snake_propagates_nan() -> None:
    x = torch.tensor([[[math.nan, math.inf, -math.inf, 0.0, 1e-30, 3e38]]])
    got = ops.snake(x, torch.ones(1))[0, 0]
    assert got[:3].isnan().all()
    assert torch.equal(got[3:], x[0, 0, 3:])


def test_snake_with_an_alpha_of_zero_is_the_identity() -> None:
    x = torch.randn(1, 3, 40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ops.snake(x, torch.zeros(3)), x)


def test_snake_is_the_same_on_any_number_of_threads() -> None:
    x = torch.randn(2, 64, 3001, generator=torch.Generator().manual_seed(1))
    alpha = torch.rand(64, generator=torch.Generator().manual_seed(2)) + 0.5
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.snake(x, alpha))
    assert torch.equal(*results)


def test_snake_beta_is_the_same_on_any_number_of_threads() -> None:
    x = torch.randn(2, 64, 3001, generator=torch.Generator().manual_seed(1))
    alpha, beta = torch.rand(2, 64, generator=torch.Generator().manual_seed(2)) + 0.5
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.snake_beta(x, alpha, beta))
    assert torch.equal(*results)


def test_snake_beta_of_a_constant_equals_snake() -> None:
    x = torch.full((1, 3, 40), 0.7)
    alpha, beta = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([2.0, 1.0, 0.25])
    want = x + torch.sin(alpha[:, None] * x).square() / beta[:, None]
    assert float((ops.snake_beta(x, alpha, beta) - want).abs().max()) <= 1e-6


def test_snake_beta_reach() -> None:
    x = torch.randn(1, 1, 41, generator=torch.Generator().manual_seed(1))
    other = x.clone()
    other[..., 20] += 1.0
    one = torch.ones(1)
    touched = (ops.snake_beta(x, one, one) != ops.snake_beta(other, one, one))[0, 0].nonzero().flatten()
    assert (int(touched[0]), int(touched[-1])) == (20 - ops.SNAKE_BETA_REACH, 20 + ops.SNAKE_BETA_REACH)


def test_the_anti_alias_filter_passes_low_and_stops_high() -> None:
    taps = reference.anti_alias_filter()
    assert torch.equal(taps, taps.flip(0)) and abs(float(taps.sum()) - 1) < 1e-15
    response = torch.fft.rfft(taps, 512).abs()
    assert float((response[:52] - 1).abs().max()) < 0.13 and float(response[206:].max()) < 0.004


X, ALPHA = torch.zeros(2, 3, 4), torch.ones(3)
BAD = {
    "x has 2 dimensions": (X[0], ALPHA),
    "alpha has 2 dimensions": (X, ALPHA[:, None]),
    "alpha has size 3 along axis 0, expected 4": (X.transpose(1, 2), ALPHA),
    "x is Double": (X.double(), ALPHA.double()),
    "alpha is BFloat16, expected Float as x": (X, ALPHA.bfloat16()),
    "x has strides": (torch.zeros(2, 3, 8)[:, :, ::2], ALPHA),
}


@pytest.mark.parametrize("message", BAD)
def test_snake_refuses_and_names_the_argument(message: str) -> None:
    with pytest.raises(RuntimeError, match=f"snake: {message}"):
        ops.snake(*BAD[message])


BAD_BETA = {
    "x has 2 dimensions": (X[0], ALPHA, ALPHA, 0, 0),
    "x has strides": (X.transpose(1, 2), ALPHA.new_ones(4), ALPHA.new_ones(4), 0, 0),
    "x is Double": (X.double(), ALPHA.double(), ALPHA.double(), 0, 0),
    "alpha has size 2 along axis 0, expected 3": (X, ALPHA[:2], ALPHA, 0, 0),
    "beta has size 2 along axis 0, expected 3": (X, ALPHA, ALPHA[:2], 0, 0),
    "beta is Half, expected Float as x": (X, ALPHA, ALPHA.half(), 0, 0),
    "before is 3 and after is 2": (X, ALPHA, ALPHA, 3, 2),
    "before is -1 and after is 0": (X, ALPHA, ALPHA, -1, 0),
}


@pytest.mark.parametrize("message", BAD_BETA)
def test_snake_beta_refuses_and_names_the_argument(message: str) -> None:
    with pytest.raises(RuntimeError, match=f"snake_beta: {message}"):
        ops.snake_beta(*BAD_BETA[message])


@pytest.fixture
def stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`stamp(release)` makes the loader find a stub extension that was built for that torch."""
    package = tmp_path / "stamped_extension"

    def make(release: str) -> None:
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "_C.py").write_bytes(b"# intone-built-for-torch=" + release.encode() + b"\0")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(native, "BUILT", "stamped_extension._C")
        monkeypatch.setattr(native, "import_module", lambda name: f"imported {name}")

    yield make
    sys.modules.pop(package.name, None)


def test_an_extension_for_another_torch_is_compiled_anew(
    stamp: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stamp("0.4.1")
    calls: list[dict[str, Any]] = []

    def compile_and_load(**arguments: Any) -> ModuleType:
        calls.append(arguments)
        return math

    monkeypatch.setattr("torch.utils.cpp_extension.load", compile_and_load)
    with caplog.at_level(logging.WARNING):
        assert native.load.__wrapped__() is math
    assert "just in time, because it was built for 0.4.1, and torch is 2." in caplog.text
    assert any(source.endswith("snake.cpp") for source in calls[0]["sources"])


def test_an_extension_for_this_torch_is_used(stamp: Callable[[str], None]) -> None:
    stamp(torch.__version__.split("+")[0])
    assert native.load.__wrapped__() == "imported stamped_extension._C"


def test_without_extension_and_source_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "BUILT", "intone.server.ops._absent")
    monkeypatch.setattr(native, "CSRC", tmp_path / "csrc")
    with pytest.raises(ExtensionError, match="it was not built.*pip install --no-build-isolation") as raised:
        native.load.__wrapped__()
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # from an engine's process


@pytest.mark.parametrize("name", ops.PORTABLE)
def test_a_device_without_a_kernel_has_the_reference(name: str) -> None:
    ops.ensure_built()
    for key in ("CPU", "CUDA"):
        assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"intone::{name}", key)
