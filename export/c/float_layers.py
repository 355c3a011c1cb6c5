"""Operators of float32 in C, and those that lead to float32 and from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bopkit.export.c import arithmetic
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.geometry import one_pixel, window, window_struct
from bopkit.export.c.graph import Graph, Operator, constant, pixels_of
from bopkit.export.c.program_builder import Layer, Lowering
from bopkit.export.c.steps import FLOAT, INT8, UINT8, Array, Macs, Step, Struct

_FLOAT_BYTES = 4
_LARGEST = "3.402823466e+38f"
_ELEMENTWISE = {"ADD": "add", "SUB": "subtract", "MUL": "multiply", "DIV": "divide", "MAXIMUM": "maximum"}
_UNARY = {"ABS": "absolute", "NEG": "negate", "LOGISTIC": "logistic"}
_MOST_PADDED_BYTES = 2**16 - 1


def find(graph: Graph, operator: Operator) -> Layer | None:
    """What lowers an operator that answers float32; None where there is none."""
    if any(graph.tensors[index].type != "float32" for index in operator.outputs):
        return None
    return _LAYERS.get(operator.type)


def lower_quantize(lowering: Lowering, operator: Operator) -> None:
    """Lower a QUANTIZE of float32 to int8."""
    output = lowering.graph.tensors[operator.outputs[0]]
    call = (
        str(math.prod(output.shape)),
        _float_text(output.scales[0]),
        str(int(output.zero_points[0])),
        "{0}",
        "{output}",
    )
    values = (_float_value(lowering, operator.inputs[0]),)
    lowering.add_result(operator, INT8, "int8 of float", "bopkit_int8_of_float", call, values)


def float_constant(graph: Graph, index: int) -> np.ndarray | None:
    """The float32 values of a constant, also of one that a DEQUANTIZE expands; None for a tensor that is computed."""
    given = constant(graph, index)
    if given is not None:
        return np.asarray(given, np.float32)
    writer = graph.writer(index) if index >= 0 else None
    if writer is None or writer.type != "DEQUANTIZE":
        return None
    stored = graph.tensors[writer.inputs[0]]
    return stored.real_values().astype(np.float32) if stored.is_constant else None


def _float_value(lowering: Lowering, tensor: int) -> int:
    value = lowering.value(tensor)
    if lowering.values[value].kind != FLOAT:
        raise NotCoveredError(f"a float operator of {lowering.values[value].kind}")
    return value


def _float_text(value: Any) -> str:
    """A float32 in C."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _bounds(activation: str) -> tuple[str, str]:
    low, high = arithmetic.REAL_BOUNDS[activation]
    return f"-{_LARGEST}" if low is None else _float_text(low), _LARGEST if high is None else _float_text(high)


