"""Which float tensors of a parsed flatbuffer are only read for their signs, by `LceQuantize` in the end.

Of such a tensor no size matters: where integers stand for its values, their scale may be as fine as 32 bits allow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bopkit.export.tflite import edit
from bopkit.export.tflite.schema import builtin_name

WITH_A_CONSTANT = ("ADD", "SUB", "MUL", "PRELU")
"""Operators of one number that may take another from a constant of the channel."""

OF_ONE_NUMBER = (*WITH_A_CONSTANT, "RELU", "RELU6", "RELU_N1_TO_1", "ABS", "NEG")
"""Operators whose every result follows from one number and its channel."""

OF_ONE_CHANNEL = ("MAX_POOL_2D", "RESHAPE")
"""Operators that hand numbers on, and whose signs follow from the signs that they take."""


def name_of(model: Any, operator: Any) -> str:
    """Name of an operator, e.g. `CONV_2D` or `LceBconv2d`."""
    name = builtin_name(model, operator.opcodeIndex)
    custom = model.operatorCodes[operator.opcodeIndex].customCode
    return custom.decode() if name == "CUSTOM" and custom else name


def activations_of(model: Any, operator: Any) -> list[int]:
    """The tensors that an operator takes and that are no constants."""
    return [int(each) for each in operator.inputs if each >= 0 and not is_constant(model, int(each))]


def is_constant(model: Any, tensor: int) -> bool:
    """Whether the file holds the content of a tensor."""
    data = model.buffers[model.subgraphs[0].tensors[tensor].buffer].data
    return data is not None and len(data) > 0


def readers(model: Any) -> dict[int, list[Any]]:
    """The operators that take a tensor, by its index."""
    found: dict[int, list[Any]] = {}
    for operator in model.subgraphs[0].operators:
        for tensor in dict.fromkeys(map(int, operator.inputs)):
            found.setdefault(tensor, []).append(operator)
    return found


def acts_on_single_numbers(model: Any, operator: Any) -> bool:
    """Whether every result of an operator follows from one number that it takes, and its channel."""
    name = name_of(model, operator)
    if name not in OF_ONE_NUMBER or len(activations_of(model, operator)) != 1:
        return False
    return name not in WITH_A_CONSTANT or channel_constant(model, operator) is not None


def channel_constant(model: Any, operator: Any) -> np.ndarray | None:
    """The constant of an operator of two operands as one number for each channel; None if it has no such constant."""
    (graph,) = model.subgraphs
    given = [edit.constant(model, int(each)) for each in operator.inputs]
    constants = [each for each in given if each is not None]
    channels = int([1, *graph.tensors[int(operator.outputs[0])].shape][-1])
    if len(constants) != 1:
        return None
    (values,) = constants
    if values.size not in (1, channels) or values.size != max(values.shape[-1:], default=1):
        return None
    return np.broadcast_to(values.reshape(-1), channels)


def read_as_signs(model: Any, through: tuple[str, ...] = (*OF_ONE_NUMBER, *OF_ONE_CHANNEL)) -> set[int]:
    """The tensors that `LceQuantize` alone reads, straight or through a chain of the operators that are given."""
    (graph,) = model.subgraphs
    outputs = {int(each) for each in graph.outputs}
    read = readers(model)
    signs: set[int] = set()
    for operator in reversed(graph.operators):
        for tensor in map(int, operator.outputs):
            if tensor in outputs or not read.get(tensor):
                continue
            if all(_reads_signs(model, reader, signs, through) for reader in read[tensor]):
                signs.add(tensor)
    return signs


def _reads_signs(model: Any, reader: Any, signs: set[int], through: tuple[str, ...]) -> bool:
    name = name_of(model, reader)
    if name == "LceQuantize":
        return True
    if name not in through or int(reader.outputs[0]) not in signs:
        return False
    return name in OF_ONE_CHANNEL or acts_on_single_numbers(model, reader)
