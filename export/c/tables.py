"""Tables of 256 numbers in place of operators that compute each number by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.artifacts.tflite_graph import Tensor
from bopkit.export.c import arithmetic
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import Graph, Operator, constant
from bopkit.export.tflite import schema
from bopkit.keras2 import import_tensorflow, quiet_stderr

_FIRST_VERSIONS = ("RELU_N1_TO_1", "PRELU")
"""Operators whose first version computes int8 too; of the others the second one does."""


def of_operator(graph: Graph, operator: Operator) -> np.ndarray:
    """What an operator makes of all numbers, from the least on: int8 [256], by LiteRT's reference kernel itself."""
    source, output = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    tf = import_tensorflow()
    with quiet_stderr():
        interpreter = tf.lite.Interpreter(
            model_content=_model_of(operator.type, source, output),
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
        )
        interpreter.allocate_tensors()
        limits = np.iinfo(source.type)
        interpreter.set_tensor(0, np.arange(limits.min, limits.max + 1).astype(source.type))
        interpreter.invoke()
        return interpreter.get_tensor(1).astype(np.int64)


def _model_of(name: str, source: Tensor, output: Tensor) -> bytes:
    """A flatbuffer of one operator from 256 numbers to 256 numbers."""
    classes = schema.schema()

    def tensor(described: Tensor) -> object:
        quantization = classes.QuantizationParametersT()
        quantization.scale = [float(described.scales[0])]
        quantization.zeroPoint = [int(described.zero_points[0])]
        made = classes.TensorT()
        made.shape, made.buffer, made.quantization = [256], 0, quantization
        made.type = getattr(classes.TensorType, described.type.upper())
        return made

    code = classes.OperatorCodeT()
    number = getattr(classes.BuiltinOperator, name)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, 1 if name in _FIRST_VERSIONS else 2
    operator = classes.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph = classes.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor(source), tensor(output)], [0], [1], [operator]
    model = classes.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.signatureDefs = [classes.BufferT()], []
    return schema.serialise(model)


def is_of_pixels(graph: Graph, operator: Operator) -> bool:
    """Whether a QUANTIZE reads uint8 pixels that were normalised in float32."""
    return _pixels(graph, operator) is not None


def _pixels(graph: Graph, operator: Operator) -> tuple[int, list[Operator]] | None:
    """The tensor of the pixels, and what normalises them, the last one first; None where there are none."""
    index, chain = operator.inputs[0], []
    while graph.tensors[index].type == "float32":
        writer = graph.writer(index)
        if writer is None or writer.type not in ("CAST", "ADD", "SUB", "MUL", "DIV"):
            return None
        computed = [each for each in writer.inputs if constant(graph, each) is None]
        if len(computed) != 1 or writer.activation != "NONE":
            return None
        chain.append(writer)
        (index,) = computed
    return (index, chain) if graph.tensors[index].type == "uint8" else None


def of_pixels(graph: Graph, operator: Operator) -> tuple[int, np.ndarray]:
    """What a QUANTIZE makes of uint8 pixels that were normalised in float32.

    Returns:
        The tensor of the pixels, and int64 [channels or 1, 256].

    Raises:
        NotCoveredError: The numbers come from elsewhere.
    """
    found = _pixels(graph, operator)
    if found is None:
        raise NotCoveredError("QUANTIZE of numbers that are neither pixels nor int8")
    index, chain = found
    values = np.arange(256, dtype=np.float32)[None]
    for each in chain[::-1]:
        if each.type == "CAST":
            continue
        given = [constant(graph, other) for other in each.inputs]
        first, second = (values if other is None else other.astype(np.float32).reshape(-1, 1) for other in given)
        function: Any = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide}[each.type]
        values = function(first, second)
    output = graph.tensors[operator.outputs[0]]
    return index, arithmetic.quantize(values, float(output.scales[0]), int(output.zero_points[0]))