def _weights(graph: Graph, index: int, filters: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A kernel as it is stored in flash: float32, or int8 and the scale of each filter."""
    writer = graph.writer(index)
    if writer is not None and writer.type == "DEQUANTIZE":
        stored, tensor = constant(graph, writer.inputs[0]), graph.tensors[writer.inputs[0]]
        scales = np.asarray(tensor.scales, np.float32)
        is_symmetric = not np.asarray(tensor.zero_points).any()
        if stored is not None and tensor.type == "int8" and is_symmetric and scales.size in (1, filters):
            return stored, np.broadcast_to(scales, filters)
    elif graph.tensors[index].type != "float32":
        raise NotCoveredError(f"float activations meet weights of {graph.tensors[index].type}")
    kernel = float_constant(graph, index)
    if kernel is None:
        raise NotCoveredError("weights that are computed")
    return kernel, None


def _convolution(lowering: Lowering, operator: Operator) -> None:
    """CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""
    graph = lowering.graph
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    is_depthwise, is_dense = operator.type == "DEPTHWISE_CONV_2D", operator.type == "FULLY_CONNECTED"
    filters = output.shape[-1]
    kernel, scales = _weights(graph, operator.inputs[1], filters)
    bias = float_constant(graph, operator.inputs[2]) if len(operator.inputs) > 2 and operator.inputs[2] >= 0 else None
    if is_dense:
        rows = math.prod(source.shape) // kernel.shape[1]
        place = one_pixel() | {"input_width": rows, "output_width": rows}
        channels, pixels, taps = kernel.shape[1], rows, kernel.shape[1]
    else:
        place = window(operator, source.shape, output.shape, kernel.shape[1:3])
        channels, pixels = source.shape[3], math.prod(output.shape[1:3])
        taps = math.prod(kernel.shape[1:3] if is_depthwise else kernel.shape[1:])
    least, most = _bounds(operator.activation)
    sizes: dict[str, Any] = {"channels": channels}
    if is_depthwise:
        sizes |= {"multiplier": filters // channels}
    else:
        sizes |= {"filters": filters, "groups": channels // kernel.shape[-1]}
    fields = {
        "window": place,
        **sizes,
        "weights": "NULL" if scales is not None else "{name}_weights",
        "int8_weights": "{name}_weights" if scales is not None else "NULL",
        "scales": "NULL" if scales is None else "{name}_scales",
        "bias": "{name}_bias",
        "least": least,
        "most": most,
    }
    arrays = [Array("weights", "float" if scales is None else "int8_t", kernel, True)]
    arrays += [Array("bias", "float", np.zeros(filters, np.float32) if bias is None else bias, True)]
    if scales is not None:
        arrays += [Array("scales", "float", scales)]
    is_direct = place["kernel_height"] == place["kernel_width"] == 1 and not (place["pad_top"] or place["pad_left"])
    scratch = () if is_depthwise else ("NULL",) if is_direct else ("{scratch}",)
    kind = "dense layer" if is_dense else f"{'depthwise ' * is_depthwise}convolution"
    size = "" if is_dense else f" {place['kernel_height']}x{place['kernel_width']}"
    word = "depthwise" if is_depthwise else "conv"
    lowering.add_result(
        operator,
        FLOAT,
        f"float {kind}{size}, {channels} channels to {filters}, "
        f"{place['output_height']}x{place['output_width']} pixels",
        f"bopkit_{word}_float",
        ("&{name}", "{0}", "{output}", *scratch),
        (_float_value(lowering, operator.inputs[0]),),
        tuple(arrays),
        (Struct("", f"bopkit_float_{word}", fields),),
        _FLOAT_BYTES * taps if scratch == ("{scratch}",) else 0,
        macs=Macs(float=pixels * filters * taps),
    )


def _elementwise(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    shape = graph.tensors[operator.outputs[0]].shape
    elements = math.prod(shape)
    arguments: list[str] = []
    values: list[int] = []
    arrays: list[Array] = []
    counts: list[int] = []
    for index, word in zip(operator.inputs[:2], ("first", "second"), strict=True):
        own = graph.tensors[index].shape
        given = float_constant(graph, index)
        count = math.prod(own)
        kept = tuple(own[next((i for i, size in enumerate(own) if size > 1), len(own)) :])
        if kept != tuple(shape[len(shape) - len(kept) :]):
            raise NotCoveredError(f"an operand of the shape {list(own)} meets {list(shape)}")
        counts.append(count)
        if given is None:
            arguments.append(f"{{{len(values)}}}")
            values.append(_float_value(lowering, index))
        else:
            arguments.append(f"{{name}}_{word}")
            arrays.append(Array(word, "float", given, True))
    least, most = _bounds(operator.activation)
    fields = {
        "elements": elements,
        "first_elements": counts[0],
        "second_elements": counts[1],
        "least": least,
        "most": most,
    }
    lowering.add_result(
        operator,
        FLOAT,
        f"{operator.type} of float",
        f"bopkit_{_ELEMENTWISE[operator.type]}_float",
        ("&{name}", *arguments, "{output}"),
        tuple(values),
        tuple(arrays),
        (Struct("", "bopkit_float_elementwise", fields),),
        in_place=True,
    )


def _unary(lowering: Lowering, operator: Operator) -> None:
    elements = str(math.prod(lowering.graph.tensors[operator.outputs[0]].shape))
    bounds = () if operator.type in _UNARY else _bounds(operator.type)
    lowering.add_result(
        operator,
        FLOAT,
        f"{operator.type} of float",
        f"bopkit_{_UNARY.get(operator.type, 'clamp')}_float",
        (elements, *bounds, "{0}", "{output}"),
        (_float_value(lowering, operator.inputs[0]),),
        in_place=True,
    )


def _prelu(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    shape, slopes = graph.tensors[operator.inputs[0]].shape, float_constant(graph, operator.inputs[1])
    if slopes is None or slopes.size not in (1, shape[-1], math.prod(shape[1:])):
        raise NotCoveredError("slopes that are not one a channel")
    lowering.add_result(
        operator,
        FLOAT,
        "PReLU of float",
        "bopkit_prelu_float",
        (str(math.prod(shape)), str(slopes.size), "{name}_slopes", "{0}", "{output}"),
        (_float_value(lowering, operator.inputs[0]),),
        (Array("slopes", "float", slopes, True),),
        in_place=True,
    )


def _pool(kernel: str) -> Layer:
    def lower(lowering: Lowering, operator: Operator) -> None:
        source, result = (lowering.graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
        size = int(operator.options["filter_height"]), int(operator.options["filter_width"])
        fields = window(operator, source, result, size)
        lowering.add_result(
            operator,
            FLOAT,
            f"{kernel} of {size[0]}x{size[1]} floats, {fields['output_height']}x{fields['output_width']} pixels",
            f"bopkit_{kernel}_pool_float",
            ("&{name}_window", str(source[-1]), *_bounds(operator.activation), "{0}", "{output}"),
            (_float_value(lowering, operator.inputs[0]),),
            structs=(window_struct(fields),),
        )

    return lower


def _mean(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    shape = graph.tensors[operator.inputs[0]].shape
    axes = np.asarray(constant(graph, operator.inputs[1])).ravel() % len(shape)
    if set(axes.tolist()) != set(range(1, len(shape) - 1)):
        raise NotCoveredError("a mean over other axes than all positions")
    lowering.add_result(
        operator,
        FLOAT,
        f"mean of {pixels_of(shape)} pixels",
        "bopkit_mean_float",
        (str(pixels_of(shape)), str(shape[-1]), "{0}", "{output}"),
        (_float_value(lowering, operator.inputs[0]),),
    )


def _softmax(lowering: Lowering, operator: Operator) -> None:
    shape = lowering.graph.tensors[operator.inputs[0]].shape
    beta = _float_text(operator.options["beta"])
    lowering.add_result(
        operator,
        FLOAT,
        f"softmax of {shape[-1]} scores",
        "bopkit_softmax_float",
        (str(pixels_of(shape)), str(shape[-1]), beta, "{0}", "{output}"),
        (_float_value(lowering, operator.inputs[0]),),
        in_place=True,
    )


def _reshape(lowering: Lowering, operator: Operator) -> None:
    shape = lowering.graph.tensors[operator.outputs[0]].shape
    value = lowering.add_alias(_float_value(lowering, operator.inputs[0]), shape)
    lowering.set_value(operator.outputs[0], value)


def _rows(rows: int, *counts: int) -> tuple[str, ...]:
    """The arguments of bopkit_copy_rows: rows, and floats of a row, an input's row and an output's row."""
    return str(rows), *(str(_FLOAT_BYTES * count) for count in counts)


def _copy(
    lowering: Lowering, operator: Operator, channels: tuple[int, int, int], call: tuple[str, ...], value: int, to: int
) -> None:
    """Add a copy of `channels`, the first one, their number, and that of the whole pixel."""
    name = lowering.name(operator)
    begin, count, whole = channels
    text = f"channels {begin} to {begin + count - 1} of {whole}"
    lowering.add_step(Step(name, lowering.identifier(name), text, "bopkit_copy_rows", call, (value,), to))


def _concatenation(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    shape = graph.tensors[operator.outputs[0]].shape
    if int(operator.options["axis"]) % len(shape) != len(shape) - 1:
        raise NotCoveredError("a concatenation along another axis than that of the channels")
    sources = [_float_value(lowering, index) for index in operator.inputs]
    value = lowering.add_value(FLOAT, shape)
    begin = 0
    for index, source in zip(operator.inputs, sources, strict=True):
        count = graph.tensors[index].shape[-1]
        call = (*_rows(pixels_of(shape), count, count, shape[-1]), "{0}", f"{{output}} + {begin}")
        _copy(lowering, operator, (begin, count, shape[-1]), call, source, value)
        begin += count
    lowering.set_value(operator.outputs[0], value)


def _split(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    whole = graph.tensors[operator.inputs[1]].shape
    axis = int(np.asarray(constant(graph, operator.inputs[0])).ravel()[0]) % len(whole)
    if axis != len(whole) - 1:
        raise NotCoveredError("a split along another axis than that of the channels")
    value, begin = _float_value(lowering, operator.inputs[1]), 0
    for index in operator.outputs:
        shape = graph.tensors[index].shape
        part = lowering.add_value(FLOAT, shape)
        call = (*_rows(pixels_of(shape), shape[-1], whole[-1], shape[-1]), f"{{0}} + {begin}", "{output}")
        _copy(lowering, operator, (begin, shape[-1], whole[-1]), call, value, part)
        lowering.set_value(index, part)
        begin += shape[-1]


def _pad(lowering: Lowering, operator: Operator) -> None:
    graph = lowering.graph
    source, output = graph.tensors[operator.inputs[0]].shape, graph.tensors[operator.outputs[0]].shape
    pads = np.asarray(constant(graph, operator.inputs[1])).reshape(-1, 2)
    if len(pads) != 4 or pads[0].any() or _FLOAT_BYTES * output[3] > _MOST_PADDED_BYTES:
        raise NotCoveredError("padding of other tensors than feature maps")
    fields = {
        "input_height": source[1],
        "input_width": source[2],
        "input_bytes": _FLOAT_BYTES * source[3],
        "output_height": output[1],
        "output_width": output[2],
        "output_bytes": _FLOAT_BYTES * output[3],
        "top": int(pads[1, 0]),
        "left": int(pads[2, 0]),
        "before": _FLOAT_BYTES * int(pads[3, 0]),
        "padding": 0,
    }
    values = (_float_value(lowering, operator.inputs[0]),)
    structs = (Struct("", "bopkit_padding", fields),)
    lowering.add_result(
        operator, FLOAT, "padding", "bopkit_pad", ("&{name}", "{0}", "{output}"), values, structs=structs
    )


def _of_8_bits(lowering: Lowering, operator: Operator) -> None:
    """DEQUANTIZE of int8 and uint8, and CAST of uint8."""
    source = lowering.graph.tensors[operator.inputs[0]]
    value = lowering.value(operator.inputs[0])
    kind = lowering.values[value].kind
    if source.type != kind or kind not in (INT8, UINT8):
        raise NotCoveredError(f"{operator.type} of {source.type}")
    scale, zero = ("1.0f", "0") if operator.type == "CAST" else (_float_text(source.scales[0]), source.zero_points[0])
    call = (str(math.prod(source.shape)), scale, str(zero), "{0}", "{output}")
    lowering.add_result(operator, FLOAT, f"float of {kind}", f"bopkit_float_of_{kind}", call, (value,))


_LAYERS: dict[str, Layer] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _convolution),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys((*_UNARY, "RELU", "RELU6", "RELU_N1_TO_1"), _unary),
    **dict.fromkeys(("DEQUANTIZE", "CAST"), _of_8_bits),
    "PRELU": _prelu,
    "MAX_POOL_2D": _pool("max"),
    "AVERAGE_POOL_2D": _pool("average"),
    "MEAN": _mean,
    "SOFTMAX": _softmax,
    "RESHAPE": _reshape,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "PAD": _pad,
}
