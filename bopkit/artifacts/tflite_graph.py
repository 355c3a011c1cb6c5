"""Tensors, operators and graphs of a `.tflite` file, and their checks before an interpreter runs them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_LEAST_INPUTS = {"ADD": 2, "MUL": 2, "SUB": 2, "DIV": 2, "CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2}
_KERNEL_RANK = {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}

_POSITIVE_OPTIONS = ("channels_in", "stride_height", "stride_width", "dilation_height_factor", "dilation_width_factor")
LCE_OPTIONS = (*_POSITIVE_OPTIONS, "padding", "pad_values")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: Its name; may be empty.
        shape: Sizes.
        type: Name of the element type, e.g. `float32`.
        bits: Bits of one element; None for strings and resources.
        buffer: Index of its buffer.
        data: Its bytes in the file; empty for a tensor that is computed.
        is_variable: Whether it keeps its value between runs.
        scales: Quantization scales, float32; empty for a tensor that is not quantized.
        zero_points: int64, none, one, or one a scale: the values that stand for zero.
        quantized_dimension: Axis with one scale an index, where there are several.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    bits: int | None
    buffer: int
    data: memoryview
    is_variable: bool
    scales: np.ndarray
    zero_points: np.ndarray
    quantized_dimension: int

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return len(self.data) > 0

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def values(self) -> np.ndarray:
        """The values of a constant of a type that NumPy has, in the tensor's shape."""
        return np.frombuffer(self.data, np.dtype(self.type).newbyteorder("<")).reshape(self.shape)

    def real_values(self) -> np.ndarray:
        """What the values of a constant stand for: float64 where it is quantized, else as they are."""
        values = self.values()
        if not len(self.scales):
            return values
        sizes = [1] * values.ndim
        if len(self.scales) > 1:
            sizes[self.quantized_dimension] = -1
        zero_points = self.zero_points if len(self.zero_points) else np.zeros(1)
        zeros = zero_points.reshape(sizes if len(zero_points) > 1 else [1] * values.ndim)
        return (values.astype(np.float64) - zeros) * self.scales.astype(np.float64).reshape(sizes)


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operation.

    Attributes:
        type: Name, e.g. `CONV_2D` or `LceBconv2d`.
        inputs: Indices of tensors; -1 for an input that is left out.
        outputs: Indices of tensors.
        options: Those of an LCE convolution that are checked; empty for others.
    """

    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Graph:
    """One subgraph: its operators are listed in the order in which they run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


def check_order(graph: Graph) -> None:
    """Refuse a graph in which an operator reads what no earlier one has computed, or writes what is given."""
    given = {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant or tensor.is_variable}
    computed = set(graph.inputs)
    for operator in graph.operators:
        for index in operator.inputs:
            if index >= 0 and index not in computed and index not in given and graph.tensors[index].elements:
                raise ValueError(f"an operator {operator.type} reads tensor {index} before it is computed")
        for index in operator.outputs:
            if index in computed or index in given:
                raise ValueError(f"an operator {operator.type} writes tensor {index}, which has a value")
            computed.add(index)
    for index in graph.outputs:
        if index not in computed and index not in given:
            raise ValueError(f"its output, tensor {index}, is never computed")


def check_operator(operator: Operator, tensors: tuple[Tensor, ...]) -> None:
    """Refuse operands that the common kernels of TensorFlow Lite and all of LCE's would follow blindly."""
    if operator.type.startswith("Lce"):
        _check_lce_operator(operator, tensors)
    least = _LEAST_INPUTS.get(operator.type, 0)
    if len(operator.inputs) < least or -1 in operator.inputs[:least]:
        raise ValueError(f"an operator {operator.type} lacks an input")
    rank = _KERNEL_RANK.get(operator.type)
    if rank is not None and len(tensors[operator.inputs[1]].shape) != rank:
        raise ValueError(f"the kernel of an operator {operator.type} has the wrong shape")


def _check_lce_operator(operator: Operator, tensors: tuple[Tensor, ...]) -> None:
    """Refuse LCE operators whose tensors or options do not fit each other."""
    needed = 2 if operator.type == "LceBconv2d" else 1
    if len(operator.inputs) < needed or -1 in operator.inputs[:needed] or len(operator.outputs) != 1:
        raise ValueError(f"an operator {operator.type} has the wrong number of inputs or outputs")
    if operator.type != "LceBconv2d":
        return
    kernel = tensors[operator.inputs[1]]
    options = operator.options
    if any(not 0 < options.get(name, 0) < 1 << 20 for name in _POSITIVE_OPTIONS):
        raise ValueError("an operator LceBconv2d has options out of range")
    if options.get("padding") not in (0, 1) or options.get("pad_values") not in (0, 1):
        raise ValueError("an operator LceBconv2d has an unknown padding")
    if kernel.type != "int32" or len(kernel.shape) != 4 or not kernel.is_constant:
        raise ValueError("the kernel of an operator LceBconv2d is not a packed constant")
    words = -(-options["channels_in"] // 32)
    groups = words // kernel.shape[3] if kernel.shape[3] else 0
    fits = groups and kernel.shape[3] * groups == words and kernel.shape[0] % groups == 0
    if not fits or tensors[operator.inputs[0]].shape[-1:] != (words,):
        raise ValueError("the kernel of an operator LceBconv2d does not fit its channels")
    used = group_channels(operator, kernel) - 32 * (kernel.shape[3] - 1)
    if used < 32 and np.any(kernel.values()[..., -1].astype("<u4") >> np.uint32(used)):
        raise ValueError("the kernel of an operator LceBconv2d has weights beyond its channels")
    for index in operator.inputs[2:]:  # multiplier, bias, thresholds: one a channel
        if index >= 0 and tensors[index].elements != kernel.shape[0]:
            raise ValueError("the constants of an operator LceBconv2d do not fit its kernel")


def has_groups(graph: Graph) -> bool:
    """Whether a binary convolution of a checked graph has groups."""
    convolutions = [each for each in graph.operators if each.type == "LceBconv2d"]
    return any(
        group_channels(each, graph.tensors[each.inputs[1]]) != each.options["channels_in"] for each in convolutions
    )


def group_channels(operator: Operator, kernel: Tensor) -> int:
    """Input channels of one group of an LceBconv2d: it does not say how many groups it has, its words do."""
    channels = operator.options["channels_in"]
    groups = -(-channels // 32) // kernel.shape[3]
    return channels // groups
