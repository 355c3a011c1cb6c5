"""Binary convolutions and pools in C, and the signs that they read."""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.c import arithmetic
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.geometry import window, window_struct
from bopkit.export.c.graph import Operator, constant, pixels_of
from bopkit.export.c.program_builder import Layer, Lowering
from bopkit.export.c.steps import BITS, FLOAT, INT8, Array, Macs, Step, Struct

_INT16_MAX = 2**15 - 1


class Convolution:
    """A binary convolution of the graph.

    Attributes:
        operator: The LceBconv2d.
        name: Of its layer.
        products: Products that one result sums up.
        filters: Its output channels.
        input: Number of the value that it reads.
    """

    def __init__(self, lowering: Lowering, operator: Operator):
        graph = lowering.graph
        self.operator = operator
        self.name = lowering.name(operator)
        kernel = constant(graph, operator.inputs[1])
        assert kernel is not None
        channels = int(operator.options["channels_in"])
        self._groups = -(-channels // 32) // kernel.shape[3]
        self._channels = channels // self._groups
        self.filters = kernel.shape[0]
        self.products = kernel.shape[1] * kernel.shape[2] * self._channels
        self._window = window(
            operator, _shape(lowering, operator.inputs[0]), _shape(lowering, operator.outputs[0]), kernel.shape[1:3]
        )
        self._pads_with_ones = int(operator.options["pad_values"]) == 1
        if self._groups > 1 and (self._channels % 8 or (self.filters // self._groups) % 8):
            raise NotCoveredError(f"its groups have {self._channels} channels, which fill no bytes")
        if 2 * self.products > _INT16_MAX * 2:
            raise NotCoveredError(f"a filter has {self.products} weights, more than {_INT16_MAX}")
        bits = np.unpackbits(kernel.astype("<i4").view(np.uint8), axis=-1, bitorder="little")
        packed = np.packbits(bits[..., : self._channels], axis=-1, bitorder="little").reshape(self.filters, -1)
        self._patch_bytes = packed.shape[1]
        words = self._patch_bytes // 4
        self._words = np.ascontiguousarray(packed[:, : 4 * words]).view("<u4")
        self._tails = packed[:, 4 * words :]
        self.input = lowering.value(operator.inputs[0])

    @property
    def distances(self) -> np.ndarray:
        """All distances that may occur, in ascending order."""
        may_be_odd = not self._pads_with_ones and self._channels % 2
        return np.arange(0, 2 * self.products + 1, 1 if may_be_odd else 2)

    def results(self, lowering: Lowering) -> np.ndarray:
        """What it answers for each of `distances`: float32, or int64 for int8 [filters, n]."""
        graph, operator = lowering.graph, self.operator
        multiplier, bias = (constant(graph, index) for index in operator.inputs[2:4])
        assert multiplier is not None and bias is not None
        output = graph.tensors[operator.outputs[0]]
        arguments = (self.distances, multiplier, bias, self.products, operator.activation)
        if output.type == "float32":
            return arithmetic.bconv_floats(*arguments)
        return arithmetic.bconv_integers(*arguments, float(output.scales[0]), int(output.zero_points[0]))

    def step(
        self,
        lowering: Lowering,
        kernel: str,
        result: str,
        output: int,
        scale: tuple[str, ...],
        arrays: list[Array],
        structs: list[Struct] | None = None,
    ) -> Step:
        """The call of one of the kernels: `scale` are its arguments between the layer and the input."""
        identifier = lowering.identifier(self.name)
        fields: dict[str, Any] = {
            "window": self._window,
            "groups": self._groups,
            "group_bytes": -(-self._channels // 8),
            "group_channels": self._channels,
            "filters": self.filters,
            "pads_with_ones": int(self._pads_with_ones),
            "weights": f"{identifier}_weights" if self._words.size else "NULL",
            "tails": f"{identifier}_tails" if self._tails.size else "NULL",
        }
        weights = [Array("weights", "uint32_t", self._words, True), Array("tails", "uint8_t", self._tails, True)]
        shape = self._window
        height, width = shape["output_height"], shape["output_width"]
        return Step(
            self.name,
            identifier,
            f"binary convolution {shape['kernel_height']}x{shape['kernel_width']}, "
            f"{self._channels * self._groups} channels to {result}, {height}x{width} pixels",
            kernel,
            (f"&{identifier}", *(each.format(name=identifier) for each in scale), "{0}", "{output}", "{scratch}"),
            (self.input,),
            output,
            tuple(each for each in (*weights, *arrays) if each.values.size),
            (*(structs or ()), Struct("", "bopkit_bconv", fields)),
            8 * -(-self._patch_bytes // 4) + 4,
            macs=Macs(binary=height * width * self.filters * self.products),
        )


def find(operator: Operator) -> Layer | None:
    """What lowers a binary operator; None where it is none."""
    return {
        "LceBconv2d": _lower_convolution,
        "LceBMaxPool2d": _lower_pool,
        "LceDequantize": _lower_numbers,
    }.get(operator.type)


def bits_shape(lowering: Lowering, tensor: int, channels: int) -> tuple[int, ...]:
    """The shape of a bit-packed tensor of the graph in channels, where the graph has words."""
    return (*lowering.graph.tensors[tensor].shape[:-1], channels)


def _shape(lowering: Lowering, tensor: int) -> tuple[int, ...]:
    return lowering.graph.tensors[tensor].shape


def threshold_arrays(convolution: Convolution, negative: np.ndarray) -> tuple[str, list[Array]]:
    """The kernel that compares distances with thresholds, and its arrays.

    Args:
        convolution: What they are the distances of.
        negative: bool [filters, n]: whether the result is -1 for each of its distances.
    """
    position, inverted = arithmetic.sign_thresholds(negative)
    distances = np.append(convolution.distances, 2 * convolution.products + 1)
    thresholds = distances[position] - 1
    is_wide = thresholds.max(initial=0) > _INT16_MAX
    arrays = [Array("thresholds", "int32_t" if is_wide else "int16_t", thresholds), *inversion(inverted)]
    return f"bopkit_bconv_to_bits{'_wide' if is_wide else ''}", arrays


def inversion(inverted: np.ndarray) -> list[Array]:
    """The array that says which channels' bits are inverted, where there are any."""
    if not inverted.any():
        return []
    return [Array("inverted", "uint8_t", np.packbits(inverted, bitorder="little"))]


def inversion_argument(arrays: list[Array]) -> str:
    """The argument for the array of `inversion`."""
    return "{name}_inverted" if any(each.name == "inverted" for each in arrays) else "NULL"


def _lower_convolution(lowering: Lowering, operator: Operator) -> None:
    convolution = Convolution(lowering, operator)
    (index,) = operator.outputs
    output = lowering.graph.tensors[index]
    thresholds = constant(lowering.graph, operator.inputs[4]) if len(operator.inputs) > 4 else None
    if thresholds is not None:
        negative = convolution.distances[None] > 2 * thresholds.astype(np.int64)[:, None]
        kernel, arrays = threshold_arrays(convolution, negative)
        value = lowering.add_value(BITS, bits_shape(lowering, index, convolution.filters))
        result = f"{convolution.filters} signs"
        scale = ("{name}_thresholds", inversion_argument(arrays))
        lowering.add_step(convolution.step(lowering, kernel, result, value, scale, arrays))
    elif output.type == "int8":
        value = lowering.add_value(INT8, output.shape)
        results = convolution.results(lowering)
        lowering.add_step(_to_int8(lowering, convolution, value, results, float(output.scales[0])))
    else:
        value = lowering.add_value(FLOAT, output.shape)
        lowering.add_step(_to_float(lowering, convolution, value))
    lowering.set_value(index, value)


def lower_quantized(lowering: Lowering, operator: Operator, quantize: Operator) -> None:
    """Lower a binary convolution that answers float32, and the QUANTIZE that alone reads it."""
    if not lowering.is_read_once(operator.outputs[0]):
        raise NotCoveredError("its numbers are wanted as int8 and as float32")
    output = lowering.graph.tensors[quantize.outputs[0]]
    scale, zero_point = float(output.scales[0]), int(output.zero_points[0])
    convolution = Convolution(lowering, operator)
    results = arithmetic.quantize(convolution.results(lowering), scale, zero_point)
    value = lowering.add_value(INT8, output.shape)
    lowering.add_step(_to_int8(lowering, convolution, value, results, scale))
    lowering.set_value(quantize.outputs[0], value)


def _to_int8(lowering: Lowering, convolution: Convolution, value: int, results: np.ndarray, scale: float) -> Step:
    multiplier = constant(lowering.graph, convolution.operator.inputs[2])
    assert multiplier is not None
    changes = np.flatnonzero((results[:, 1:] != results[:, :-1]).any(axis=0))
    first, last = (int(changes[0]), int(changes[-1]) + 1) if len(changes) else (0, 0)
    least, most = int(convolution.distances[first]), int(convolution.distances[last])  # beyond them nothing changes
    inside = slice(first, last + 1)
    line = arithmetic.affine_integers(
        convolution.distances[inside], results[:, inside], -multiplier.astype(np.float64) / scale
    )
    arrays = [
        Array("multipliers", "int32_t", line.multipliers),
        Array("offsets", "int32_t", line.offsets),
        Array("exceptions", "int32_t", line.exceptions),
    ]
    fields = {
        "multipliers": "{name}_multipliers",
        "offsets": "{name}_offsets",
        "least": least,
        "most": most,
        "exceptions": "{name}_exceptions" if len(line.exceptions) else "NULL",
        "exception_count": len(line.exceptions),
        "shift": line.shift,
    }
    structs = [Struct("scale", "bopkit_distance_to_int8", fields)]
    result = f"{convolution.filters} numbers"
    return convolution.step(lowering, "bopkit_bconv_to_int8", result, value, ("&{name}_scale",), arrays, structs)


def _to_float(lowering: Lowering, convolution: Convolution, value: int) -> Step:
    multiplier, bias = (
        np.asarray(constant(lowering.graph, index), np.float64) for index in convolution.operator.inputs[2:4]
    )
    offsets = (bias + convolution.products * multiplier).astype(np.float32)
    arrays = [Array("multipliers", "float", (-multiplier).astype(np.float32)), Array("offsets", "float", offsets)]
    least, most = _clamp(convolution)
    fields = {"multipliers": "{name}_multipliers", "offsets": "{name}_offsets", "least": least, "most": most}
    structs = [Struct("scale", "bopkit_distance_to_float", fields)]
    result = f"{convolution.filters} numbers"
    return convolution.step(lowering, "bopkit_bconv_to_float", result, value, ("&{name}_scale",), arrays, structs)


def _clamp(convolution: Convolution) -> tuple[int, int]:
    """Least and greatest distance that a fused activation lets through."""
    least, most = arithmetic.SUM_BOUNDS[convolution.operator.activation]
    return max(0, convolution.products - most), min(2 * convolution.products, convolution.products - least)


def _lower_pool(lowering: Lowering, operator: Operator) -> None:
    source = lowering.value(operator.inputs[0])
    lowering.set_value(operator.outputs[0], add_pool(lowering, operator, source))


def add_pool(lowering: Lowering, operator: Operator, source: int) -> int:
    """Add the maximum pool of signs that stands for an operator; its value."""
    graph = lowering.graph
    channels = lowering.values[source].shape[-1]
    kernel = tuple(int(operator.options[f"filter_{axis}"]) for axis in ("height", "width"))
    before, after = (graph.tensors[index].shape for index in (operator.inputs[0], operator.outputs[0]))
    fields = window(operator, before, after, kernel)
    # The converter takes the sign of what is pooled first, and names the pool after the layer that reads it.
    name = next((step.name for step in lowering.steps if step.output == lowering.root(source)), lowering.name(operator))
    identifier = lowering.identifier(f"{name}_pool")
    value = lowering.add_value(BITS, (*after[:-1], channels))
    lowering.add_step(
        Step(
            name,
            identifier,
            f"maximum of {kernel[0]}x{kernel[1]} signs, {fields['output_height']}x{fields['output_width']} pixels",
            "bopkit_max_pool_bits",
            (f"&{identifier}_window", str(-(-channels // 8)), "{0}", "{output}"),
            (source,),
            value,
            structs=(window_struct(fields),),
        )
    )
    return value


def _lower_numbers(lowering: Lowering, operator: Operator) -> None:
    (index,) = operator.outputs
    output = lowering.graph.tensors[index]
    is_float = output.type == "float32"
    numbers: tuple[str, ...] = ()
    if not is_float:
        scale, zero = float(output.scales[0]), int(output.zero_points[0])
        one = int(arithmetic.round_away(np.float64(np.float32(1) / np.float32(scale))))
        numbers = str(min(zero + one, 127)), str(max(zero - one, -128))
    source = lowering.value(operator.inputs[0])
    name = lowering.name(operator)
    value = lowering.add_value(FLOAT if is_float else INT8, output.shape)
    lowering.add_step(
        Step(
            name,
            lowering.identifier(name),
            "numbers of signs",
            "bopkit_float_of_bits" if is_float else "bopkit_numbers_of_bits",
            (str(pixels_of(output.shape)), str(output.shape[-1]), *numbers, "{0}", "{output}"),
            (source,),
            value,
        )
    )
    lowering.set_value(index, value)
