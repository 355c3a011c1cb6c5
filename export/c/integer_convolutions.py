"""Convolutions and dense layers of int8 in C."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bopkit.export.c import arithmetic
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.geometry import one_pixel, window
from bopkit.export.c.graph import Graph, Operator, constant
from bopkit.export.c.program_builder import Layer, Lowering
from bopkit.export.c.steps import INT8, UINT8, Array, Macs, Step, Struct

_TYPES = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def is_one(graph: Graph, operator: Operator) -> bool:
    """Whether an operator is a convolution or dense layer of int8 with constant weights."""
    return (
        operator.type in _TYPES
        and graph.tensors[operator.inputs[0]].type == "int8"
        and graph.tensors[operator.outputs[0]].type == "int8"
        and constant(graph, operator.inputs[1]) is not None
    )


def find(graph: Graph, operator: Operator) -> Layer | None:
    """What lowers the operator; None where it is none of these."""
    return _lower if is_one(graph, operator) else None


class IntegerConvolution:
    """A convolution, depthwise convolution or dense layer of int8.

    Attributes:
        name: Of its layer.
        filters: Its output channels.
    """

    def __init__(self, lowering: Lowering, operator: Operator):
        graph = lowering.graph
        self._operator = operator
        self.name = lowering.name(operator)
        self._input, self._output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
        self._kernel = np.asarray(constant(graph, operator.inputs[1]), np.int64)
        self._is_depthwise = operator.type == "DEPTHWISE_CONV_2D"
        self._is_dense = operator.type == "FULLY_CONNECTED"
        self.filters = self._kernel.shape[3 if self._is_depthwise else 0]
        self._value = lowering.value(operator.inputs[0])
        self._is_unsigned = lowering.values[self._value].kind == UINT8
        self._padding = int(self._input.zero_points[0])
        self._bias = self._bias_with_zero_point(graph)
        scales = graph.tensors[operator.inputs[1]].scales
        self._factors = arithmetic.product_factors(
            float(self._input.scales[0]), scales, float(self._output.scales[0]), self.filters
        )
        self._multipliers = [self._multiplier(factor, f) for f, factor in enumerate(self._factors)]
        zero_point = int(self._output.zero_points[0])
        self._zero_point = zero_point
        self._bounds = arithmetic.quantized_bounds(operator.activation, float(self._output.scales[0]), zero_point)

    def least_sums(self, numbers: np.ndarray) -> np.ndarray:
        """The least sum of products, without bias, from which on a channel's result is at least its number.

        Args:
            numbers: int64 [filters]; 128 for what no result reaches.
        """
        reach = self._largest_sums()
        low, high = -reach - 1, reach + 1  # a result below the number, and one at or above it, or none
        for _ in range(int(reach.max()).bit_length() + 2):
            middle = (low + high) >> 1
            reaches = self._results(middle) >= numbers
            high = np.where(reaches, middle, high)
            low = np.where(reaches, low, middle)
        high = np.where(self._results(-reach) >= numbers, -reach - 1, high)
        thresholds = high - self._bias
        if np.abs(thresholds).max() >= 1 << 31:
            raise NotCoveredError("its sums need more than 32 bits")
        return thresholds

    def step_to_bits(self, lowering: Lowering, value: int, arrays: list[Array], inverted: str) -> Step:
        """The call of the kernel that compares sums with thresholds."""
        return self._step(lowering, "bits", value, ("{name}_thresholds", inverted), arrays, [], has_bias=False)

    def step_to_int8(self, lowering: Lowering, value: int) -> Step:
        """The call of the kernel that answers numbers."""
        multipliers, shifts = np.array(self._multipliers, np.int64).T
        arrays = [Array("multipliers", "int32_t", multipliers), Array("shifts", "int8_t", shifts)]
        fields = {
            "multipliers": "{name}_multipliers",
            "shifts": "{name}_shifts",
            "zero_point": self._zero_point,
            "least": self._bounds[0],
            "most": self._bounds[1],
            "rounds_once": int(self._is_dense),
        }
        structs = [Struct("scale", "bopkit_sum_to_int8", fields)]
        return self._step(lowering, "int8", value, ("&{name}_scale",), arrays, structs, has_bias=True)

    def _results(self, sums: np.ndarray) -> np.ndarray:
        rescaled = [
            (arithmetic.rescale_once if self._is_dense else arithmetic.rescale)(sums[f : f + 1], *multiplier)[0]
            for f, multiplier in enumerate(self._multipliers)
        ]
        return np.clip(np.array(rescaled) + self._zero_point, *self._bounds)

    def _multiplier(self, factor: float, f: int) -> tuple[int, int]:
        if not self._is_dense:
            return arithmetic.quantized_multiplier(factor)
        return arithmetic.one_rounding_multiplier(factor, int(self._largest_sums()[f]))

    def _per_filter(self, function: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
        axis = 3 if self._is_depthwise else 0
        return function(values, axis=tuple(each for each in range(values.ndim) if each != axis))

    def _largest_sums(self) -> np.ndarray:
        """What no sum of a filter exceeds, with its bias and without regard to the sign."""
        return 256 * self._per_filter(np.sum, np.abs(self._kernel)) + np.abs(self._bias)

    def _bias_with_zero_point(self, graph: Graph) -> np.ndarray:
        """The bias for products of stored numbers: int64 [filters]."""
        given = constant(graph, self._operator.inputs[2]) if len(self._operator.inputs) > 2 else None
        bias = np.zeros(self.filters, np.int64) if given is None else given.astype(np.int64)
        return bias - self._padding * self._per_filter(np.sum, self._kernel)

    def _step(
        self,
        lowering: Lowering,
        result: str,
        value: int,
        scale: tuple[str, ...],
        arrays: list[Array],
        structs: list[Struct],
        has_bias: bool,
    ) -> Step:
        identifier = lowering.identifier(self.name)
        fields, taps, pixels = self._fields()
        kernel = "depthwise" if self._is_depthwise else "conv"
        fields |= {
            "is_unsigned": int(self._is_unsigned),
            "padding": self._padding,
            "weights": f"{identifier}_weights",
            "bias": f"{identifier}_bias" if has_bias else "NULL",
        }
        weights = [Array("weights", "int8_t", self._stored_kernel(), True)]
        if has_bias:
            weights.append(Array("bias", "int32_t", self._bias, True))
        arguments = [f"&{identifier}", *(each.format(name=identifier) for each in scale), "{0}", "{output}"]
        shape = fields["window"]
        kind = "dense layer" if self._is_dense else f"{'depthwise ' * self._is_depthwise}convolution"
        size = "" if self._is_dense else f" {shape['kernel_height']}x{shape['kernel_width']}"
        return Step(
            self.name,
            identifier,
            f"int8 {kind}{size}, {self._input.shape[-1]} channels to {self.filters} "
            f"{'signs' if result == 'bits' else 'numbers'}, {shape['output_height']}x{shape['output_width']} pixels",
            f"bopkit_{kernel}_to_{result}",
            tuple([*arguments, "{scratch}"] if kernel == "conv" else arguments),
            (self._value,),
            value,
            (*weights, *arrays),
            (*structs, Struct("", f"bopkit_{kernel}", fields)),
            0 if self._is_depthwise else 6 * 4 * -(-taps // 4),
            macs=Macs(int8=pixels * self.filters * taps),
        )

    def _fields(self) -> tuple[dict[str, Any], int, int]:
        """Fields of the struct, products of one result, and pixels of the output."""
        shape, kernel = self._input.shape, self._kernel.shape
        if self._is_dense:
            rows = math.prod(shape) // kernel[1]
            fields = one_pixel() | {"input_width": rows, "output_width": rows}
            return {"window": fields, "channels": kernel[1], "filters": self.filters, "groups": 1}, kernel[1], rows
        fields = window(self._operator, shape, self._output.shape, kernel[1:3])
        pixels, channels = math.prod(self._output.shape[1:3]), shape[3]
        if self._is_depthwise:
            multiplier = self.filters // channels
            return {"window": fields, "channels": channels, "multiplier": multiplier}, kernel[1] * kernel[2], pixels
        groups = channels // kernel[3]
        layer = {"window": fields, "channels": channels, "filters": self.filters, "groups": groups}
        return layer, math.prod(kernel[1:]), pixels

    def _stored_kernel(self) -> np.ndarray:
        """The weights as the kernels read them: of each filter a multiple of four, zeros behind it."""
        if self._is_depthwise:
            return self._kernel.reshape(-1, self.filters)
        flat = self._kernel.reshape(self.filters, -1)
        return np.pad(flat, [(0, 0), (0, -flat.shape[1] % 4)])


def _lower(lowering: Lowering, operator: Operator) -> None:
    layer = IntegerConvolution(lowering, operator)
    value = lowering.add_value(INT8, lowering.graph.tensors[operator.outputs[0]].shape)
    lowering.add_step(layer.step_to_int8(lowering, value))
    lowering.set_value(operator.outputs[0], value)
