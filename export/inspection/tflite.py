"""Flatbuffers of any converter. Reads the checked tables; needs neither TensorFlow nor LCE."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

import numpy as np

from bopkit.artifacts import artifact
from bopkit.artifacts.custom_code import CustomCode
from bopkit.artifacts.tflite_graph import Graph, Operator, Tensor
from bopkit.counting import is_binary
from bopkit.export.inspection.contents import BinaryKernel, Contents, StoredLayer, tensor_text
from bopkit.export.inspection.lce import BINARY_CONVOLUTION, read_convolution

_KERNEL_AXES = {"CONV_2D": (1, 2, 3, 0), "FULLY_CONNECTED": (1, 0), "DEPTHWISE_CONV_2D": (1, 2, 0, 3)}
"""Axes of the second input, the kernel, in the order of Keras; a depthwise kernel's third axis has size 1."""

_FLOATS = ("float16", "float32", "float64")
_NUMBERS = (*_FLOATS, "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_BINARY_TYPES = (*_FLOATS, "int8")
"""Types whose values can be +-scale; a symmetric int8 quantization makes them +-127."""

_NO_WEIGHTS = "sizes or axes, not weights"

_CONVERSION = "DEQUANTIZE"
"""Makes floats of constants in fewer bits: these belong to the operator that takes the floats."""


def read(path: Path, custom_code: CustomCode) -> Contents:
    """Read a `.tflite` file, which names no code."""
    graph, *more = artifact.read_flatbuffer(path).graphs
    graph = _without_conversions(graph)
    layers, kernels, others = [], [], {}
    counted: set[int] = set()  # buffers: two operators can share one
    names: collections.Counter[str] = collections.Counter()
    for operator in graph.operators:
        constants = {
            each: graph.tensors[each] for each in operator.inputs if each >= 0 and graph.tensors[each].is_constant
        }
        if not constants:
            continue
        name = _name(graph, operator)
        names[name] += 1
        name = name if names[name] == 1 else f"{name} #{names[name]}"
        kernel = _binary_kernel(name, operator, graph)
        for each, tensor in constants.items():
            if not (kernel is not None and kernel.packed and each == operator.inputs[1]):
                others[f"{name}/{operator.inputs.index(each)}"] = _values(tensor)
        own = {each: tensor for each, tensor in constants.items() if tensor.buffer not in counted}
        counted |= {tensor.buffer for tensor in own.values()}
        if not own:
            continue
        layers.append(_layer(name, operator, graph, own, kernel))
        if kernel is not None:
            kernels.append(kernel)
    return Contents(
        kind="tflite",
        inputs=_tensor_texts(graph, graph.inputs),
        outputs=_tensor_texts(graph, graph.outputs),
        layers=tuple(layers),
        kernels=tuple(kernels),
        others=others,
        notes=(f"The file has {len(more)} further graphs, which are not listed.",) if more else (),
    )


def _values(tensor: Tensor) -> np.ndarray:
    """Numbers of a constant; its bytes where NumPy has no such type, or the file leaves zeros out."""
    if tensor.type not in _NUMBERS or len(tensor.data) * 8 != tensor.elements * (tensor.bits or 0):
        return np.frombuffer(tensor.data, np.uint8)
    return tensor.real_values()


def _without_conversions(graph: Graph) -> Graph:
    """The graph with constants in place of the floats that are made of them."""
    made = {
        operator.outputs[0]: operator.inputs[0]
        for operator in graph.operators
        if operator.type == _CONVERSION and graph.tensors[operator.inputs[0]].is_constant
    }
    operators = [
        dataclasses.replace(operator, inputs=tuple(made.get(index, index) for index in operator.inputs))
        for operator in graph.operators
        if operator.outputs[:1] == () or operator.outputs[0] not in made
    ]
    return dataclasses.replace(graph, operators=tuple(operators))


def _layer(
    name: str, operator: Operator, graph: Graph, own: dict[int, Tensor], kernel: BinaryKernel | None
) -> StoredLayer:
    second = operator.inputs[1] if len(operator.inputs) > 1 else -1
    main = own.get(second) or max(own.values(), key=lambda tensor: len(tensor.data))
    packed = operator.type == BINARY_CONVOLUTION
    binary = kernel.size if kernel is not None else 0
    stored_bits = 1 if packed else main.bits or 8
    reason = "" if packed else _reason(main, kernel)
    others = sum(tensor.elements for tensor in own.values() if tensor is not main)
    return StoredLayer(
        name=name,
        type=operator.type,
        shape=_keras_shape(operator, main, graph),
        input_bits=1 if packed else graph.tensors[operator.inputs[0]].bits,
        value_bits=1 if kernel is not None else stored_bits,
        stored_bits=stored_bits,
        weights=0 if reason == _NO_WEIGHTS else others + (binary if packed else main.elements),
        binary_weights=binary,
        size_bytes=sum(len(tensor.data) for tensor in own.values()),
        packed=packed,
        reason=reason,
    )


def _reason(main: Tensor, kernel: BinaryKernel | None) -> str:
    if kernel is not None:
        return (
            f"binary values at {main.bits} bits each: the converter found no sign before it, or it is not a convolution"
        )
    if main.type in _FLOATS:
        return "real weights"
    return _NO_WEIGHTS if main.type in ("int32", "int64") and not len(main.scales) else f"{main.type} weights"


def _binary_kernel(name: str, operator: Operator, graph: Graph) -> BinaryKernel | None:
    """Signs of the operator's kernel; None where it has none or its values are not +-scale."""
    if operator.type == BINARY_CONVOLUTION:
        return read_convolution(name, operator, graph).kernel
    axes = _KERNEL_AXES.get(operator.type)
    kernel = graph.tensors[operator.inputs[1]] if axes else None
    if (
        kernel is None
        or not kernel.is_constant
        or kernel.type not in _BINARY_TYPES
        or kernel.elements <= kernel.shape[0]
    ):
        return None
    values = np.transpose(kernel.values(), axes)
    # Batch norm is folded into such a kernel: its multiplier can be negative.
    return BinaryKernel.of_values(name, values, may_be_negated=True) if is_binary(values) else None


def _keras_shape(operator: Operator, kernel: Tensor, graph: Graph) -> tuple[int, ...]:
    if operator.type == BINARY_CONVOLUTION:
        return read_convolution("", operator, graph).shape
    axes = _KERNEL_AXES.get(operator.type)
    if axes is None or len(axes) != len(kernel.shape):
        return kernel.shape
    return tuple(kernel.shape[axis] for axis in axes)


def _name(graph: Graph, operator: Operator) -> str:
    """The first of the names that the converter joined to one, without the outermost network's."""
    name = graph.tensors[operator.outputs[0]].name.partition(";")[0] if operator.outputs else ""
    return name.removeprefix("model/") or operator.type


def _tensor_texts(graph: Graph, indices: tuple[int, ...]) -> tuple[str, ...]:
    """Inputs or outputs of a graph for a person."""
    tensors = [graph.tensors[index] for index in indices]
    return tuple(tensor_text(each.name, each.type, each.shape) for each in tensors)
