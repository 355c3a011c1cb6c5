"""Tensors, constants and operators of a parsed flatbuffer: to add, read and clear. Needs LCE, for its schema."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.tflite.schema import builtin_name, schema


def add_tensor(
    model: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    scales: np.ndarray | None = None,
    axis: int = 0,
    zero_point: int = 0,
    data: np.ndarray | None = None,
) -> int:
    """Add a tensor.

    Args:
        model: A parsed model.
        name: Shown by viewers.
        shape: Its shape.
        dtype: Name of its type in the schema, e.g. `INT8`.
        scales: float32 [1], or one for each index of `axis`: values are scale * (stored - zero_point).
        axis: The dimension that the scales belong to.
        zero_point: Stored number that stands for 0.
        data: Content of a constant; None for a tensor that is computed.

    Returns:
        Its index among the tensors.
    """
    classes = schema()
    tensor = classes.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), getattr(classes.TensorType, dtype)
    tensor.hasRank = True
    tensor.buffer = 0 if data is None else _add_buffer(model, data)  # buffer 0 is always empty
    if scales is not None:
        tensor.quantization = classes.QuantizationParametersT()
        tensor.quantization.scale = [float(each) for each in scales]
        tensor.quantization.zeroPoint = [zero_point] * len(scales)
        tensor.quantization.quantizedDimension = axis
    (graph,) = model.subgraphs
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_operator(model: Any, builtin: str, version: int, inputs: list[int], outputs: list[int]) -> Any:
    """A stock operator without options, which is not in the graph yet."""
    operator = schema().OperatorT()
    operator.opcodeIndex = operator_code(model, builtin, version)
    operator.inputs, operator.outputs = inputs, outputs
    return operator


def operator_code(model: Any, builtin: str, version: int) -> int:
    """Index of a stock operator among the model's operator codes, added where it is not there yet."""
    classes = schema()
    number = getattr(classes.BuiltinOperator, builtin)
    for index, code in enumerate(model.operatorCodes):
        if builtin_name(model, index) == builtin and code.version == version:
            return index
    code = classes.OperatorCodeT()
    code.deprecatedBuiltinCode, code.builtinCode, code.version = min(number, 127), number, version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def clear_unused_constants(model: Any) -> None:
    """Drop the content of constants that no operator takes any more."""
    (graph,) = model.subgraphs
    used = {int(tensor) for operator in graph.operators for tensor in operator.inputs} | set(map(int, graph.outputs))
    for tensor in set(range(len(graph.tensors))) - used:
        clear_constant(model, tensor)


def leave_out_defaults(model: Any) -> None:
    """Drop what says nothing: quantizations without a scale, and names of fused layers behind the first.

    In a small network they are some percent of the file. Names stay unique.
    """
    (graph,) = model.subgraphs
    taken = {tensor.name for tensor in graph.tensors}
    for tensor in graph.tensors:
        quantization = tensor.quantization
        if quantization is not None and (quantization.scale is None or len(quantization.scale) == 0):
            tensor.quantization = None
        first = tensor.name.partition(b";")[0]
        if first not in taken:
            taken.add(first)
            tensor.name = first


def clear_constant(model: Any, tensor: int) -> None:
    """Make a constant a tensor that is computed; its content goes unless another tensor shares it."""
    (graph,) = model.subgraphs
    buffer, graph.tensors[tensor].buffer = graph.tensors[tensor].buffer, 0
    if all(each.buffer != buffer for each in graph.tensors):
        model.buffers[buffer].data = None


def constant(model: Any, tensor: int) -> np.ndarray | None:
    """Content of a float32 constant in its shape; None for any other tensor."""
    (graph,) = model.subgraphs
    described = graph.tensors[tensor]
    data = model.buffers[described.buffer].data
    if data is None or described.type != schema().TensorType.FLOAT32:
        return None
    return np.ascontiguousarray(data).view("<f4").reshape(described.shape)


def _add_buffer(model: Any, data: np.ndarray) -> int:
    """Add a constant's content; its index among the buffers."""
    buffer = schema().BufferT()
    buffer.data = data.reshape(-1).view(np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1
