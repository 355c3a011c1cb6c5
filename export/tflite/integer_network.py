"""A flatbuffer in which nothing is float between the first QUANTIZE and the last DEQUANTIZE, for integer-only C.

Each float32 tensor that is computed becomes int8, with one scale and zero point, in LiteRT's rules for each operator.
Float on purpose stays what C needs no float arithmetic for:

- an `LceBconv2d`, with what follows it channel by channel up to `LceQuantize`, is a threshold on the popcount;
- an `LceBconv2d` that pads with zeros has float results in LCE, and QUANTIZE behind it makes them int8: one rounding;
- operators on single numbers from an int8 tensor to `LceQuantize` are a table of 256 signs for each channel.

A full-precision layer of which only signs are read gets so fine a scale that no sign is lost to rounding.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np

from bopkit.export.tflite import edit, fold, quantize, signs
from bopkit.export.tflite.quantize import INTEGER_VERSIONS, KERNEL_INPUT, Ranges, StoredKernel
from bopkit.export.tflite.schema import schema

BINARY = ("LceQuantize", "LceBconv2d", "LceBMaxPool2d", "LceDequantize")
ONE_SCALE = {
    "MAX_POOL_2D": 2,
    "AVERAGE_POOL_2D": 2,
    "PAD": 2,
    "CONCATENATION": 2,
    "SPLIT": 2,
    "RESHAPE": 1,
    "MAXIMUM": 2,
    "MINIMUM": 2,
}
"""Operators whose int8 operands and results all have the same scale and zero point, and their versions in int8."""

OWN_SCALES = {
    "ADD": 2,
    "SUB": 2,
    "MUL": 2,
    "RELU": 2,
    "RELU6": 2,
    "RELU_N1_TO_1": 2,
    "PRELU": 1,
    "ABS": 2,
    "NEG": 2,
    "LOGISTIC": 2,
    "SOFTMAX": 2,
    "MEAN": 2,
}
"""Operators that change from one scale to another, and their versions in int8."""

SAME_PADDING = 0
"""In the options of `LceBconv2d`."""

PROBABILITIES = (1 / 256, -128)
"""The scale and zero point that LiteRT demands of the results of LOGISTIC and SOFTMAX."""

SUM_STEPS = 64
"""A sum of two int8 tensors of which only signs are read is stored in such a part of the larger of their scales."""


@dataclasses.dataclass(frozen=True)
class _Steps:
    """How integers stand for numbers: scale * (stored - zero point)."""

    scale: float
    zero_point: int


def prepare(model: Any) -> None:
    """Fold what need not be an operator of its own; before `activations` and the measuring of ranges."""
    fold.fold_into_kernels(model)
    kept = _kept_float(model)
    factors = [
        each
        for each in model.subgraphs[0].operators
        if signs.name_of(model, each) == "MUL" and int(each.outputs[0]) not in kept
    ]
    fold.to_depthwise(model, factors)
    fold.fold_into_kernels(model)
    repeat_for_signs(model)
    edit.clear_unused_constants(model)


def activations(model: Any) -> list[int]:
    """The float tensors that are computed or enter the graph, whose ranges `to_integers` needs."""
    (graph,) = model.subgraphs
    found = {int(each) for each in graph.inputs if _is_float(model, int(each))}
    for operator in graph.operators:
        found |= {int(each) for each in operator.outputs if _is_float(model, int(each))}
    return sorted(found)


def to_integers(model: Any, ranges: Ranges) -> list[StoredKernel]:
    """Let all float tensors of a parsed model be int8, but those that are only read for signs; its kernels.

    Args:
        model: A parsed flatbuffer, after `prepare`; altered.
        ranges: Of every tensor in `activations(model)`.
    """
    return _Rewriter(model, ranges).rewrite()


def float_operators(model: Any) -> list[str]:
    """The operators that still compute in float, as `NAME at TENSOR`, but those that C needs no arithmetic for."""
    (graph,) = model.subgraphs
    kept = _kept_float(model)
    outputs = {int(each) for each in graph.outputs}
    found = []
    for operator in graph.operators:
        name = signs.name_of(model, operator)
        tensors = [*map(int, operator.outputs), *signs.activations_of(model, operator)]
        floats = [each for each in tensors if _is_float(model, each)]
        if not floats or name in ("LceQuantize", "QUANTIZE"):
            continue
        result = int(operator.outputs[0])
        if name == "DEQUANTIZE" and (result in outputs or _feeds_kept(model, result, kept)):
            continue
        is_rounded_sum = name == "LceBconv2d" and all(
            signs.name_of(model, each) == "QUANTIZE" for each in signs.readers(model).get(result, [])
        )
        if result not in kept and not is_rounded_sum:
            found.append(f"{name} at {graph.tensors[result].name.decode()}")
    return found


def repeat_for_signs(model: Any, sums: bool = True) -> None:
    """Compute twice what is read for its signs and for its size too: with a fine scale for signs, and a coarse one.

    The sum of a shortcut is such a tensor. In one scale for both, all that is a little less than 0 would become +1.

    Args:
        model: A parsed model; altered.
        sums: Do so for sums of two tensors too, not for layers with a kernel alone.
    """
    (graph,) = model.subgraphs
    read = signs.readers(model)
    outputs = {int(each) for each in graph.outputs}
    operators = []
    for operator in graph.operators:
        operators.append(operator)
        result = int(operator.outputs[0])
        takers = [each for each in read.get(result, []) if signs.name_of(model, each) == "LceQuantize"]
        is_sum = (
            sums
            and signs.name_of(model, operator) in ("ADD", "SUB")
            and len(signs.activations_of(model, operator)) == 2
        )
        is_layer = signs.name_of(model, operator) in INTEGER_VERSIONS
        if not takers or len(takers) == len(read[result]) and result not in outputs or not (is_sum or is_layer):
            continue
        described = graph.tensors[result]
        shape = tuple(int(size) for size in described.shape)
        again = copy.copy(operator)
        again.outputs = [edit.add_tensor(model, f"{described.name.decode()}_signs", shape, "FLOAT32")]
        for taker in takers:
            taker.inputs = again.outputs
        operators.append(again)
    graph.operators = operators


class _Rewriter:
    """The state of one rewrite."""

    def __init__(self, model: Any, ranges: Ranges):
        self.model, self.ranges = model, ranges
        (self.graph,) = model.subgraphs
        self.kept = _kept_float(model)
        self.signs = signs.read_as_signs(model, signs.OF_ONE_CHANNEL)
        self.groups = {each: each for each in range(len(self.graph.tensors))}
        self.steps: dict[int, _Steps] = {}
        self.copies: dict[int, int] = {}
        self.stored: list[StoredKernel] = []
        self.operators: list[Any] = []

    def rewrite(self) -> list[StoredKernel]:
        """Alter the model."""
        for operator in self.graph.operators:
            if signs.name_of(self.model, operator) in ONE_SCALE and self._becomes_integer(operator):
                first, *others = self._floats(operator)
                for other in others:
                    self.groups[self._group(other)] = self._group(first)
        self._measure_groups()
        self._take_pixels()
        floats = {int(each) for each in self.graph.inputs if _is_float(self.model, int(each))}
        outputs = {int(each) for each in self.graph.outputs}
        for operator in self.graph.operators:
            if self._becomes_integer(operator):
                for tensor in self._floats(operator, results=False):
                    self._need_integers(tensor)
                self._to_integers(operator)
            else:
                self._keep(operator, floats)
        for tensor in outputs:
            if _is_float(self.model, tensor) and tensor not in floats:
                self._need_floats(tensor, floats)
        self.graph.operators = self.operators
        edit.clear_unused_constants(self.model)
        return self.stored

    def _becomes_integer(self, operator: Any) -> bool:
        name = signs.name_of(self.model, operator)
        results = [int(each) for each in operator.outputs]
        if not all(_is_float(self.model, each) for each in results) or any(each in self.kept for each in results):
            return False
        if name in INTEGER_VERSIONS:
            weights = [int(each) for each in list(operator.inputs)[KERNEL_INPUT:] if each >= 0]
            return all(edit.constant(self.model, each) is not None for each in weights)
        if name == "LceBconv2d":
            return not _pads_with_zeros(operator)
        return name in ONE_SCALE or name in OWN_SCALES or name == "LceDequantize"

    def _keep(self, operator: Any, floats: set[int]) -> None:
        """Leave an operator as it is, with floats where it takes floats; LceQuantize takes either."""
        inputs = [int(each) for each in operator.inputs]
        is_sign = signs.name_of(self.model, operator) == "LceQuantize"
        if is_sign and inputs[0] not in floats and inputs[0] in self.copies:
            operator.inputs = [self.copies[inputs[0]]]
        else:
            for tensor in inputs:
                if tensor in self.copies and tensor not in floats:
                    self._need_floats(tensor, floats)
        self.operators.append(operator)
        floats |= {int(each) for each in operator.outputs if _is_float(self.model, int(each))}

    def _need_floats(self, tensor: int, floats: set[int]) -> None:
        self.operators.append(edit.new_operator(self.model, "DEQUANTIZE", 2, [self.copies[tensor]], [tensor]))
        floats.add(tensor)

    def _need_integers(self, tensor: int) -> None:
        """An int8 copy of what stays float or enters the graph."""
        if tensor not in self.copies and not signs.is_constant(self.model, tensor):
            integers = self._copy(tensor, self._steps(tensor))
            self.operators.append(edit.new_operator(self.model, "QUANTIZE", 1, [tensor], [integers]))

    def _to_integers(self, operator: Any) -> None:
        """Turn one operator into int8."""
        name = signs.name_of(self.model, operator)
        result = int(operator.outputs[0])
        if name in INTEGER_VERSIONS:
            source = int(operator.inputs[0])
            copied = quantize.IntegerCopy(self.copies[source], self._steps(source).scale)
            if result in self.signs:
                stored, scale = quantize.to_signs(self.model, operator, copied)
                self._set_group(result, _Steps(scale, 0))
            else:
                stored = quantize.to_integers(self.model, operator, copied)
            self.stored.append(stored)
            operator.outputs = [self._copy(result, self._steps(result))]
            self.operators.append(operator)
            return
        taken = self._floats(operator, results=False)
        if name in ("ADD", "SUB") and result in self.signs and not any(signs.is_constant(self.model, e) for e in taken):
            self._set_group(result, _Steps(max(self._steps(each).scale for each in taken) / SUM_STEPS, 0))
        inputs = [int(each) for each in operator.inputs]
        if name != "LceBconv2d":
            operator.inputs = [self._operand(each, name) if each >= 0 and each in taken else each for each in inputs]
        if name not in BINARY:
            version = ONE_SCALE.get(name) or OWN_SCALES[name]
            operator.opcodeIndex = edit.operator_code(self.model, name, version)
        fixed = _Steps(*PROBABILITIES) if name in ("LOGISTIC", "SOFTMAX") else None
        changes = []
        results = []
        for tensor in map(int, operator.outputs):
            if fixed is not None and fixed != self._steps(tensor):
                own = self._copy(tensor, fixed)
                wanted = self._copy(tensor, self._steps(tensor))
                results.append(own)
                changes.append(edit.new_operator(self.model, "QUANTIZE", 2, [own], [wanted]))
            else:
                results.append(self._copy(tensor, self._steps(tensor)))
        operator.outputs = results
        self.operators += [operator, *changes]

    def _operand(self, tensor: int, name: str) -> int:
        """The int8 copy of an operand, made of a constant where it is one."""
        values = edit.constant(self.model, tensor)
        if values is None:
            return self.copies[tensor]
        if name in ONE_SCALE:
            steps = self._steps(tensor)
        else:
            steps = _steps_of(min(0.0, float(values.min())), max(0.0, float(values.max())))
        stored = np.rint(values.astype(np.float64) / steps.scale) + steps.zero_point
        described = self.graph.tensors[tensor]
        return edit.add_tensor(
            self.model,
            f"{described.name.decode()}_int8",
            values.shape,
            "INT8",
            np.array([steps.scale], np.float32),
            zero_point=steps.zero_point,
            data=np.clip(stored, -128, 127).astype(np.int8),
        )

    def _copy(self, tensor: int, steps: _Steps) -> int:
        """A new int8 tensor for the values of a float one."""
        described = self.graph.tensors[tensor]
        shape = tuple(int(size) for size in described.shape)
        scales = np.array([steps.scale], np.float32)
        name = f"{described.name.decode()}_int8"
        self.copies[tensor] = edit.add_tensor(self.model, name, shape, "INT8", scales, zero_point=steps.zero_point)
        return self.copies[tensor]

    def _floats(self, operator: Any, results: bool = True) -> list[int]:
        """The float tensors that an operator takes, constants too, and those that it makes."""
        is_binary = signs.name_of(self.model, operator) == "LceBconv2d"  # its float constants stay
        tensors = [] if is_binary else [int(each) for each in operator.inputs]
        tensors += [int(each) for each in operator.outputs] if results else []
        return [each for each in tensors if _is_float(self.model, each)]

    def _group(self, tensor: int) -> int:
        while self.groups[tensor] != tensor:
            tensor = self.groups[tensor]
        return tensor

    def _steps(self, tensor: int) -> _Steps:
        return self.steps[self._group(tensor)]

    def _set_group(self, tensor: int, steps: _Steps) -> None:
        self.steps[self._group(tensor)] = steps

    def _measure_groups(self) -> None:
        """The scale of each group of tensors, for the values of all of them."""
        together: dict[int, tuple[float, float]] = {}
        makers: dict[int, set[str]] = {}
        for operator in self.graph.operators:
            for tensor in self._floats(operator):
                values = edit.constant(self.model, tensor)
                if values is None:
                    low, high = self.ranges[tensor]
                elif signs.name_of(self.model, operator) in ("MAXIMUM", "MINIMUM"):
                    continue  # what lies outside the range of the results changes none
                else:
                    low, high = float(values.min()), float(values.max())
                known_low, known_high = together.get(self._group(tensor), (0.0, 0.0))
                together[self._group(tensor)] = min(low, known_low), max(high, known_high)
            for tensor in map(int, operator.outputs):
                kind = signs.name_of(self.model, operator)
                makers.setdefault(self._group(tensor), set())
                if kind not in ONE_SCALE:
                    makers[self._group(tensor)].add(kind)
        for group, (low, high) in together.items():
            made_by = makers.get(group, set())
            if made_by and made_by <= {"LOGISTIC", "SOFTMAX"}:
                self.steps[group] = _Steps(*PROBABILITIES)
            elif made_by == {"LceDequantize"}:
                self.steps[group] = _Steps(float(np.float32(1 / 127)), 0)
            else:
                self.steps[group] = _steps_of(low, high)

    def _take_pixels(self) -> None:
        """Let pixels become int8 by a shift, where one scale and offset makes numbers of them in all channels."""
        operators, end, factor, shift = _prefix(self.model)
        if not operators or np.ptp(factor) > 0 or np.ptp(shift) > 0 or factor[0] <= 0:
            return
        zero_point = -shift[0] / factor[0]
        nearest = int(np.floor(zero_point + 0.501))  # 127.5 rounds up, however it was computed
        if not 0 <= nearest <= 255 or self._group(end) != end or list(self.groups.values()).count(end) > 1:
            return
        users = signs.readers(self.model)[end]
        rest = nearest - zero_point  # numbers are too small by so many steps
        if rest and not all(signs.name_of(self.model, each) in INTEGER_VERSIONS for each in users):
            return
        for operator in users if rest else []:
            fold.add_to_input(self.model, operator, rest * factor[0])
        (pixels,) = map(int, self.graph.inputs)
        steps = _Steps(float(np.float32(factor[0])), nearest - 128)
        self.graph.operators = [each for each in self.graph.operators if not any(each is gone for gone in operators)]
        described = self.graph.tensors[pixels]
        described.quantization = schema().QuantizationParametersT()
        described.quantization.scale, described.quantization.zeroPoint = [steps.scale], [nearest]
        self._set_group(end, steps)
        self.operators.append(edit.new_operator(self.model, "QUANTIZE", 1, [pixels], [self._copy(end, steps)]))


def _steps_of(low: float, high: float) -> _Steps:
    """Steps for a range that holds 0."""
    return _Steps(*quantize.steps_of(low, high))


def _pads_with_zeros(operator: Any) -> bool:
    """Whether an `LceBconv2d` counts what lies around the image as 0: LCE's kernels have no int8 results for that."""
    from flatbuffers import flexbuffers

    options = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
    return bool(options["padding"] == SAME_PADDING and options["pad_values"] == 0)


