"""Arguments that the native classes must refuse with an error: wild reads, or the end of the process, otherwise."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server import ops
from intone.server.ops import ensure_built

WIDTH, HEADS, SIZE = 32, 4, 8


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread and a team of two."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def layer(kind: str = "fp32", feed: int = 48, **changes: Tensor) -> Any:
    parts = {
        "attention_norm": torch.ones(WIDTH),
        "mlp_norm": torch.ones(WIDTH),
        "qkv": torch.randn(3 * WIDTH, WIDTH),
        "out": torch.randn(WIDTH, WIDTH),
        "up": torch.randn(2 * feed, WIDTH),
        "down": torch.randn(WIDTH, feed),
    }
    return ensure_built().DecoderLayer(**{**parts, **changes}, gated=True, type=kind)


def stack(layers: list[Any] | None = None, positions: int = 64, **changes: Any) -> Any:
    table = torch.ones(positions, SIZE)
    given = {"heads": HEADS, "kv_heads": HEADS, "head_dim": SIZE, "norm_eps": 1e-5, "norms": [norm()]}
    given |= {"cos": table, "sin": table, "layers": [layer()] if layers is None else layers}
    return ensure_built().DecoderStack(**{**given, **changes})


def norm(width: int = WIDTH) -> tuple[Tensor, None]:
    return torch.ones(width), None


REFUSED: dict[str, Callable[[], object]] = {
    "norm is .* BFloat16": lambda: stack(norms=[(torch.ones(WIDTH).bfloat16(), None)]),
    "norm is .*33": lambda: stack(norms=[norm(), norm(33)]),
    "norm is .*31": lambda: stack(norms=[(torch.ones(WIDTH), torch.ones(31))]),
    "no final norm": lambda: stack(norms=[]),
    "attention_norm is .* BFloat16": lambda: stack([layer(attention_norm=torch.ones(WIDTH).bfloat16())]),
    "mlp_norm is .*33": lambda: stack([layer(mlp_norm=torch.ones(33))]),
    "mlp_norm is .*31": lambda: stack([layer(mlp_norm_bias=torch.ones(31))]),
    "layer 1 is None": lambda: stack([layer(), None]),
    "found 0 layers": lambda: stack([]),
    "layer 1 do not match": lambda: stack([layer(), layer(feed=96)]),
    "-4 heads": lambda: stack(heads=-4, head_dim=-8, cos=None, sin=None),
    "cos and sin are": lambda: stack(cos=torch.ones(SIZE), sin=torch.ones(SIZE)),
    "both cos and sin": lambda: stack(cos=None),
    "cos or sin is Double": lambda: stack(cos=torch.ones(64, SIZE).double()),
    "a cache of 65 positions": lambda: stack().new_cache(65),
    "a cache of 66 positions": lambda: stack().new_cache(3).fork(0, 66),
    "a cache of -1 positions": lambda: stack().new_cache(-1),
    "found a cache of 2 layers": lambda: stack().step(torch.ones(1, WIDTH), [stack([layer(), layer()]).new_cache(9)]),
    "a cache is None": lambda: stack().step(torch.ones(1, WIDTH), [None]),
    "before is": lambda: ops.snake_beta(torch.ones(1, 1, 4), torch.ones(1), torch.ones(1), 2**62, 2**62),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message: str, threads: None) -> None:
    with pytest.raises(RuntimeError, match=message):
        REFUSED[message]()


def test_layers_of_different_types_share_a_stack(threads: None) -> None:
    """Rows of a later layer may be packed wider than those of the first."""
    x = torch.randn(5, WIDTH)
    mixed = stack([layer("int8"), layer("fp32")])
    assert mixed.prefill(x, mixed.new_cache(9)).isfinite().all()


def test_settings_of_a_draw_are_checked() -> None:
    good = {"temperature": 1.0, "top_k": 3, "top_p": 0.9, "penalty": 1.0, "min_tokens_to_keep": 1}
    gpt = tiny_gpt()
    for name, wrong in [("temperature", -1.0), ("top_k", -5), ("top_p", 0.0), ("penalty", 0.0)]:
        with pytest.raises(RuntimeError, match=name):
            gpt.begin(torch.ones(1, WIDTH), 2, ensure_built().SamplingSettings(**{**good, name: wrong}), [])
    unit = gpt.begin(torch.ones(1, WIDTH), 2, ensure_built().SamplingSettings(**good), [])
    with pytest.raises(RuntimeError, match="a unit is None"):
        gpt.generate([None], 1, torch.zeros(1, 1, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="uniforms are"):
        gpt.generate([unit], 1, torch.zeros(1, 1))
    with pytest.raises(RuntimeError, match="found a cache of 1 layers, 4 heads"):
        tiny_gpt(heads=2).generate([unit], 1, torch.zeros(1, 1, dtype=torch.float64))


def tiny_gpt(heads: int = HEADS, **changes: Any) -> Any:
    given = {"stack": stack([layer()], heads=heads, kv_heads=heads, head_dim=WIDTH // heads, cos=None, sin=None)}
    given |= {"head": ensure_built().Linear(torch.randn(10, WIDTH), torch.randn(10), type="fp32")}
    given |= {"codes": torch.randn(10, WIDTH), "positions": torch.randn(6, WIDTH)}
    given |= {"start_code": 8, "stop_code": 9, "skipped_positions": 0}
    return ensure_built().Gpt(**{**given, **changes})


def head(outputs: int, gated: bool = False) -> Any:
    return ensure_built().Linear(torch.ones(outputs, WIDTH), type="fp32", gated=gated)


UNFIT: dict[str, Callable[[], object]] = {
    "codes is": lambda: tiny_gpt(codes=torch.ones(10, WIDTH + 1)),
    "positions is": lambda: tiny_gpt(positions=torch.ones(6, WIDTH).double()),
    "the head maps 32 to 9, expected 32 to 10": lambda: tiny_gpt(head=head(9)),
    "the head maps 32 to 10, ": lambda: tiny_gpt(head=head(20, gated=True)),
    "start or stop code 10": lambda: tiny_gpt(start_code=10),
    "skipped_positions is 6": lambda: tiny_gpt(skipped_positions=6),
}


@pytest.mark.parametrize("message", UNFIT)
def test_parts_of_a_language_model_that_do_not_fit_are_refused(message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        UNFIT[message]()


def test_a_beginning_of_another_stack_is_refused() -> None:
    gpt, settings = (
        tiny_gpt(),
        ensure_built().SamplingSettings(temperature=1.0, top_k=3, top_p=0.9, penalty=1.0, min_tokens_to_keep=1),
    )
    with pytest.raises(RuntimeError, match="found a cache of 2 layers"):
        gpt.begin(torch.ones(1, WIDTH), 2, settings, [], before=stack([layer(), layer()]).new_cache(3))


def mel_flow_shapes(bands: int, feed: int = 40, layers: int = 3, convs: int = 2) -> dict[str, tuple[int, ...]]:
    """Of the tensors of a `MelFlow` whose last layers take the results of the first."""
    plain = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "gate_up": (2 * feed, WIDTH), "down": (WIDTH, feed)}
    shapes: dict[str, tuple[int, ...]] = {"frames_in": (WIDTH, bands), "cos": (80, SIZE), "sin": (80, SIZE)}
    shapes |= {f"layers.{index}.{name}": shape for index in range(layers) for name, shape in plain.items()}
    affine = {"wavenet_in": (WIDTH, WIDTH + bands), "around_wavenet": (WIDTH, WIDTH + bands)}
    affine |= {"frames_out": (bands, WIDTH)}
    affine |= {f"layers.{index}.skip": (WIDTH, 2 * WIDTH) for index in range(layers // 2 + 1, layers)}
    for index in range(convs):
        shapes[f"wavenet.{index}.conv"] = (2 * WIDTH, 3 * WIDTH)
        affine |= {f"wavenet.{index}.{name}": (WIDTH, WIDTH) for name in ("residual", "skip")}
    for name, shape in affine.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def tiny_mel_flow(bands: int, **changes: Any) -> Any:
    tensors = {name: torch.randn(shape) for name, shape in mel_flow_shapes(bands).items()}
    given = {"heads": HEADS, "dilations": [1, 2], "type": "fp32", "wavenet_type": "fp32", "tensors": tensors}
    return ensure_built().MelFlow(**{**given, **changes})
