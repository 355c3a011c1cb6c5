"""What the C program consists of: values in memory, and calls of kernels with their constants."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

BITS, INT8, UINT8, FLOAT = "bits", "int8", "uint8", "float"
C_TYPES = {BITS: "uint8_t", INT8: "int8_t", UINT8: "uint8_t", FLOAT: "float"}


@dataclasses.dataclass(frozen=True)
class Value:
    """Numbers that a step computes or the caller gives.

    Attributes:
        kind: `bits`, `int8`, `uint8` or `float`.
        shape: Of the tensor in the flatbuffer that it stands for, for `bits` with its number of channels.
        alias_of: Number of the value that has the same numbers in another shape.
    """

    kind: str
    shape: tuple[int, ...]
    alias_of: int | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        if self.kind == BITS:
            return math.prod(self.shape[:-1]) * -(-self.shape[-1] // 8)
        return math.prod(self.shape) * (4 if self.kind == FLOAT else 1)


@dataclasses.dataclass(frozen=True)
class Array:
    """A constant array of the program.

    Attributes:
        name: What the step's name is followed by.
        type: Of its elements in C.
        values: Integers or float32.
        is_weights: Whether it holds weights; else what surrounds them.
    """

    name: str
    type: str
    values: np.ndarray
    is_weights: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes in flash."""
        return self.values.size * {"int8_t": 1, "uint8_t": 1, "int16_t": 2}.get(self.type, 4)


@dataclasses.dataclass(frozen=True)
class Struct:
    """A constant struct of the program: fields by name; a string is C as it is, a dictionary a struct within."""

    name: str
    type: str
    fields: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one picture."""

    binary: int = 0
    int8: int = 0
    float: int = 0


NO_MACS = Macs()


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a kernel.

    Attributes:
        name: The layer's name in Keras.
        identifier: The same as a C identifier, without its like among the steps.
        description: What it computes, for a person.
        kernel: The C function.
        arguments: C expressions: `{0}`, `{1}` are the inputs, `{output}`, `{scratch}`; `{name}` this step's identifier.
        inputs: Numbers of values.
        output: Number of the value that it computes.
        arrays: Its constants.
        structs: Its descriptions.
        scratch_bytes: Memory that it needs while it runs.
        in_place: Whether its output may lie where its first input lies.
        macs: Of one picture.
    """

    name: str
    identifier: str
    description: str
    kernel: str
    arguments: tuple[str, ...]
    inputs: tuple[int, ...]
    output: int
    arrays: tuple[Array, ...] = ()
    structs: tuple[Struct, ...] = ()
    scratch_bytes: int = 0
    in_place: bool = False
    macs: Macs = NO_MACS


@dataclasses.dataclass(frozen=True)
class Program:
    """A network as steps.

    Attributes:
        values: All values; steps name them by their numbers.
        steps: In the order in which they run.
        input: Number of the value that the caller gives.
        output: Number of the value that the caller gets.
        input_scale: Step of the input's numbers; 0 for float.
        input_zero_point: The input's number that stands for zero.
        output_scale: Step of the output's numbers; 0 for float.
        output_zero_point: The output's number that stands for zero.
    """

    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    input: int
    output: int
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int

    @property
    def macs(self) -> Macs:
        """Of all steps."""
        return Macs(*(sum(getattr(step.macs, kind) for step in self.steps) for kind in ("binary", "int8", "float")))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(array.size_bytes for step in self.steps for array in step.arrays if array.is_weights)

    @property
    def constant_bytes(self) -> int:
        """Bytes of all other arrays of constants."""
        return sum(array.size_bytes for step in self.steps for array in step.arrays if not array.is_weights)
