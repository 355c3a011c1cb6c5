"""Full-precision kernels of a flatbuffer in fewer bits: float16, int8 weights, or int8 weights and activations.

Written on the parsed schema. ai-edge-quantizer would do the first two, but it pins one release of a second TensorFlow
Lite runtime, and that runtime cannot run LCE's operators, so that it cannot calibrate a binary network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bopkit.export.tflite import edit, signs
from bopkit.export.tflite.schema import builtin_name

KERNEL_INPUT, BIAS_INPUT = 1, 2
"""Where an operator takes its kernel and its bias."""

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""Operators with a kernel, and the dimension of the kernel that holds the output channels."""

INTEGER_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
"""Operators that can run in int8, and the version of each that does."""

LARGEST = 127
"""Stored weights lie in -127 to 127: LiteRT's kernels need that symmetry."""

LARGEST_BIAS = 2**30
"""Stored biases lie within it: half of an int32 is left for the products that are added."""

HALF_WAY = 1e-3
"""A range of which 0 is so near to the middle between two of 256 steps gets 255: pixels from -1 to 1 would all lie in
the middle between steps, and runtimes round them up or down."""

OPERATOR_BYTES = 300
"""About what one more operator and tensor cost in the file: smaller savings are none."""

Ranges = dict[int, tuple[float, float]]
"""Smallest and largest value of a tensor, by its index."""


@dataclasses.dataclass(frozen=True)
class StoredKernel:
    """A kernel that was stored in fewer than 32 bits.

    Attributes:
        shape: Of the kernel, as TensorFlow Lite lays it out.
        bits: Of one stored value.
        saved_bytes: What its content and its scales take less than float32.
        exact: Whether every value is the same as before.
    """

    shape: tuple[int, ...]
    bits: int
    saved_bytes: int
    exact: bool


def store_kernels(model: Any, float_weights: str) -> list[StoredKernel]:
    """Store the float kernels of a parsed model in fewer bits; the runtime expands each once, when it first runs.

    With `float32` only those become int8 that lose nothing: +-scale for each output channel.

    Args:
        model: A parsed flatbuffer; altered.
        float_weights: `float32`, `float16` or `int8`.
    """
    stored, operators = [], []
    for tensor, axis in _kernels(model):
        kernel = edit.constant(model, tensor)
        assert kernel is not None
        kept = _stored(kernel, axis, float_weights)
        if kept is None:
            continue
        values, scales = kept
        saved = kernel.nbytes - values.nbytes - (0 if scales is None else scales.nbytes)
        if saved <= OPERATOR_BYTES:
            continue
        operators.append(_expansion(model, tensor, values, scales, axis))
        restored = values.astype(np.float32) if scales is None else values * _along(scales, axis, kernel.ndim)
        exact = np.array_equal(restored, kernel)
        stored.append(StoredKernel(kernel.shape, 8 * values.itemsize, saved, exact))
    (graph,) = model.subgraphs
    graph.operators = operators + list(graph.operators)
    return stored


