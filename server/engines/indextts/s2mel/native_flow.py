"""The solver of the flow on the CPU: one native call for all steps, with packed weights."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intone.server.engines.indextts.s2mel.cfm import TimeTable
from intone.server.engines.indextts.s2mel.dit import DiT
from intone.server.engines.indextts.s2mel.flow_inputs import Condition, Modulation
from intone.server.engines.indextts.s2mel.wavenet import WaveNet
from intone.server.ops import ensure_built

if TYPE_CHECKING:
    from intone.server.ops._C import CachedFrames


class NativeFlow:
    """Copies the weights of a field, which it does not keep; immutable. The GIL is released."""

    def __init__(self, dit: DiT, packed: str = "fp32", wavenet_packed: str | None = None, isa: str = "best") -> None:
        """Pack the linear layers.

        Args:
            packed: "int8", "bf16" or "fp32", the type of the weights and inputs of the transformer's layers; int8 has
                one scale per output and one per row of inputs. The layers that take and give mel frames are "fp32".
            wavenet_packed: the same of the WaveNet's layers; None for `packed`.
            isa: as for `_C.Linear`.
        """
        self._flow = ensure_built().MelFlow(
            heads=dit.heads,
            dilations=[layer.dilation for layer in dit.wavenet.layers],
            tensors=dict(_tensors(dit)),
            type=packed,
            wavenet_type=wavenet_packed or packed,
            isa=isa,
        )

    def solve(self, noise: Tensor, condition: Condition, guidance: float, table: TimeTable) -> Tensor:
        """As `cfm.solve`, for one unit: noise `[1, F, M]` → `[1, F, M]`. The condition may follow cached frames."""

        def stacked(read: Callable[[Modulation], Tensor]) -> Tensor:
            return torch.stack([read(time) for time in table.modulations])

        assert noise.shape[0] == 1 and condition.visible is None, "one unit, all of whose frames are visible"
        x = self._flow.solve(
            noise[0],
            condition.rows,
            guidance,
            norms=stacked(lambda time: time.norms),
            last_norm=stacked(lambda time: time.last),
            gates=stacked(lambda time: time.gates),
            lengths=list(table.lengths),
            cached=condition.cached,
        )
        return x.unsqueeze(0)

    def cache(self, rows: Tensor, frames: int, norms: Tensor) -> "CachedFrames":
        """Keys and values of the first `frames`, a multiple of 16, of a sequence of known frames, rounded to bfloat16.

        Args:
            rows: `[P, D]`, of `Condition.rows`.
            norms: of the `Modulation` at the step.
        """
        return self._flow.cache(rows, frames, norms=norms)


def _tensors(dit: DiT) -> Iterator[tuple[str, Tensor]]:
    """By the names of `csrc/runtimes/mel_flow.h`."""
    yield "frames_in", dit.inputs.noisy
    yield "cos", dit.rope.cos[:, 0]
    yield "sin", dit.rope.sin[:, 0]
    for index, layer in enumerate(dit.layers):
        name = f"layers.{index}"
        yield f"{name}.qkv", torch.cat((layer.queries.weight, layer.keys_values.weight))
        yield f"{name}.out", layer.out.weight
        yield f"{name}.gate_up", layer.gate_up.weight
        yield f"{name}.down", layer.down.weight
        if layer.skip is not None:
            yield from _affine(f"{name}.skip", layer.skip.weight, layer.skip.bias)
    weights, biases = dit.tail_in.weight.chunk(2), _given(dit.tail_in.bias).chunk(2)
    for name, weight, bias in zip(("wavenet_in", "around_wavenet"), weights, biases, strict=True):
        yield from _affine(name, weight, bias)
    yield from _wavenet(dit.wavenet)
    yield from _affine("frames_out", dit.tail_out.weight, dit.tail_out.bias)


def _wavenet(wavenet: WaveNet) -> Iterator[tuple[str, Tensor]]:
    for index, layer in enumerate(wavenet.layers):
        name, width = f"wavenet.{index}", layer.conv.shape[1]
        yield f"{name}.conv", layer.conv.transpose(1, 2).flatten(1)
        weight, bias = layer.out[0][:, :, 0], layer.out[1]
        if len(bias) > width:
            yield from _affine(f"{name}.residual", weight[:width], bias[:width])
        yield from _affine(f"{name}.skip", weight[-width:], bias[-width:])


def _affine(name: str, weight: Tensor, bias: Tensor | None) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", _given(bias)


def _given(bias: Tensor | None) -> Tensor:
    assert bias is not None, "this layer has a bias"
    return bias
