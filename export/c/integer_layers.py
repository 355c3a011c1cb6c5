"""Operators of int8 in C, but for convolutions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from bopkit.artifacts.tflite_graph import Tensor
from bopkit.export.c import arithmetic, binary_layers, float_layers, softmax, tables
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.geometry import window, window_struct
from bopkit.export.c.graph import Graph, Operator, constant, pixels_of
from bopkit.export.c.program_builder import Layer, Lowering
from bopkit.export.c.steps import BITS, INT8, UINT8, Array, Step, Struct

_SUM_BITS = 20
"""Fractional bits in which TensorFlow Lite adds int8 tensors."""

_READS_UINT8 = ("CONV_2D", "DEPTHWISE_CONV_2D")


def find(graph: Graph, operator: Operator) -> Layer | None:
    """What lowers an operator that answers int8; None where it answers another type, or is not known."""
    if any(graph.tensors[index].type != "int8" for index in operator.outputs):
        return None
    return _LAYERS.get(operator.type)


def _quantization(tensor: Tensor) -> tuple[float, int]:
    return float(tensor.scales[0]), int(tensor.zero_points[0])


def _pool(kernel: str) -> Layer:
    def lower(lowering: Lowering, operator: Operator) -> None:
        source, result = (lowering.graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
        size = int(operator.options["filter_height"]), int(operator.options["filter_width"])
        fields = window(operator, source, result, size)
        output = lowering.graph.tensors[operator.outputs[0]]
        bounds = arithmetic.quantized_bounds(operator.activation, *_quantization(output))
        lowering.add_result(
            operator,
            INT8,
            f"{kernel} of {size[0]}x{size[1]} numbers, {fields['output_height']}x{fields['output_width']} pixels",
            f"bopkit_{kernel}_pool_int8",
            ("&{name}_window", str(source[-1]), *map(str, bounds), "{0}", "{output}"),
            (lowering.value(operator.inputs[0]),),
            structs=(window_struct(fields),),
        )

    return lower


def _mean(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    axes = np.asarray(constant(graph, operator.inputs[1])).ravel() % len(source.shape)
    if set(axes.tolist()) != set(range(1, len(source.shape) - 1)):
        raise NotCoveredError("a mean over other axes than all positions")
    count = math.prod(source.shape[axis] for axis in axes)
    (scale, zero), (output_scale, output_zero) = _quantization(source), _quantization(output)
    multiplier, shift = arithmetic.quantized_multiplier(scale / output_scale)
    places = min(count.bit_length() - 1, 32, 31 - shift)
    fields = {
        "pixels": count,
        "channels": source.shape[-1],
        "input_zero_point": zero,
        "output_zero_point": output_zero,
        "multiplier": (multiplier << places) // count,
        "shift": shift + places,
    }
    lowering.add_result(
        operator,
        INT8,
        f"mean of {count} pixels",
        "bopkit_mean_int8",
        ("&{name}", "{0}", "{output}", "{scratch}"),
        (lowering.value(operator.inputs[0]),),
        structs=(Struct("", "bopkit_mean", fields),),
        scratch_bytes=4 * source.shape[-1],
    )


def _operands(lowering: Lowering, operator: Operator) -> tuple[list[Tensor], list[str], tuple[int, ...], list[Array]]:
    """Tensors, arguments, values and constants of an operator of two operands, the larger one first."""
    graph = lowering.graph
    indices = list(operator.inputs[:2])
    if math.prod(graph.tensors[indices[0]].shape) < math.prod(graph.tensors[indices[1]].shape):
        if operator.type == "SUB":
            raise NotCoveredError("the difference of a smaller and a larger tensor")
        indices.reverse()
    tensors = [graph.tensors[index] for index in indices]
    first, second = (each.shape for each in tensors)
    if second != first and math.prod(second) not in (1, first[-1]):
        raise NotCoveredError(f"operands of the shapes {list(first)} and {list(second)}")
    arguments: list[str] = []
    values: list[int] = []
    arrays: list[Array] = []
    for index in indices:
        given = constant(graph, index)
        if given is None:
            arguments.append(f"{{{len(values)}}}")
            values.append(lowering.value(index))
        else:
            arguments.append("{name}_operand")
            arrays.append(Array("operand", "int8_t", given, True))
    return tensors, arguments, tuple(values), arrays


@dataclasses.dataclass(frozen=True)
class _Sum:
    """A sum or difference of two int8 tensors: operands, multipliers of TensorFlow Lite, and all results."""

    tensors: list[Tensor]
    arguments: list[str]
    values: tuple[int, ...]
    arrays: list[Array]
    multipliers: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    weights: tuple[float, float]
    bounds: tuple[int, int]
    results: np.ndarray


def _sum_of(lowering: Lowering, operator: Operator) -> _Sum:
    tensors, arguments, values, arrays = _operands(lowering, operator)
    output = lowering.graph.tensors[operator.outputs[0]]
    sign = -1 if operator.type == "SUB" else 1
    (scale, zero), (second_scale, second_zero) = map(_quantization, tensors)
    output_scale, output_zero = _quantization(output)
    twice = 2 * max(scale, second_scale)
    first = arithmetic.quantized_multiplier(scale / twice)
    second = arithmetic.quantized_multiplier(second_scale / twice)
    second = sign * second[0], second[1]
    result = arithmetic.quantized_multiplier(twice / (output_scale * 2**_SUM_BITS))
    bounds = arithmetic.quantized_bounds(operator.activation, output_scale, output_zero)
    numbers = np.arange(-128, 128, dtype=np.int64)
    total = (
        arithmetic.rescale((numbers - zero) << _SUM_BITS, *first)[:, None]
        + arithmetic.rescale((numbers - second_zero) << _SUM_BITS, *second)[None]
    )
    results = np.clip(arithmetic.rescale(total, *result) + output_zero, *bounds)
    weights = scale / output_scale, sign * second_scale / output_scale
    return _Sum(tensors, arguments, values, arrays, (first, second, result), weights, bounds, results)


def _sum(lowering: Lowering, operator: Operator) -> None:
    found = _sum_of(lowering, operator)
    fields: dict[str, Any] = {
        "elements": math.prod(found.tensors[0].shape),
        "second_elements": math.prod(found.tensors[1].shape),
        "least": found.bounds[0],
        "most": found.bounds[1],
    }
    weights = arithmetic.weighted_sum(found.results, found.bounds, *found.weights)
    if weights is not None:
        fields |= dict(zip(("multiplier", "second_multiplier", "offset", "shift"), weights, strict=True))
        struct, kernel = Struct("", "bopkit_weighted_sum", fields), "bopkit_weighted_sum_int8"
    else:
        output = lowering.graph.tensors[operator.outputs[0]]
        zeros = (_quantization(each)[1] for each in (*found.tensors, output))
        names = ("", "second_", "output_")
        fields |= {f"{name}zero_point": zero for name, zero in zip(names, zeros, strict=True)}
        for name, (multiplier, shift) in zip(names, found.multipliers, strict=True):
            fields |= {f"{name}multiplier": multiplier, f"{name}shift": shift}
        struct, kernel = Struct("", "bopkit_elementwise", fields), "bopkit_add_int8"
    word = "difference" if operator.type == "SUB" else "sum"
    call = ("&{name}", *found.arguments, "{output}")
    arrays = tuple(found.arrays)
    lowering.add_result(operator, INT8, word, kernel, call, found.values, arrays, (struct,), in_place=True)


def signs_of_sum(lowering: Lowering, operator: Operator) -> Step | None:
    """The step that computes the signs of a sum of two int8 tensors of one shape; None where there is none."""
    output = lowering.graph.tensors[operator.outputs[0]]
    shapes = {lowering.graph.tensors[index].shape for index in operator.inputs}
    if operator.type not in ("ADD", "SUB") or len(shapes) > 1 or output.type != "int8":
        return None
    found = _sum_of(lowering, operator)
    weights = arithmetic.weighted_signs(found.results < _quantization(output)[1], *found.weights)
    if weights is None:
        return None
    fields = {"elements": math.prod(output.shape), "second_elements": math.prod(output.shape)}
    fields |= dict(zip(("multiplier", "second_multiplier", "offset"), weights, strict=True))
    name = lowering.name(operator)
    identifier = lowering.identifier(f"{name}_signs")
    arguments = (f"&{identifier}", str(output.shape[-1]), *found.arguments, "{output}")
    return Step(
        name,
        identifier,
        f"signs of a sum, {output.shape[-1]} channels",
        "bopkit_signs_of_sum",
        tuple(each.replace("{name}", identifier) for each in arguments),
        found.values,
        lowering.add_value(BITS, output.shape),
        tuple(found.arrays),
        (Struct("", "bopkit_weighted_sum", fields),),
    )


def _product(lowering: Lowering, operator: Operator) -> None:
    tensors, arguments, values, arrays = _operands(lowering, operator)
    output = lowering.graph.tensors[operator.outputs[0]]
    (scale, zero), (second_scale, second_zero) = map(_quantization, tensors)
    output_scale, output_zero = _quantization(output)
    factor = float(np.float32(scale) * np.float32(second_scale) / np.float32(output_scale))
    multiplier, shift = arithmetic.quantized_multiplier(factor)
    bounds = arithmetic.quantized_bounds(operator.activation, output_scale, output_zero)
    fields = {
        "elements": math.prod(tensors[0].shape),
        "second_elements": math.prod(tensors[1].shape),
        "zero_point": zero,
        "second_zero_point": second_zero,
        "output_zero_point": output_zero,
        "output_multiplier": multiplier,
        "output_shift": shift,
        "least": bounds[0],
        "most": bounds[1],
    }
    structs = (Struct("", "bopkit_elementwise", fields),)
    call = ("&{name}", *arguments, "{output}")
    lowering.add_result(
        operator, INT8, "product", "bopkit_multiply_int8", call, values, tuple(arrays), structs, in_place=True
    )


def _maximum(lowering: Lowering, operator: Operator) -> None:
    tensors, arguments, values, arrays = _operands(lowering, operator)
    if len({_quantization(each) for each in (*tensors, lowering.graph.tensors[operator.outputs[0]])}) > 1:
        raise NotCoveredError("a maximum of tensors of several scales")
    sizes = tuple(str(math.prod(each.shape)) for each in tensors)
    call = (*sizes, *arguments, "{output}")
    lowering.add_result(operator, INT8, "maximum", "bopkit_maximum_int8", call, values, tuple(arrays), in_place=True)


def _prelu(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source, slopes, output = (graph.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0]))
    given = constant(graph, operator.inputs[1])
    if given is None or given.size not in (1, source.shape[-1]):
        raise NotCoveredError("slopes that are not one a channel")
    (scale, zero), (slope_scale, slope_zero), (output_scale, output_zero) = map(_quantization, (source, slopes, output))
    positive = float(np.float32(scale) / np.float32(output_scale))
    negative = float(np.float32(scale) * np.float32(slope_scale) / np.float32(output_scale))
    multiplier, shift = arithmetic.quantized_multiplier(positive)
    slope_multiplier, slope_shift = arithmetic.quantized_multiplier(negative)
    fields = {
        "elements": math.prod(source.shape),
        "channels": given.size,
        "zero_point": zero,
        "slope_zero_point": slope_zero,
        "output_zero_point": output_zero,
        "multiplier": multiplier,
        "slope_multiplier": slope_multiplier,
        "shift": shift,
        "slope_shift": slope_shift,
        "slopes": "{name}_slopes",
    }
    lowering.add_result(
        operator,
        INT8,
        "PReLU",
        "bopkit_prelu_int8",
        ("&{name}", "{0}", "{output}"),
        (lowering.value(operator.inputs[0]),),
        (Array("slopes", "int8_t", given, True),),
        (Struct("", "bopkit_prelu", fields),),
        in_place=True,
    )


def _table(lowering: Lowering, operator: Operator) -> None:
    """An operator of one number: what it makes of all 256."""
    graph = lowering.graph
    source = graph.tensors[operator.inputs[0]]
    if source.type not in ("int8", "uint8"):
        writer = graph.writer(operator.inputs[0])
        if operator.type == "QUANTIZE" and writer is not None and _is_bconv_alone(lowering, operator):
            binary_layers.lower_quantized(lowering, writer, operator)
            return
        if operator.type == "QUANTIZE" and source.type == "float32":
            if tables.is_of_pixels(graph, operator):
                _table_of_pixels(lowering, operator)
            else:
                float_layers.lower_quantize(lowering, operator)
            return
        raise NotCoveredError(f"{operator.type} of {source.type}")
    if operator.type == "QUANTIZE" and source.type == "uint8" and _is_shift(graph, operator):
        lowering.set_value(operator.outputs[0], lowering.value(operator.inputs[0]))  # the same bits, read as uint8
        return
    value = lowering.value(operator.inputs[0])
    _add_table(lowering, operator, value, tables.of_operator(graph, operator)[None])


def _is_bconv_alone(lowering: Lowering, quantize: Operator) -> bool:
    """Whether a QUANTIZE alone reads what a binary convolution answers, which then answers int8."""
    (index,) = quantize.inputs
    writer = lowering.graph.writer(index)
    return writer is not None and writer.type == "LceBconv2d" and lowering.is_read_once(index)


def _is_shift(graph: Graph, operator: Operator) -> bool:
    """Whether uint8 becomes int8 by taking off 128, for convolutions alone: they can read either."""
    source, output = (graph.tensors[index] for index in (operator.inputs[0], operator.outputs[0]))
    (scale, zero), (output_scale, output_zero) = _quantization(source), _quantization(output)
    readers = graph.readers(operator.outputs[0])
    return scale == output_scale and zero == output_zero + 128 and all(each.type in _READS_UINT8 for each in readers)


def _table_of_pixels(lowering: Lowering, operator: Operator) -> None:
    """Pixels that are normalised in float32 before they become int8: a table, or one a channel."""
    source, numbers = tables.of_pixels(lowering.graph, operator)
    _add_table(lowering, operator, lowering.value(source), numbers)


def _add_table(lowering: Lowering, operator: Operator, value: int, numbers: np.ndarray) -> None:
    elements = str(math.prod(lowering.graph.tensors[operator.outputs[0]].shape))
    is_unsigned = lowering.values[value].kind == UINT8
    channels = (str(len(numbers)),) if is_unsigned else ()
    lowering.add_result(
        operator,
        INT8,
        f"table of {operator.type}",
        f"bopkit_table_{'uint8' if is_unsigned else 'int8'}",
        (elements, *channels, "{name}_table", "{0}", "{output}"),
        (value,),
        (Array("table", "int8_t", numbers),),
        in_place=True,
    )


def _reshape(lowering: Lowering, operator: Operator) -> None:
    shape = lowering.graph.tensors[operator.outputs[0]].shape
    value = lowering.add_alias(lowering.value(operator.inputs[0]), shape)
    lowering.set_value(operator.outputs[0], value)


def _concatenation(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    output = graph.tensors[operator.outputs[0]]
    tensors = [graph.tensors[index] for index in operator.inputs]
    if any(_quantization(each) != _quantization(output) for each in tensors):
        raise NotCoveredError("a concatenation of tensors of several scales")
    if int(operator.options["axis"]) % len(output.shape) != len(output.shape) - 1:
        raise NotCoveredError("a concatenation along another axis than that of the channels")
    name = lowering.name(operator)
    sources = [lowering.value(index) for index in operator.inputs]
    value = lowering.add_value(INT8, output.shape)
    begin = 0
    for source, tensor in zip(sources, tensors, strict=True):
        arguments = _rows(pixels_of(output.shape), tensor.shape[-1], tensor.shape[-1], output.shape[-1])
        lowering.add_step(
            Step(
                name,
                lowering.identifier(name),
                f"channels {begin} to {begin + tensor.shape[-1] - 1} of {output.shape[-1]}",
                "bopkit_copy_rows",
                (*arguments, "{0}", f"{{output}} + {begin}"),
                (source,),
                value,
            )
        )
        begin += tensor.shape[-1]
    lowering.set_value(operator.outputs[0], value)


def _split(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source = graph.tensors[operator.inputs[1]]
    axis = int(np.asarray(constant(graph, operator.inputs[0])).ravel()[0]) % len(source.shape)
    if axis != len(source.shape) - 1:
        raise NotCoveredError("a split along another axis than that of the channels")
    name, value = lowering.name(operator), lowering.value(operator.inputs[1])
    begin = 0
    for index in operator.outputs:
        shape = graph.tensors[index].shape
        part = lowering.add_value(INT8, shape)
        lowering.add_step(
            Step(
                name,
                lowering.identifier(name),
                f"channels {begin} to {begin + shape[-1] - 1} of {source.shape[-1]}",
                "bopkit_copy_rows",
                (*_rows(pixels_of(shape), shape[-1], source.shape[-1], shape[-1]), f"{{0}} + {begin}", "{output}"),
                (value,),
                part,
            )
        )
        lowering.set_value(index, part)
        begin += shape[-1]


def _rows(rows: int, count: int, input_stride: int, output_stride: int) -> tuple[str, ...]:
    return str(rows), str(count), str(input_stride), str(output_stride)


def _pad(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    pads = np.asarray(constant(graph, operator.inputs[1])).reshape(-1, 2)
    if len(pads) != 4 or pads[0].any():
        raise NotCoveredError("padding of other tensors than feature maps")
    fields = {
        "input_height": source.shape[1],
        "input_width": source.shape[2],
        "input_bytes": source.shape[3],
        "output_height": output.shape[1],
        "output_width": output.shape[2],
        "output_bytes": output.shape[3],
        "top": int(pads[1, 0]),
        "left": int(pads[2, 0]),
        "before": int(pads[3, 0]),
        "padding": int(output.zero_points[0]) & 0xFF,
    }
    lowering.add_result(
        operator,
        INT8,
        "padding",
        "bopkit_pad",
        ("&{name}", "{0}", "{output}"),
        (lowering.value(operator.inputs[0]),),
        structs=(Struct("", "bopkit_padding", fields),),
    )


def _softmax(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    scale, zero_point = _quantization(output)
    if scale != 1 / 256 or zero_point != -128:
        raise NotCoveredError("a softmax whose output is not in steps of 1/256 from -128 on")
    powers = softmax.powers(float(source.scales[0]), float(operator.options["beta"]))
    call = (str(pixels_of(source.shape)), str(source.shape[-1]), "{name}_powers", str(len(powers)), "{0}", "{output}")
    values = (lowering.value(operator.inputs[0]),)
    arrays = (Array("powers", "int32_t", powers),)
    lowering.add_result(
        operator, INT8, f"softmax of {source.shape[-1]} scores", "bopkit_softmax_int8", call, values, arrays
    )


_LAYERS: dict[str, Layer] = {
    "ADD": _sum,
    "SUB": _sum,
    "MUL": _product,
    "MAXIMUM": _maximum,
    "PRELU": _prelu,
    "MAX_POOL_2D": _pool("max"),
    "AVERAGE_POOL_2D": _pool("average"),
    "MEAN": _mean,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "PAD": _pad,
    "SOFTMAX": _softmax,
    **dict.fromkeys(("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "ABS", "NEG"), _table),
}
