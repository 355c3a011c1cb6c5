"""A flatbuffer's graph as calls of kernels.

Operators are taken on demand, from the outputs of the network to its input, so that one which only prepares what the
next one needs becomes part of it: a sum of which nothing but the sign is wanted is compared with a threshold.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable


from bopkit.export.c import binary_layers, float_layers, integer_convolutions, integer_layers
from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import Graph, Operator
from bopkit.export.c.steps import BITS, FLOAT, INT8, UINT8, Program, Step, Value

Layer = Callable[["Lowering", Operator], None]


class Lowering:
    """The steps of a graph, as they are found.

    Attributes:
        graph: What is read.
        values: All values so far.
        steps: All steps so far.
    """

    def __init__(self, graph: Graph, names: dict[int, str]):
        self.graph = graph
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self._names = names
        self._values_of: dict[int, int] = {}
        self._identifiers: set[str] = set()

    def value(self, tensor: int) -> int:
        """Number of the value of a tensor; what computes it becomes a step, if it has not yet."""
        if tensor not in self._values_of:
            operator = self.graph.writer(tensor)
            assert operator is not None, f"tensor {tensor} is computed by nothing"
            self._lower(operator)
        return self._values_of[tensor]

    def add_value(self, kind: str, shape: tuple[int, ...]) -> int:
        """A new value's number."""
        self.values.append(Value(kind, shape))
        return len(self.values) - 1

    def add_alias(self, value: int, shape: tuple[int, ...]) -> int:
        """A value's numbers in another shape: its number."""
        self.values.append(Value(self.values[value].kind, shape, alias_of=self.root(value)))
        return len(self.values) - 1

    def root(self, value: int) -> int:
        """The value whose memory a value has."""
        alias_of = self.values[value].alias_of
        return value if alias_of is None else alias_of

    def set_value(self, tensor: int, value: int) -> None:
        """Say which value a tensor has."""
        self._values_of[tensor] = value

    def add_step(self, step: Step) -> None:
        """Append a step."""
        self.steps.append(dataclasses.replace(step, inputs=tuple(map(self.root, step.inputs))))

    def name(self, operator: Operator) -> str:
        """The name of an operator's layer in Keras."""
        known = self._names.get(operator.outputs[0])
        if known is not None:
            return known
        inputs = [self.graph.tensors[index].name for index in operator.inputs[1:2] if index >= 0]
        outputs = [self.graph.tensors[index].name for index in operator.outputs]
        for text in (*inputs, *outputs):
            parts = text.split(";")[0].split("/")
            if len(parts) > 1 and not text.startswith("arith"):
                return parts[1]
        return outputs[0].split(";")[0] or operator.type.lower()

    def identifier(self, name: str) -> str:
        """A C identifier for a layer's name, unlike all others."""
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain[:1].isalpha() else f"layer_{plain}"
        chosen, number = plain, 2
        while chosen in self._identifiers:
            chosen, number = f"{plain}_{number}", number + 1
        self._identifiers.add(chosen)
        return chosen

    def is_read_once(self, tensor: int) -> bool:
        """Whether one operator alone reads a tensor, and the caller does not get it."""
        return len(self.graph.readers(tensor)) == 1 and tensor not in self.graph.outputs

    def _lower(self, operator: Operator) -> None:
        layer = (
            binary_layers.find(operator)
            or integer_convolutions.find(self.graph, operator)
            or integer_layers.find(self.graph, operator)
            or float_layers.find(self.graph, operator)
        )
        if layer is None:
            raise NotCoveredError(f"{self.name(operator)}: {describe(self.graph, operator)}")
        try:
            layer(self, operator)
        except NotCoveredError as error:
            if ":" in error.message:
                raise
            raise NotCoveredError(f"{self.name(operator)}: {error.message}") from error


def describe(graph: Graph, operator: Operator) -> str:
    """An operator and the types that it meets, for messages."""
    types = [graph.tensors[index].type for index in (*operator.inputs[:1], *operator.outputs[:1])]
    return f"{operator.type} of {types[0]} to {types[-1]}"


def lower(graph: Graph, names: dict[int, str]) -> Program:
    """The steps of a network.

    Args:
        graph: One input, one output.
        names: The layer's name in Keras, by the tensor that it computes, where it is known.

    Raises:
        NotCoveredError: There is no C for an operator, which is named.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise NotCoveredError("the network has several inputs or outputs")
    lowering = Lowering(graph, names)
    source = graph.tensors[_stored_input(graph)]
    kind = {"int8": INT8, "uint8": UINT8, "float32": FLOAT}.get(source.type)
    if kind is None:
        raise NotCoveredError(f"the network takes {source.type}")
    given = lowering.add_value(kind, source.shape)
    lowering.set_value(_stored_input(graph), given)
    wanted = _stored_output(graph)
    output = lowering.root(lowering.value(wanted))
    if lowering.values[output].kind == BITS:
        raise NotCoveredError("the network answers bits")
    answer = graph.tensors[wanted]
    return Program(
        tuple(lowering.values),
        tuple(lowering.steps),
        given,
        output,
        *_quantization(source),
        *_quantization(answer),
    )


def _quantization(tensor: object) -> tuple[float, int]:
    scales, zero_points = tensor.scales, tensor.zero_points  # type: ignore[attr-defined]
    if not len(scales):
        return 0.0, 0
    return float(scales[0]), int(zero_points[0]) if len(zero_points) else 0


def _stored_input(graph: Graph) -> int:
    """The tensor that the C program takes: what a QUANTIZE makes of the input, where that is all that reads it."""
    (index,) = graph.inputs
    readers = graph.readers(index)
    if len(readers) == 1 and readers[0].type == "QUANTIZE" and graph.tensors[index].type == "float32":
        return readers[0].outputs[0]
    return index


def _stored_output(graph: Graph) -> int:
    """The tensor that the C program answers: what a DEQUANTIZE makes the output of."""
    (index,) = graph.outputs
    writer = graph.writer(index)
    if writer is not None and writer.type == "DEQUANTIZE" and graph.tensors[writer.inputs[0]].type == "int8":
        return writer.inputs[0]
    return index


