"""Calls of the flow of IndexTTS with right and wrong arguments that an input chooses. Used by `native_calls.py`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from intone.server.ops import ensure_built
from tests.fuzz.choices import Choices
from tests.native.test_refusals import HEADS, WIDTH, mel_flow_shapes


def mel_flow(choices: Choices, **how: str) -> Callable[[], Tensor]:
    """A solve. A tensor of the model may have a wrong shape or be missing. `how` is the types and instruction set."""
    bands, layers, convs, steps = 3, choices.one_of(3, 1, 2), choices.one_of(2, 1), choices.one_of(2, 1, 0)
    shapes = mel_flow_shapes(bands, 8, layers, convs)
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    if choices.is_wrong():
        name = choices.one_of(*shapes)
        tensors.pop(name)
        if choices.below(4):
            tensors[name] = choices.tensor(*shapes[name])
    flow = ensure_built().MelFlow(
        heads=choices.number(HEADS),
        dilations=[choices.number(choices.one_of(1, 2, 3)) for _ in range(convs)],
        tensors=tensors,
        **how,
    )
    new, known, sequences = choices.one_of(2, 1, 0, 50), choices.one_of(3, 0, 1, 20), choices.one_of(2, 1)
    given = (choices.tensor(new, bands), choices.tensor(sequences, new + known, WIDTH), 0.7)
    times: dict[str, Any] = {
        "norms": choices.tensor(steps, 2 * layers + 1, 2, WIDTH),
        "last_norm": choices.tensor(steps, 2, WIDTH),
        "gates": choices.tensor(steps, convs, 2 * WIDTH),
        "lengths": [0.5] * (choices.one_of(0, steps + 1) if choices.is_wrong() else steps),
    }
    cached = choices.one_of(0, 16, 32)

    def cache() -> Any:
        return flow.cache(choices.tensor(40, WIDTH), choices.number(cached), norms=choices.tensor(*norms, WIDTH))

    norms = (2 * layers + 1, 2)
    count = sequences * steps + (1 if choices.is_wrong() else 0)
    times["cached"] = [cache() for _ in range(count)] if cached else []
    return lambda: flow.solve(*given, **times)
