"""Factors and shifts of channels that the converter left between float operators, folded into kernels beside them.

Exact but for float32's own rounding. In int8 each such operator would round all values once more, and with one scale
for all channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.tflite import edit, signs
from bopkit.export.tflite.quantize import BIAS_INPUT, CHANNEL_AXIS, KERNEL_INPUT
from bopkit.export.tflite.schema import schema

LINEAR = ("MUL", "ADD", "SUB")


def fold_into_kernels(model: Any) -> int:
    """Fold what can be folded in a parsed model; the number of operators that are gone.

    A factor behind a max pool goes into the kernel before it unless it is negative.
    """
    (graph,) = model.subgraphs
    before = len(graph.operators)
    for operator in list(graph.operators):
        name = signs.name_of(model, operator)
        if name in CHANNEL_AXIS and name != "TRANSPOSE_CONV" and _kernel(model, operator) is not None:
            while _fold_next(model, operator):
                pass
            while name == "FULLY_CONNECTED" and _fold_previous(model, operator):
                pass
    return before - len(graph.operators)


def to_depthwise(model: Any, operators: list[Any]) -> None:
    """Make factors of channels, with the shift that follows, depthwise convolutions of one weight a channel.

    In int8 these have a scale for each channel and biases of 32 bits, while a product has one scale for all.

    Args:
        model: A parsed model; altered.
        operators: Its MUL operators that may be changed.
    """
    classes = schema()
    (graph,) = model.subgraphs
    for operator in operators:
        linear = linear_of(model, operator)
        result = int(operator.outputs[0])
        shape = [int(size) for size in graph.tensors[result].shape]
        (source, *more) = signs.activations_of(model, operator)
        if linear is None or more or len(shape) != 4 or list(graph.tensors[source].shape) != shape:
            continue
        factor, shift = linear
        last = operator
        follower = only_reader(model, result)
        if follower is not None and activation(operator) == 0:
            added = linear_of(model, follower)
            if added is not None and signs.name_of(model, follower) in ("ADD", "SUB") and np.all(added[0] == 1):
                shift, last = added[1], follower
        kernel = _add_constant(model, result, "factors", factor.reshape(1, 1, 1, -1))
        bias = _add_constant(model, result, "shifts", np.broadcast_to(shift, factor.shape))
        outputs = [int(last.outputs[0])]
        convolution = edit.new_operator(model, "DEPTHWISE_CONV_2D", 1, [source, kernel, bias], outputs)
        options = classes.DepthwiseConv2DOptionsT()
        options.padding, options.depthMultiplier = classes.Padding.VALID, 1
        options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
        options.fusedActivationFunction = activation(last)
        convolution.builtinOptionsType = classes.BuiltinOptions.DepthwiseConv2DOptions
        convolution.builtinOptions = options
        graph.operators = [
            convolution if each is operator else each
            for each in graph.operators
            if each is operator or each is not last
        ]


def add_to_input(model: Any, operator: Any, shift: float) -> None:
    """Let an operator with a kernel compute as if its input were greater; what it pads with counts as greater too."""
    kernel, axis = _kernel(model, operator), CHANNEL_AXIS[signs.name_of(model, operator)]
    assert kernel is not None
    others = tuple(each for each in range(kernel.ndim) if each != axis)
    bias = _bias(model, operator) + shift * kernel.astype(np.float64).sum(axis=others)
    _set_weights(model, operator, kernel, bias)


def _fold_next(model: Any, operator: Any) -> bool:
    """Fold the operator behind a kernel's, or behind the max pool that follows it."""
    (graph,) = model.subgraphs
    if activation(operator):
        return False
    end = int(operator.outputs[0])
    follower = only_reader(model, end)
    pooled = follower is not None and signs.name_of(model, follower) == "MAX_POOL_2D" and not activation(follower)
    pool = follower if pooled else None
    if pool is not None:
        follower = only_reader(model, int(pool.outputs[0]))
    linear = None if follower is None else linear_of(model, follower)
    if follower is None or linear is None or (pool is not None and activation(follower)):
        return False
    factor, shift = linear
    if pool is not None and np.any(factor < 0):
        return False
    kernel, bias = _kernel(model, operator), _bias(model, operator)
    axis = CHANNEL_AXIS[signs.name_of(model, operator)]
    assert kernel is not None
    if kernel.shape[axis] != len(factor):
        return False
    along = factor.reshape([-1 if each == axis else 1 for each in range(kernel.ndim)])
    _set_weights(model, operator, kernel * along, bias * factor + shift)
    last = operator if pool is None else pool
    last.outputs = [int(follower.outputs[0])]
    if pool is None:
        operator.builtinOptions.fusedActivationFunction = activation(follower)
    graph.operators = [each for each in graph.operators if each is not follower]
    return True


