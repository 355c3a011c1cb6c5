"""The steps of a program, as they are found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

from bopkit.export.c.errors import NotCoveredError
from bopkit.export.c.graph import Graph, Operator
from bopkit.export.c.steps import NO_MACS, Array, Macs, Step, Struct, Value

C_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long main "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile "
    "while".split()
)
_TAKEN = ("memory", "input", "output", "arena", "crc", "checksum_of", "NULL")
"""What generated functions call their variables."""

Layer = Callable[["Lowering", Operator], None]
"""Adds the steps of an operator."""


class Lowering:
    """The steps of a graph, as they are found.

    Args:
        graph: What is read.
        names: The layer's name in Keras, by the tensor that it computes, where it is known.
        find: What adds the steps of an operator; None where nothing does.

    Attributes:
        graph: What is read.
        values: All values so far.
        steps: All steps so far.
    """

    def __init__(self, graph: Graph, names: dict[int, str], find: Callable[[Graph, Operator], Layer | None]):
        self.graph = graph
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self._names = names
        self._find = find
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

    def add_result(
        self,
        operator: Operator,
        kind: str,
        description: str,
        kernel: str,
        arguments: tuple[str, ...],
        inputs: tuple[int, ...],
        arrays: tuple[Array, ...] = (),
        structs: tuple[Struct, ...] = (),
        scratch_bytes: int = 0,
        in_place: bool = False,
        macs: Macs = NO_MACS,
    ) -> None:
        """Append the step that computes an operator's only output, of a kind, as `Step` says.

        `{name}` in the arguments is the step's identifier.
        """
        (index,) = operator.outputs
        name = self.name(operator)
        identifier = self.identifier(name)
        value = self.add_value(kind, self.graph.tensors[index].shape)
        filled = tuple(each.replace("{name}", identifier) for each in arguments)
        about = (name, identifier, description, kernel, filled, inputs, value)
        self.add_step(Step(*about, arrays, structs, scratch_bytes, in_place, macs))
        self.set_value(index, value)

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
        if plain in C_WORDS or plain in _TAKEN or plain.startswith("bopkit") or plain.endswith("_t"):
            plain = f"layer_{plain}"
        chosen, number = plain, 2
        while chosen in self._identifiers:
            chosen, number = f"{plain}_{number}", number + 1
        self._identifiers.add(chosen)
        return chosen

    def is_read_once(self, tensor: int) -> bool:
        """Whether one operator alone reads a tensor, and the caller does not get it."""
        return len(self.graph.readers(tensor)) == 1 and tensor not in self.graph.outputs

    def _lower(self, operator: Operator) -> None:
        layer = self._find(self.graph, operator)
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
