"""Reading and altering an LCE flatbuffer that bopkit has just converted. Needs LCE, for its schema."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bopkit.artifact import TFLITE_IDENTIFIER

BUFFER_ALIGNMENT = 16
"""Bytes: TensorFlow Lite aligns constants so, and its kernels may read them with aligned instructions."""


def parse(flatbuffer: bytes) -> Any:
    """The flatbuffer as an object of the TensorFlow Lite schema."""
    schema = _schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(flatbuffer, 0))


def with_outputs(model: Any, tensors: list[int]) -> bytes:
    """A flatbuffer whose outputs are the given tensors; `model` stays as it is."""
    altered = copy.copy(model)
    altered.subgraphs = [copy.copy(model.subgraphs[0])]
    altered.subgraphs[0].outputs = tensors
    altered.signatureDefs = []
    return pack(altered)


def pack(model: Any) -> bytes:
    """The content of a `.tflite` file for a parsed model, with the constants aligned as runtimes expect."""
    import flatbuffers

    packed = copy.copy(model)
    packed.buffers = [_AlignedBuffer(each) for each in model.buffers]
    size = sum(len(each.data) for each in model.buffers if each.data is not None)
    builder = flatbuffers.Builder(size + 65_536)
    builder.Finish(packed.Pack(builder), file_identifier=TFLITE_IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer:
    """A buffer of the schema whose data begins at a multiple of `BUFFER_ALIGNMENT`; the schema's own may not."""

    def __init__(self, buffer: Any):
        self._buffer = buffer

    def Pack(self, builder: Any) -> int:  # noqa: N802  the name that the schema's classes have
        """Write the buffer; its offset."""
        if self._buffer.data is not None:
            builder.Prep(BUFFER_ALIGNMENT, len(self._buffer.data))
        return self._buffer.Pack(builder)


def add_buffer(model: Any, data: bytes | np.ndarray) -> int:
    """Add a constant's content; its index among the buffers."""
    buffer = _schema().BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data.reshape(-1).view(np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


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
    schema = _schema()
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), getattr(schema.TensorType, dtype)
    tensor.hasRank = True
    tensor.buffer = 0 if data is None else add_buffer(model, data)  # buffer 0 is always empty
    if scales is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [float(each) for each in scales]
        tensor.quantization.zeroPoint = [zero_point] * len(scales)
        tensor.quantization.quantizedDimension = axis
    (graph,) = model.subgraphs
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def new_operator(model: Any, builtin: str, version: int, inputs: list[int], outputs: list[int]) -> Any:
    """A stock operator without options, which is not in the graph yet."""
    operator = _schema().OperatorT()
    operator.opcodeIndex = operator_code(model, builtin, version)
    operator.inputs, operator.outputs = inputs, outputs
    return operator


def operator_code(model: Any, builtin: str, version: int) -> int:
    """Index of a stock operator among the model's operator codes, added where it is not there yet."""
    schema = _schema()
    number = getattr(schema.BuiltinOperator, builtin)
    for index, code in enumerate(model.operatorCodes):
        if builtin_name(model, index) == builtin and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode, code.builtinCode, code.version = min(number, 127), number, version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def builtin_name(model: Any, operator_code_index: int) -> str:
    """Name of a stock operator in the schema, e.g. `CONV_2D`; `CUSTOM` for any other."""
    code = model.operatorCodes[operator_code_index]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # files of old converters have the second alone
    return next(name for name, value in vars(_schema().BuiltinOperator).items() if value == number)


def signature_tensors(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The tensors of all inputs, and of all outputs, by their names in the only signature."""
    (signature,) = model.signatureDefs
    inputs, outputs = (
        {each.name.decode(): int(each.tensorIndex) for each in entries}
        for entries in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def order_ports(model: Any, inputs: list[str], outputs: list[str]) -> None:
    """Put the inputs and outputs of the graph into the order of their names in the signature.

    The converter has an order of its own, and interpreters and metadata know them by their places. It numbers the
    tensors of several outputs in that order: they get their names, for those who look at tensors alone.
    """
    (graph,) = model.subgraphs
    input_tensors, output_tensors = signature_tensors(model)
    graph.inputs = [input_tensors[name] for name in inputs]
    graph.outputs = [output_tensors[name] for name in outputs]
    if len(outputs) > 1:
        for name in outputs:
            graph.tensors[output_tensors[name]].name = name.encode()


def take_pixels(model: Any) -> None:
    """Make the input uint8 instead of float32; the numbers stay the same."""
    schema = _schema()
    (graph,) = model.subgraphs
    (floats,) = graph.inputs
    tensor = graph.tensors[floats]
    pixels = add_tensor(model, tensor.name.decode(), tuple(int(size) for size in tensor.shape), "UINT8")
    tensor.name += b"_float"
    cast = new_operator(model, "CAST", 1, [pixels], [int(floats)])
    cast.builtinOptionsType = schema.BuiltinOptions.CastOptions
    cast.builtinOptions = schema.CastOptionsT()
    cast.builtinOptions.inDataType, cast.builtinOptions.outDataType = schema.TensorType.UINT8, schema.TensorType.FLOAT32
    graph.operators.insert(0, cast)
    graph.inputs = [pixels]
    for signature in model.signatureDefs or []:
        signature.inputs[0].tensorIndex = pixels


def remove_softmax(model: Any, name: str) -> bool:
    """Let the graph answer what enters its last softmax, under another name; whether there was one."""
    (graph,) = model.subgraphs
    last = graph.operators[-1]
    if builtin_name(model, last.opcodeIndex) != "SOFTMAX" or list(last.outputs) != list(graph.outputs):
        return False
    graph.operators.pop()
    graph.outputs = [int(last.inputs[0])]
    for signature in model.signatureDefs or []:
        signature.outputs[0].name, signature.outputs[0].tensorIndex = name.encode(), graph.outputs[0]
    return True


def add_metadata(model: Any, name: str, data: bytes) -> None:
    """Add a metadata entry, in place of one of that name."""
    entry = _schema().MetadataT()
    entry.name, entry.buffer = name.encode(), add_buffer(model, data)
    model.metadata = [each for each in model.metadata or [] if each.name != entry.name] + [entry]


def clear_unused_constants(model: Any) -> None:
    """Drop the content of constants that no operator takes any more."""
    (graph,) = model.subgraphs
    used = {int(tensor) for operator in graph.operators for tensor in operator.inputs} | set(map(int, graph.outputs))
    for tensor in set(range(len(graph.tensors))) - used:
        clear_constant(model, tensor)


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
    if data is None or described.type != _schema().TensorType.FLOAT32:
        return None
    return np.ascontiguousarray(data).view("<f4").reshape(described.shape)


def _schema() -> Any:
    from larq_compute_engine.mlir.python import tflite_schema

    return tflite_schema
