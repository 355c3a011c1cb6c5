"""Signs, and what is computed only for their sake: thresholds on sums take the place of real numbers.

Before a sign may stand a chain of operators that compute each number by itself from one number and constants of its
channel, and maximum pools: the maximum of the numbers is negative where all are. What the chain makes of each number
that the layer before it can answer is computed here, and where the sign changes is the threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.c import arithmetic, integer_convolutions, integer_layers
from bopkit.export.c.binary_layers import (
    Convolution,
    add_pool,
    bits_shape,
    inversion,
    inversion_argument,
    threshold_arrays,
)
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import Graph, Operator, constant, pixels_of
from bopkit.export.c.program_builder import Lowering
from bopkit.export.c.steps import BITS, FLOAT, Array, Step

_WITH_CONSTANT = ("ADD", "SUB", "MUL", "PRELU")
_ALL_INT8 = np.arange(-128, 128, dtype=np.int64)


def lower(lowering: Lowering, operator: Operator) -> None:
    """Lower an LceQuantize, with all before it that is wanted for its sign alone."""
    lowering.set_value(operator.outputs[0], _add_signs(lowering, operator))


def _add_signs(lowering: Lowering, operator: Operator) -> int:
    tensor = operator.inputs[0]
    start, chain = _chain(lowering, tensor)
    graph = lowering.graph
    writer = graph.writer(start)
    is_alone = lowering.is_read_once(start)
    if writer is not None and writer.type == "LceBconv2d" and is_alone:
        value = _of_distances(lowering, writer, chain, tensor)
    elif writer is not None and integer_convolutions.is_one(graph, writer) and is_alone:
        value = _of_sums(lowering, writer, chain, tensor)
    elif graph.tensors[start].type == "int8":
        value = _of_sum(lowering, writer, chain, is_alone) or _of_numbers(lowering, start, chain, tensor)
    else:
        return _of_floats(lowering, operator)
    for each in chain:
        if each.type == "MAX_POOL_2D":
            value = add_pool(lowering, each, value)
        elif each.type == "RESHAPE":
            value = _reshaped(lowering, each, value)
    return value


def _chain(lowering: Lowering, tensor: int) -> tuple[int, list[Operator]]:
    """The tensor with which a chain begins that ends in `tensor`, and its operators in their order."""
    graph = lowering.graph
    chain: list[Operator] = []
    while True:
        writer = graph.writer(tensor)
        if writer is None or not lowering.is_read_once(tensor) or not _is_link(graph, writer):
            return tensor, chain[::-1]
        chain.append(writer)
        tensor = _varying_input(graph, writer)


def _is_link(graph: Graph, operator: Operator) -> bool:
    if operator.type in _WITH_CONSTANT:
        constants = [constant(graph, index) is not None for index in operator.inputs]
        return sorted(constants) == [False, True] and graph.tensors[operator.outputs[0]].type == "float32"
    if operator.type == "RELU" and graph.tensors[operator.outputs[0]].type != "float32":
        return False
    return operator.type in ("DEQUANTIZE", "MAX_POOL_2D", "RELU", "RESHAPE") and (
        constant(graph, operator.inputs[0]) is None
    )


def _varying_input(graph: Graph, operator: Operator) -> int:
    return next(index for index in operator.inputs if constant(graph, index) is None)


def _of_distances(lowering: Lowering, writer: Operator, chain: list[Operator], tensor: int) -> int:
    convolution = Convolution(lowering, writer)
    results = convolution.results(lowering)
    negative = _signs(lowering.graph, results, writer.outputs[0], chain, tensor)
    kernel, arrays = threshold_arrays(convolution, negative)
    value = lowering.add_value(BITS, lowering.graph.tensors[writer.outputs[0]].shape)
    scale = ("{name}_thresholds", inversion_argument(arrays))
    result = f"{convolution.filters} signs"
    lowering.add_step(convolution.step(lowering, kernel, result, value, scale, arrays))
    return value


def _of_sums(lowering: Lowering, writer: Operator, chain: list[Operator], tensor: int) -> int:
    layer = integer_convolutions.IntegerConvolution(lowering, writer)
    numbers = np.broadcast_to(_ALL_INT8, (layer.filters, 256))
    negative = _signs(lowering.graph, numbers, writer.outputs[0], chain, tensor)
    position, inverted = arithmetic.sign_thresholds(negative)
    value = lowering.add_value(BITS, lowering.graph.tensors[writer.outputs[0]].shape)
    arrays = [Array("thresholds", "int32_t", layer.least_sums(position - 128)), *inversion(~inverted)]
    lowering.add_step(layer.step_to_bits(lowering, value, arrays, inversion_argument(arrays)))
    return value


def _of_sum(lowering: Lowering, writer: Operator | None, chain: list[Operator], is_alone: bool) -> int | None:
    """The signs of a sum that nothing else reads; None where the sum has to be stored."""
    if writer is None or chain or not is_alone:
        return None
    step = integer_layers.signs_of_sum(lowering, writer)
    if step is None:
        return None
    lowering.add_step(step)
    return step.output


def _of_numbers(lowering: Lowering, start: int, chain: list[Operator], tensor: int) -> int:
    shape = lowering.graph.tensors[start].shape
    numbers = np.broadcast_to(_ALL_INT8, (shape[-1], 256))
    position, inverted = arithmetic.sign_thresholds(_signs(lowering.graph, numbers, start, chain, tensor))
    thresholds = position - 128
    has_one = bool((thresholds == thresholds[0]).all())
    arrays = [Array("thresholds", "int16_t", thresholds[:1] if has_one else thresholds), *inversion(~inverted)]
    source = lowering.value(start)
    value = lowering.add_value(BITS, shape)
    name = lowering.name(chain[0] if chain else lowering.graph.readers(start)[0])
    identifier = lowering.identifier(f"{name}_signs")
    arguments = (
        str(pixels_of(shape)),
        str(shape[-1]),
        f"{identifier}_thresholds",
        str(int(has_one)),
        inversion_argument(arrays).format(name=identifier),
        "{0}",
        "{output}",
    )
    lowering.add_step(
        Step(
            name,
            identifier,
            f"signs of {shape[-1]} channels",
            "bopkit_signs_of_int8",
            arguments,
            (source,),
            value,
            tuple(arrays),
        )
    )
    return value


def _of_floats(lowering: Lowering, operator: Operator) -> int:
    (index,) = operator.inputs
    tensor = lowering.graph.tensors[index]
    source = lowering.value(index)
    if lowering.values[source].kind != FLOAT:
        raise NotCoveredError(f"signs of {tensor.type}")
    value = lowering.add_value(BITS, bits_shape(lowering, operator.outputs[0], tensor.shape[-1]))
    name = lowering.name(operator)
    arguments = (str(pixels_of(tensor.shape)), str(tensor.shape[-1]), "{0}", "{output}")
    lowering.add_step(
        Step(
            name,
            lowering.identifier(f"{name}_signs"),
            f"signs of {tensor.shape[-1]} channels",
            "bopkit_signs_of_float",
            arguments,
            (source,),
            value,
        )
    )
    return value


def _signs(graph: Graph, values: np.ndarray, start: int, chain: list[Operator], end: int) -> np.ndarray:
    """Whether what a chain makes of each value is negative: bool [channels, n].

    Args:
        graph: With the constants.
        values: [channels, n], of the tensor `start`.
        start: The tensor with which the chain begins.
        chain: Its operators.
        end: The tensor whose sign is taken.

    Raises:
        NotCoveredError: The sign of a maximum is not the maximum of signs.
    """
    pooled = []
    for operator in chain:
        if operator.type == "MAX_POOL_2D":
            pooled.append(values)
        values = _applied(graph, operator, values)
    tensor = graph.tensors[end]
    if tensor.type == "int8":
        negative = values < int(tensor.zero_points[0])
    else:
        negative = arithmetic.is_negative(values)
    for before in pooled:
        order = np.argsort(before, axis=1, kind="stable")
        ascending = np.take_along_axis(negative, order, axis=1)
        if (ascending[:, 1:] & ~ascending[:, :-1]).any():
            raise NotCoveredError("a factor below zero stands between a maximum pool and the sign")
    return negative


def _applied(graph: Graph, operator: Operator, values: np.ndarray) -> np.ndarray:
    """What one operator makes of values [channels, n], in the precision in which it computes."""
    if operator.type == "DEQUANTIZE":
        source = graph.tensors[operator.inputs[0]]
        scale, zero = np.float32(source.scales[0]), int(source.zero_points[0])
        return (values - zero).astype(np.float32) * scale
    if operator.type == "RESHAPE":
        return values
    if operator.type == "RELU":
        return np.maximum(values, np.float32(0))
    if operator.type == "MAX_POOL_2D":
        return _clamped(operator, values)
    given = next(index for index in operator.inputs if constant(graph, index) is not None)
    numbers = np.asarray(constant(graph, given), np.float32).reshape(-1, 1)
    if len(numbers) not in (1, len(values)):
        raise NotCoveredError("its constants are not one a channel")
    if operator.type == "PRELU":
        return np.where(values >= 0, values, values * numbers)
    if operator.type == "SUB" and given == operator.inputs[0]:
        return _clamped(operator, numbers - values)
    function: Any = {"ADD": np.add, "SUB": np.subtract, "MUL": np.multiply}[operator.type]
    return _clamped(operator, function(values, numbers))


def _clamped(operator: Operator, values: np.ndarray) -> np.ndarray:
    low, high = arithmetic.REAL_BOUNDS[operator.activation]
    if low is None:
        return values
    if values.dtype != np.float32:
        raise NotCoveredError(f"a pool of int8 with {operator.activation}")
    return np.clip(values, np.float32(low), np.float32(np.inf if high is None else high))


def _reshaped(lowering: Lowering, operator: Operator, value: int) -> int:
    """The same bits in another shape."""
    shape = lowering.graph.tensors[operator.outputs[0]].shape
    before = lowering.values[value].shape
    if shape[-1] != before[-1] and before[-1] % 8:
        raise NotCoveredError(f"signs of {before[-1]} channels, which fill no bytes, get another shape")
    return lowering.add_alias(value, shape)
