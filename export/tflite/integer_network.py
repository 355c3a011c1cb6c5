"""A flatbuffer that computes in int8 and bits alone, between its first QUANTIZE and its last DEQUANTIZE.

`quantize.quantize_activations` leaves all but convolutions and dense layers in float32, which costs phones nothing.
Microcontrollers have no float32 to spare. What stays float32 here is wanted for its sign alone, and integers give the
same signs (`bopkit.export.c.signs`): the results of binary convolutions that lead to nothing but an LceQuantize, and
what is computed of them, or of int8, number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from bopkit.export.tflite import edit
from bopkit.export.tflite.quantize import (
    INTEGER_VERSIONS,
    LARGEST,
    IntegerCopy,
    Ranges,
    StoredKernel,
    integer_scale,
    kernel_scales,
    to_integers,
)
from bopkit.export.tflite.schema import builtin_name, schema

_SAME_SCALE = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "RESHAPE", "CONCATENATION", "SPLIT", "MAXIMUM")
"""Operators whose int8 operands and results have one scale."""

_PROBABILITIES = ("SOFTMAX", "LOGISTIC")
"""Operators whose int8 results are in steps of 1/256 from -128 on."""

_VERSIONS = {
    "ADD": 2,
    "SUB": 2,
    "MUL": 2,
    "RELU": 2,
    "PRELU": 1,
    "LOGISTIC": 2,
    "SOFTMAX": 2,
    "MEAN": 2,
    "MAX_POOL_2D": 2,
    "AVERAGE_POOL_2D": 2,
    "PAD": 2,
    "CONCATENATION": 2,
    "SPLIT": 2,
    "RESHAPE": 1,
    "MAXIMUM": 2,
    **INTEGER_VERSIONS,
}
"""Operators that compute int8, and the version of each that does."""

_NUMBER_BY_NUMBER = ("ADD", "SUB", "MUL", "PRELU", "RELU")
"""Operators that compute each number from one number and constants."""

_LARGEST_SUM_BITS = 30
_SAME_PADDING = 0


def measured_tensors(model: Any) -> list[int]:
    """The tensors whose ranges `compute_in_integers` needs: all that are computed in float32, and the inputs."""
    (graph,) = model.subgraphs
    types = schema().TensorType
    computed = {int(each) for operator in graph.operators for each in operator.outputs} | set(map(int, graph.inputs))
    return sorted(each for each in computed if graph.tensors[each].type == types.FLOAT32)


def pixel_tensors(model: Any) -> list[int]:
    """The tensors that are computed of uint8 pixels number by number, to which a range of pixels gives theirs."""
    (graph,) = model.subgraphs
    types = schema().TensorType
    found: list[int] = []
    for operator in graph.operators:
        name, index = builtin_name(model, operator.opcodeIndex), int(operator.inputs[0])
        follows = index in found and name in ("ADD", "SUB", "MUL")
        if follows or (name == "CAST" and graph.tensors[index].type == types.UINT8):
            found.append(int(operator.outputs[0]))
    return found


def compute_in_integers(model: Any, ranges: Ranges) -> list[StoredKernel]:
    """Rewrite a parsed model so that its layers compute in int8; the kernels that became int8.

    Args:
        model: A parsed flatbuffer; altered.
        ranges: Of every tensor in `measured_tensors(model)`.
    """
    return _Rewriting(model, ranges).run()


class _Rewriting:
    """One call of `compute_in_integers`."""

    def __init__(self, model: Any, ranges: Ranges):
        self._model = model
        (self._graph,) = model.subgraphs
        self._ranges = ranges
        self._readers = self._find_readers()
        self._sign_alone = self._find_sign_alone()
        self._copies: dict[int, IntegerCopy] = {}
        self._floats: set[int] = set()
        self._operators: list[Any] = []
        self._stored: list[StoredKernel] = []

    def run(self) -> list[StoredKernel]:
        self._unify_ranges()
        for operator in self._graph.operators:
            self._rewrite(operator)
        for index in map(int, self._graph.outputs):
            if index in self._copies and index not in self._floats:
                self._as_float(index)
        self._graph.operators = self._operators
        edit.clear_unused_constants(self._model)
        return self._stored

    def _name(self, operator: Any) -> str:
        name = builtin_name(self._model, operator.opcodeIndex)
        if name != "CUSTOM":
            return name
        code = self._model.operatorCodes[operator.opcodeIndex].customCode
        return code.decode() if isinstance(code, bytes) else str(code)

    def _is_constant(self, index: int) -> bool:
        return index >= 0 and self._model.buffers[self._graph.tensors[index].buffer].data is not None

    def _is_float(self, index: int) -> bool:
        return index >= 0 and self._graph.tensors[index].type == schema().TensorType.FLOAT32

    def _find_readers(self) -> dict[int, list[Any]]:
        readers: dict[int, list[Any]] = {}
        for operator in self._graph.operators:
            for index in map(int, operator.inputs):
                readers.setdefault(index, []).append(operator)
        return readers

    def _find_sign_alone(self) -> set[int]:
        """The tensors of which nothing but signs of single numbers is wanted."""
        found: set[int] = set()
        outputs = set(map(int, self._graph.outputs))
        for operator in reversed(self._graph.operators):
            for index in map(int, operator.outputs):
                readers = self._readers.get(index, [])
                if readers and index not in outputs and len(readers) == 1 and self._keeps_signs(readers[0], found):
                    found.add(index)
        return found

    def _keeps_signs(self, operator: Any, found: set[int]) -> bool:
        """Whether nothing but a sign is made of what an operator reads."""
        name = self._name(operator)
        if name == "LceQuantize":
            return True
        if int(operator.outputs[0]) not in found:
            return False
        if name in ("MAX_POOL_2D", "RESHAPE"):
            return True
        constants = [self._is_constant(int(index)) for index in operator.inputs]
        return name in _NUMBER_BY_NUMBER and constants.count(False) == 1

    def _unify_ranges(self) -> None:
        """Give tensors that must have one scale the range of all of them."""
        groups: dict[int, int] = {}

        def root(index: int) -> int:
            while groups.get(index, index) != index:
                index = groups[index]
            return index

        for operator in self._graph.operators:
            if self._name(operator) in _SAME_SCALE:
                tied = [int(each) for each in (*operator.inputs, *operator.outputs) if int(each) in self._ranges]
                for index in tied[1:]:
                    groups[root(index)] = root(tied[0])
        members: dict[int, list[int]] = {}
        for index in self._ranges:
            members.setdefault(root(index), []).append(index)
        for tied in members.values():
            low, high = min(self._ranges[each][0] for each in tied), max(self._ranges[each][1] for each in tied)
            for index in tied:
                self._ranges[index] = low, high

    def _rewrite(self, operator: Any) -> None:
        name = self._name(operator)
        outputs = list(map(int, operator.outputs))
        if name in ("CAST", "QUANTIZE", "LceBMaxPool2d") or not any(map(self._is_float, (*operator.inputs, *outputs))):
            self._keep(operator)
        elif name == "LceQuantize":
            source = int(operator.inputs[0])
            if source in self._copies:
                operator.inputs = [self._copies[source].tensor]
            self._operators.append(operator)
        elif name == "LceBconv2d":
            self._rewrite_binary(operator)
        elif name in INTEGER_VERSIONS and self._has_constant_kernel(operator):
            self._rewrite_convolution(operator, name)
        elif name in _VERSIONS and not self._stays_float(operator, name):
            self._rewrite_other(operator, name)
        else:
            self._keep(operator)

    def _keep(self, operator: Any) -> None:
        """Append an operator as it is; what it reads in float32 is made of int8."""
        for index in map(int, operator.inputs):
            if index in self._copies and index not in self._floats:
                self._as_float(index)
        self._operators.append(operator)
        self._floats |= set(map(int, operator.outputs))

    def _as_float(self, index: int) -> None:
        self._operators.append(edit.new_operator(self._model, "DEQUANTIZE", 2, [self._copies[index].tensor], [index]))
        self._floats.add(index)

    def _has_constant_kernel(self, operator: Any) -> bool:
        inputs = list(map(int, operator.inputs))
        return all(edit.constant(self._model, index) is not None for index in inputs[1:3] if index >= 0)

    def _stays_float(self, operator: Any, name: str) -> bool:
        """Whether an operator computes number by number what is wanted for its sign alone."""
        if int(operator.outputs[0]) not in self._sign_alone:
            return False
        source = next(int(each) for each in operator.inputs if not self._is_constant(int(each)))
        return name in _NUMBER_BY_NUMBER or source not in self._copies

    def _rewrite_binary(self, operator: Any) -> None:
        (output,) = map(int, operator.outputs)
        if output in self._sign_alone:
            self._keep(operator)
            return
        copied = self._new_copy(output)
        if _pads_with_zeros(operator):  # LCE's kernels answer int8 only where there is nothing to correct
            self._operators += [operator, edit.new_operator(self._model, "QUANTIZE", 1, [output], [copied.tensor])]
            return
        operator.outputs = [copied.tensor]
        self._operators.append(operator)

    def _rewrite_convolution(self, operator: Any, name: str) -> None:
        source, output = int(operator.inputs[0]), int(operator.outputs[0])
        copy = self._copy(source)
        if output in self._sign_alone and self._leads_to_sign(output):
            result = self._new_copy(output, self._sign_scale(operator, copy))
        else:
            result = self._new_copy(output)
        self._stored.append(to_integers(self._model, operator, copy, result))
        self._operators.append(operator)

    def _leads_to_sign(self, index: int) -> bool:
        """Whether nothing but pools stands before the sign of a tensor."""
        (reader,) = self._readers[index]
        name = self._name(reader)
        return name == "LceQuantize" or (
            name in ("MAX_POOL_2D", "RESHAPE") and self._leads_to_sign(int(reader.outputs[0]))
        )

    def _sign_scale(self, operator: Any, source: IntegerCopy) -> float:
        """A scale so small that no sum of products but 0 becomes 0: the greater ones are cut off, signs stay.

        With the scale of a range, all that is above minus half a step becomes 0, and so +1.
        """
        scales, largest_sums = kernel_scales(self._model, operator, source)
        steps = scales.astype(np.float64) * source.scale
        # LiteRT shifts a sum to the left in 32 bits before it multiplies.
        return float(max(steps.min(), (steps * largest_sums).max() / 2.0**_LARGEST_SUM_BITS))

    def _rewrite_other(self, operator: Any, name: str) -> None:
        inputs = []
        sources = list(map(int, operator.inputs))
        for index in sources:
            if not self._is_float(index):
                inputs.append(index)
            elif self._is_constant(index):
                inputs.append(self._constant_copy(index))
            else:
                inputs.append(self._copy(index).tensor)
        operator.inputs = inputs
        scale = (1 / 256, -128) if name in _PROBABILITIES else None
        if name in _SAME_SCALE:
            copies = [self._copies[index] for index in sources if index in self._copies]
            scale = (copies[0].scale, copies[0].zero_point) if copies else None
        outputs = []
        for index in map(int, operator.outputs):
            copied = self._new_copy(index) if scale is None else self._new_copy(index, *scale)
            outputs.append(copied.tensor)
        operator.outputs = outputs
        operator.opcodeIndex = edit.operator_code(self._model, name, _VERSIONS[name])
        self._operators.append(operator)

    def _copy(self, index: int) -> IntegerCopy:
        """The int8 tensor for a float one; a QUANTIZE makes it where the float one is computed or given as it is."""
        if index not in self._copies:
            copied = self._new_copy(index)
            self._operators.append(edit.new_operator(self._model, "QUANTIZE", 1, [index], [copied.tensor]))
            self._floats.add(index)
        return self._copies[index]

    def _new_copy(self, index: int, scale: float | None = None, zero_point: int = 0) -> IntegerCopy:
        described = self._graph.tensors[index]
        if scale is None:
            scale, zero_point = integer_scale(self._ranges[index])
        shape = tuple(int(size) for size in described.shape)
        name = f"{described.name.decode()}_int8"
        scales = np.array([scale], np.float32)
        tensor = edit.add_tensor(self._model, name, shape, "INT8", scales, zero_point=zero_point)
        self._copies[index] = IntegerCopy(tensor, float(scales[0]), zero_point)
        return self._copies[index]

    def _constant_copy(self, index: int) -> int:
        values = edit.constant(self._model, index)
        assert values is not None
        scale = np.float32(np.abs(values).max() / LARGEST or 1.0)
        stored = np.clip(np.rint(values / scale), -LARGEST, LARGEST).astype(np.int8)
        name = f"{self._graph.tensors[index].name.decode()}_int8"
        return edit.add_tensor(self._model, name, values.shape, "INT8", np.array([scale]), data=stored)


def _pads_with_zeros(operator: Any) -> bool:
    """Whether what lies outside of the map of an LceBconv2d may count nothing."""
    options = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
    return options["padding"] == _SAME_PADDING and options["pad_values"] == 0
