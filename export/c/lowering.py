"""A flatbuffer's graph as calls of kernels.

Operators are taken on demand, from the outputs of the network to its input, so that one which only prepares what the
next one needs becomes part of it: a sum of which nothing but the sign is wanted is compared with a threshold.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from bopkit.artifacts.tflite_graph import Tensor
from bopkit.export.c import binary_layers, float_layers, integer_convolutions, integer_layers, signs
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import Graph, Operator
from bopkit.export.c.program_builder import Layer, Lowering
from bopkit.export.c.steps import BITS, FLOAT, INT8, UINT8, Program

_CALLS_AN_OPERATOR = 10


def lower(graph: Graph, names: dict[int, str]) -> Program:
    """The steps of a network.

    Args:
        graph: One input, one output.
        names: The layer's name in Keras, by the tensor that it computes, where it is known.

    Raises:
        NotCoveredError: There is no C for an operator, which is named.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise NotCoveredError("the network has several inputs or outputs")
    lowering = Lowering(graph, names, _layer)
    source = graph.tensors[_stored_input(graph)]
    if source.shape[:1] != (1,):
        raise NotCoveredError(f"the network takes {source.shape[0] if source.shape else 'no'} pictures at a time")
    kind = {"int8": INT8, "uint8": UINT8, "float32": FLOAT}.get(source.type)
    if kind is None:
        raise NotCoveredError(f"the network takes {source.type}")
    given = lowering.add_value(kind, source.shape)
    lowering.set_value(_stored_input(graph), given)
    wanted = _stored_output(graph)
    with _deep_recursion(len(graph.operators)):
        output = lowering.root(lowering.value(wanted))
    if lowering.values[output].kind == BITS:
        raise NotCoveredError("the network answers bits")
    if output == given:
        raise NotCoveredError("the network answers what it is given")
    answer = graph.tensors[wanted]
    return Program(
        tuple(lowering.values),
        tuple(lowering.steps),
        given,
        output,
        *_quantization(source),
        *_quantization(answer),
    )


@contextlib.contextmanager
def _deep_recursion(operators: int) -> Iterator[None]:
    """Let a chain of so many operators be followed from its end: each takes some calls."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + _CALLS_AN_OPERATOR * operators)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _layer(graph: Graph, operator: Operator) -> Layer | None:
    if operator.type == "LceQuantize":
        return signs.lower
    return (
        binary_layers.find(operator)
        or integer_convolutions.find(graph, operator)
        or integer_layers.find(graph, operator)
        or float_layers.find(graph, operator)
    )


def _quantization(tensor: Tensor) -> tuple[float, int]:
    scales, zero_points = tensor.scales, tensor.zero_points
    if not len(scales):
        return 0.0, 0
    return float(scales[0]), int(zero_points[0]) if len(zero_points) else 0


def _stored_input(graph: Graph) -> int:
    """The tensor that the C program takes: what a QUANTIZE makes of the input, where that is all that reads it."""
    (index,) = graph.inputs
    readers = graph.readers(index)
    if len(readers) == 1 and readers[0].type == "QUANTIZE" and graph.tensors[index].type == "float32":
        return readers[0].outputs[0]
    return index


def _stored_output(graph: Graph) -> int:
    """The tensor that the C program answers: what a DEQUANTIZE makes the output of."""
    (index,) = graph.outputs
    writer = graph.writer(index)
    if writer is not None and writer.type == "DEQUANTIZE" and graph.tensors[writer.inputs[0]].type == "int8":
        return writer.inputs[0]
    return index
