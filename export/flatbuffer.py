"""Reading and altering an LCE flatbuffer that bopkit has just written. Needs LCE, for its schema."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bopkit.artifact import TFLITE_IDENTIFIER

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
    from larq_compute_engine.mlir.python import tflite_schema as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(flatbuffer, 0))


def binary_convolutions(model: Any) -> list[BinaryConvolution]:
    """All LceBconv2d operations of a parsed flatbuffer, in the order in which they run."""
    (graph,) = model.subgraphs
    return [
        _binary_convolution(model, graph, operator)
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].customCode == b"LceBconv2d"
    ]


def with_outputs(model: Any, tensors: list[int]) -> bytes:
    """A flatbuffer whose outputs are the given tensors; `model` is altered."""
    import flatbuffers

    (graph,) = model.subgraphs
    graph.outputs = tensors
    model.signatureDefs = []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=TFLITE_IDENTIFIER)
    return bytes(builder.Output())


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
