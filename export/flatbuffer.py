"""An LCE flatbuffer that bopkit has just converted, through the schema of TensorFlow Lite. Needs LCE, which has it."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from bopkit.artifact import TFLITE_IDENTIFIER

BUFFER_ALIGNMENT = 16
"""Bytes: TensorFlow Lite aligns constants so, and its kernels may read them with aligned instructions."""

THRESHOLD_INPUT = 4
"""Index of the thresholds among the inputs of LceBconv2d: present where it writes bits instead of floats."""


@dataclasses.dataclass(frozen=True)
class BinaryConvolution:
    """One LceBconv2d operation.

    Attributes:
        words: uint32 [outputs, height, width, words] of the kernel, laid out as by `packing.lce_words`.
        writes_bits: Whether its output is packed too. LCE then negates the output channels that a negative
            multiplier follows, as thresholds can be compared in one direction only.
        input_tensor: Index of its packed input, int32 [1, height, width, words].
        size_bytes: Size of all its constants.
    """

    words: np.ndarray
    writes_bits: bool
    input_tensor: int
    size_bytes: int


def parse(flatbuffer: bytes) -> Any:
    """The flatbuffer as an object of the TensorFlow Lite schema."""
    classes = schema()
    return classes.ModelT.InitFromObj(classes.Model.GetRootAsModel(flatbuffer, 0))


def binary_convolutions(model: Any) -> list[BinaryConvolution]:
    """All LceBconv2d operations of a parsed flatbuffer, in the order in which they run."""
    (graph,) = model.subgraphs
    return [
        _binary_convolution(model, graph, operator)
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].customCode == b"LceBconv2d"
    ]


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


def builtin_name(model: Any, operator_code_index: int) -> str:
    """Name of a stock operator in the schema, e.g. `CONV_2D`; `CUSTOM` for any other."""
    code = model.operatorCodes[operator_code_index]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # files of old converters have the second alone
    return next(name for name, value in vars(schema().BuiltinOperator).items() if value == number)


def signature_tensors(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """The tensors of all inputs, and of all outputs, by their names in the only signature."""
    (signature,) = model.signatureDefs
    inputs, outputs = (
        {each.name.decode(): int(each.tensorIndex) for each in entries}
        for entries in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def schema() -> Any:
    """The classes and enumerations of TensorFlow Lite's schema."""
    from larq_compute_engine.mlir.python import tflite_schema

    return tflite_schema


def _binary_convolution(model: Any, graph: Any, operator: Any) -> BinaryConvolution:
    inputs = [int(index) for index in operator.inputs]
    kernel = graph.tensors[inputs[1]]
    words = _constant(model, kernel).view("<u4").reshape(kernel.shape)
    writes_bits = len(inputs) > THRESHOLD_INPUT and inputs[THRESHOLD_INPUT] >= 0
    size = sum(_constant(model, graph.tensors[index]).nbytes for index in inputs[1:] if index >= 0)
    return BinaryConvolution(words, writes_bits, inputs[0], size)


def _constant(model: Any, tensor: Any) -> np.ndarray:
    """Content of a constant tensor as uint8; empty for a tensor that is computed."""
    data = model.buffers[tensor.buffer].data
    return np.array([] if data is None else data, np.uint8)