def _fold_previous(model: Any, dense: Any) -> bool:
    """Fold the operator before a dense layer, or before the reshape in front of it."""
    (graph,) = model.subgraphs
    makers = {int(tensor): each for each in graph.operators for tensor in each.outputs}
    reader, maker = dense, makers.get(int(dense.inputs[0]))
    if maker is not None and signs.name_of(model, maker) == "RESHAPE":
        reader, maker = maker, makers.get(int(maker.inputs[0]))
    linear = None if maker is None else linear_of(model, maker)
    if maker is None or linear is None or activation(maker):
        return False
    (source,) = signs.activations_of(model, maker)
    if list(graph.tensors[source].shape) != list(graph.tensors[int(maker.outputs[0])].shape):
        return False
    if any(only_reader(model, int(each.outputs[0])) is None for each in (maker, reader) if each is not dense):
        return False
    kernel, bias = _kernel(model, dense), _bias(model, dense)
    assert kernel is not None
    inputs = kernel.shape[1]
    if inputs % len(linear[0]):
        return False
    factor, shift = (np.tile(each, inputs // len(linear[0])) for each in linear)
    _set_weights(model, dense, kernel * factor, bias + kernel.astype(np.float64) @ shift)
    reader.inputs = [source, *list(reader.inputs)[1:]]
    graph.operators = [each for each in graph.operators if each is not maker]
    return True


def linear_of(model: Any, operator: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Factor and shift, float64 [channels], of an operator that has no more than these; None for others."""
    name = signs.name_of(model, operator)
    if name not in LINEAR or len(signs.activations_of(model, operator)) != 1:
        return None
    constant = signs.channel_constant(model, operator)
    if constant is None:
        return None
    values = constant.astype(np.float64)
    one, zero = np.ones_like(values), np.zeros_like(values)
    if name == "MUL":
        return values, zero
    if name == "ADD":
        return one, values
    constant_first = signs.is_constant(model, int(operator.inputs[0]))
    return (-one, values) if constant_first else (one, -values)


def only_reader(model: Any, tensor: int) -> Any | None:
    """The one operator that reads a tensor; None where there are more or it is an output."""
    (graph,) = model.subgraphs
    if tensor in map(int, graph.outputs):
        return None
    found = signs.readers(model).get(tensor, [])
    return found[0] if len(found) == 1 else None


def activation(operator: Any) -> int:
    """The number of the activation that an operator ends with; 0 for none."""
    return int(getattr(operator.builtinOptions, "fusedActivationFunction", 0) or 0)


def _kernel(model: Any, operator: Any) -> np.ndarray | None:
    return edit.constant(model, int(operator.inputs[KERNEL_INPUT]))


def _bias(model: Any, operator: Any) -> np.ndarray:
    """The bias, zeros where there is none, float64 [channels]."""
    (graph,) = model.subgraphs
    inputs = [int(each) for each in operator.inputs]
    if len(inputs) > BIAS_INPUT and inputs[BIAS_INPUT] >= 0:
        stored = edit.constant(model, inputs[BIAS_INPUT])
        assert stored is not None
        return stored.astype(np.float64)
    return np.zeros(int(graph.tensors[int(operator.outputs[0])].shape[-1]))


def _set_weights(model: Any, operator: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Give an operator new constants: others may share the old ones."""
    result = int(operator.outputs[0])
    inputs = [int(each) for each in operator.inputs][:BIAS_INPUT]
    inputs[KERNEL_INPUT] = _add_constant(model, result, "folded_kernel", kernel)
    operator.inputs = [*inputs, _add_constant(model, result, "folded_bias", bias)]


def _add_constant(model: Any, beside: int, kind: str, values: np.ndarray) -> int:
    name = f"{model.subgraphs[0].tensors[beside].name.decode()}_{kind}"
    data = np.ascontiguousarray(values, np.float32)
    return edit.add_tensor(model, name, data.shape, "FLOAT32", data=data)