def quantize_kernel(
    kernel: np.ndarray, axis: int, least_scales: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Round a kernel to int8, symmetrically for each output channel; +-scale is kept exactly.

    Args:
        kernel: float32 of any shape.
        axis: The dimension of the output channels.
        least_scales: float [channels], 0 or more: a smaller scale is raised to this one, and the channel coarser.

    Returns:
        int8 of the same shape, -127 to 127, and float32 [channels]: `values * scales` is near the kernel.
    """
    others = tuple(each for each in range(kernel.ndim) if each != axis)
    largest = np.abs(kernel).max(axis=others)
    smallest = np.abs(kernel).min(axis=others)
    steps = np.where(largest == smallest, 1, LARGEST)
    scales = np.maximum(largest / steps, least_scales).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    values = np.rint(kernel / _along(scales, axis, kernel.ndim))
    return np.clip(values, -LARGEST, LARGEST).astype(np.int8), scales


def steps_of(low: float, high: float) -> tuple[float, int]:
    """Scale, exact in float32, and zero point of int8 numbers for a range that holds 0."""
    scale = (high - low) / 255 or 1.0
    if abs(abs(low / scale) % 1 - 0.5) < HALF_WAY:
        scale = (high - low) / 254
    scale = float(np.float32(scale))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def activation_tensors(model: Any) -> list[int]:
    """The tensors whose ranges `quantize_activations` needs: what enters and leaves operators that can run in int8."""
    return sorted({tensor for operator in _float_operators(model) for tensor in _ends(operator)})


def measure_ranges(tensors: list[int], batches: Iterator[np.ndarray], run: Callable[[np.ndarray], list]) -> Ranges:
    """Smallest and largest value of tensors over pictures, 0 included, as padding stores it.

    Args:
        tensors: Indices of tensors.
        batches: Pictures as the flatbuffer takes them.
        run: Answers the content of the tensors for a batch, one array each.
    """
    ranges: Ranges = dict.fromkeys(tensors, (0.0, 0.0))
    for batch in batches:
        for tensor, values in zip(tensors, run(batch), strict=True):
            low, high = ranges[tensor]
            ranges[tensor] = min(low, float(values.min())), max(high, float(values.max()))
    return ranges


def quantize_activations(model: Any, ranges: Ranges) -> list[StoredKernel]:
    """Let convolutions and dense layers with float kernels compute in int8, between quantisations and their reverse.

    One that follows another takes its int8 result as it is, and operators that read one tensor share its int8 copy.

    Args:
        model: A parsed flatbuffer; altered.
        ranges: Of every tensor in `activation_tensors(model)`.
    """
    (graph,) = model.subgraphs
    changed = _float_operators(model)
    read_as_signs = signs.read_as_signs(model, signs.OF_ONE_CHANNEL)
    copies: dict[int, IntegerCopy] = {}
    needed_as_floats = {int(each) for each in graph.outputs}
    for operator in graph.operators:
        if not any(operator is each for each in changed):
            needed_as_floats |= {int(each) for each in operator.inputs}
    stored, operators = [], []
    for operator in graph.operators:
        if not any(operator is each for each in changed):
            operators.append(operator)
            continue
        source, result = _ends(operator)
        if source not in copies:
            copies[source] = _integer_copy(model, source, ranges[source])
            operators.append(edit.new_operator(model, "QUANTIZE", 1, [source], [copies[source].tensor]))
        if result in read_as_signs:
            kernel, scale = to_signs(model, operator, copies[source])
            copies[result] = _integer_copy(model, result, (-128 * scale, 127 * scale))
        else:
            kernel = to_integers(model, operator, copies[source])
            copies[result] = _integer_copy(model, result, ranges[result])
        operator.outputs = [copies[result].tensor]
        stored.append(kernel)
        operators.append(operator)
        if result in needed_as_floats:
            operators.append(edit.new_operator(model, "DEQUANTIZE", 2, [copies[result].tensor], [result]))
    graph.operators = operators
    edit.clear_unused_constants(model)
    return stored


@dataclasses.dataclass(frozen=True)
class IntegerCopy:
    """An int8 tensor that stands for a float one: its index and its scale."""

    tensor: int
    scale: float


def to_integers(model: Any, operator: Any, source: IntegerCopy) -> StoredKernel:
    """Turn the inputs of one operator with a kernel into int8; its kernel."""
    return _to_integers(model, operator, source, for_signs=False)[0]


def to_signs(model: Any, operator: Any, source: IntegerCopy) -> tuple[StoredKernel, float]:
    """The same for an operator of whose result only signs are read; its kernel, and the scale for its result.

    One step of the result is one step of the sums, so that no sign is lost to rounding, and what is large saturates.
    Channels may be of any size then: all kernels have one scale, as a factor between sums and result would soon leave
    32 bits if it differed among channels.
    """
    return _to_integers(model, operator, source, for_signs=True)


def _to_integers(model: Any, operator: Any, source: IntegerCopy, for_signs: bool) -> tuple[StoredKernel, float]:
    (graph,) = model.subgraphs
    name = builtin_name(model, operator.opcodeIndex)
    axis = CHANNEL_AXIS[name]
    inputs = [int(each) for each in operator.inputs]
    kernel = edit.constant(model, inputs[KERNEL_INPUT])
    assert kernel is not None
    bias = edit.constant(model, inputs[BIAS_INPUT]) if len(inputs) > BIAS_INPUT and inputs[BIAS_INPUT] >= 0 else None
    # LiteRT doubles sums that it multiplies by 1 or more.
    largest = LARGEST_BIAS // 4 if for_signs else LARGEST_BIAS
    # A bias is stored in steps of both scales: beside a tiny kernel it would not fit into 32 bits.
    least_scales = 0.0 if bias is None else np.abs(bias).astype(np.float64) / (largest * source.scale)
    values, scales = quantize_kernel(kernel, axis, least_scales)
    steps = scales.astype(np.float64) * source.scale  # of sums and biases
    if for_signs:
        scales = np.full_like(scales, scales.max())
    kernel_name = graph.tensors[inputs[KERNEL_INPUT]].name.decode()
    inputs[0] = source.tensor
    inputs[KERNEL_INPUT] = edit.add_tensor(
        model, f"{kernel_name}_int8", kernel.shape, "INT8", scales, axis, data=values
    )
    if bias is not None:
        bias_scales = (scales * source.scale).astype(np.float32)
        bias_values = np.rint(bias / steps).astype(np.int32)
        inputs[BIAS_INPUT] = edit.add_tensor(
            model, f"{kernel_name}_bias_int32", bias.shape, "INT32", bias_scales, 0, data=bias_values
        )
    operator.inputs = inputs
    operator.opcodeIndex = edit.operator_code(model, name, INTEGER_VERSIONS[name])
    saved = kernel.nbytes - values.nbytes - scales.nbytes
    return StoredKernel(kernel.shape, 8, saved, exact=False), float(np.float32(scales.max() * source.scale))


def _integer_copy(model: Any, tensor: int, value_range: tuple[float, float]) -> IntegerCopy:
    """A new int8 tensor for the values of a float one."""
    (graph,) = model.subgraphs
    described = graph.tensors[tensor]
    scale, zero_point = steps_of(*value_range)
    shape = tuple(int(size) for size in described.shape)
    name = f"{described.name.decode()}_int8"
    added = edit.add_tensor(model, name, shape, "INT8", np.array([scale], np.float32), zero_point=zero_point)
    return IntegerCopy(added, scale)


def _float_operators(model: Any) -> list[Any]:
    """Operators with a constant float kernel that can run in int8."""
    (graph,) = model.subgraphs
    return [
        operator
        for operator in graph.operators
        if builtin_name(model, operator.opcodeIndex) in INTEGER_VERSIONS
        and all(
            edit.constant(model, int(tensor)) is not None
            for tensor in list(operator.inputs)[KERNEL_INPUT : BIAS_INPUT + 1]
            if tensor >= 0
        )
        and edit.constant(model, int(operator.inputs[0])) is None
    ]


def _ends(operator: Any) -> tuple[int, int]:
    """The tensors that enter and leave an operator."""
    return int(operator.inputs[0]), int(operator.outputs[0])


def _kernels(model: Any) -> Iterator[tuple[int, int]]:
    """Each constant float kernel of the graph once, and its dimension of output channels."""
    (graph,) = model.subgraphs
    seen = set()
    for operator in graph.operators:
        axis = CHANNEL_AXIS.get(builtin_name(model, operator.opcodeIndex))
        if axis is None or int(operator.inputs[KERNEL_INPUT]) in seen:
            continue
        tensor = int(operator.inputs[KERNEL_INPUT])
        seen.add(tensor)
        if edit.constant(model, tensor) is not None:
            yield tensor, axis


def _stored(kernel: np.ndarray, axis: int, float_weights: str) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Values to store, with scales for int8; None where the kernel stays float32."""
    values, scales = quantize_kernel(kernel, axis)
    if float_weights == "int8" or np.array_equal(values * _along(scales, axis, kernel.ndim), kernel):
        return values, scales
    if float_weights == "float16" and np.abs(kernel).max() <= np.finfo(np.float16).max:
        return kernel.astype(np.float16), None
    return None


def _expansion(model: Any, tensor: int, values: np.ndarray, scales: np.ndarray | None, axis: int) -> Any:
    """Make a constant the result of a new operator that expands `values`; that operator."""
    (graph,) = model.subgraphs
    described = graph.tensors[tensor]
    dtype, version = ("FLOAT16", 3) if scales is None else ("INT8", 5)
    name = f"{described.name.decode()}_{dtype.lower()}"
    stored = edit.add_tensor(model, name, values.shape, dtype, scales, axis, data=values)
    edit.clear_constant(model, tensor)
    return edit.new_operator(model, "DEQUANTIZE", version, [stored], [tensor])


def _along(scales: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """Scales in a shape that multiplies a tensor along one of its dimensions."""
    return scales.reshape([-1 if each == axis else 1 for each in range(rank)])