def _is_float(model: Any, tensor: int) -> bool:
    return bool(tensor >= 0 and model.subgraphs[0].tensors[tensor].type == schema().TensorType.FLOAT32)


def _kept_float(model: Any) -> set[int]:
    """The tensors that stay float: those read for signs that C has thresholds or tables for, and numbers of pixels."""
    (graph,) = model.subgraphs
    anyhow = signs.read_as_signs(model)
    numbers = signs.read_as_signs(model, (*signs.OF_ONE_NUMBER, "RESHAPE"))
    operators, *_ = _prefix(model)
    kept = {int(each.outputs[0]) for each in operators}
    for operator in graph.operators:
        result = int(operator.outputs[0])
        if not _is_float(model, result):
            continue
        name = signs.name_of(model, operator)
        follows_kept = any(each in kept for each in signs.activations_of(model, operator))
        is_link = follows_kept and result in anyhow and name in (*signs.OF_ONE_NUMBER, *signs.OF_ONE_CHANNEL)
        is_threshold = name == "LceBconv2d" and result in anyhow
        is_table = signs.acts_on_single_numbers(model, operator) and result in numbers
        if is_link or is_threshold or is_table:
            kept.add(result)
    return kept


def _feeds_kept(model: Any, tensor: int, kept: set[int]) -> bool:
    """Whether all that reads a tensor stays float on purpose."""
    return all(
        signs.name_of(model, each) == "LceQuantize" or int(each.outputs[0]) in kept
        for each in signs.readers(model).get(tensor, [])
    )


def _prefix(model: Any) -> tuple[list[Any], int, np.ndarray, np.ndarray]:
    """What makes numbers of uint8 pixels: its operators, the last tensor, and factor and shift of each channel."""
    (graph,) = model.subgraphs
    nothing: tuple[list[Any], int, np.ndarray, np.ndarray] = [], -1, np.ones(1), np.zeros(1)
    if len(graph.inputs) != 1 or graph.tensors[int(graph.inputs[0])].type != schema().TensorType.UINT8:
        return nothing
    end = int(graph.inputs[0])
    operators: list[Any] = []
    factor, shift = np.ones(int(graph.tensors[end].shape[-1])), np.zeros(int(graph.tensors[end].shape[-1]))
    while True:
        follower = fold.only_reader(model, end)
        if follower is None:
            break
        if signs.name_of(model, follower) == "CAST" and not operators:
            linear = np.ones_like(factor), np.zeros_like(shift)
        else:
            found = fold.linear_of(model, follower)
            if found is None or fold.activation(follower) or not operators:
                break
            linear = found
        factor, shift = factor * linear[0], shift * linear[0] + linear[1]
        operators.append(follower)
        end = int(follower.outputs[0])
    return (operators, end, factor, shift) if operators else nothing
