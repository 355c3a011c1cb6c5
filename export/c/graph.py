"""A flatbuffer as the C export reads it: tensors with their constants, and operators with all of their options."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from bopkit.artifacts.tflite_file import TfliteFile
from bopkit.artifacts.tflite_graph import Tensor
from bopkit.errors import BopkitError
from bopkit.export.tflite import schema

ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}
"""Fused activations by their numbers in the schema."""


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        type: Name, e.g. `CONV_2D` or `LceBconv2d`.
        inputs: Indices of tensors; -1 for an input that is left out.
        outputs: Indices of tensors.
        options: By the schema's names in snake case; those of LCE's operators by their own.
    """

    type: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]

    @property
    def activation(self) -> str:
        """The fused activation."""
        return ACTIVATIONS[int(self.options.get("fused_activation_function", 0))]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The only subgraph of a file; its operators are in the order in which they run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]

    def readers(self, tensor: int) -> list[Operator]:
        """The operators that read a tensor."""
        return [each for each in self.operators if tensor in each.inputs]

    def writer(self, tensor: int) -> Operator | None:
        """The operator that computes a tensor; None for inputs and constants."""
        return next((each for each in self.operators if tensor in each.outputs), None)


def read_graph(flatbuffer: bytes, path: Path) -> Graph:
    """Read a flatbuffer that bopkit has written.

    Args:
        flatbuffer: Its content.
        path: Its name, for messages.

    Raises:
        BopkitError: It is damaged, or has several subgraphs.
    """
    file = TfliteFile(flatbuffer, path)
    if len(file.graphs) != 1:
        raise BopkitError(f"{path} has {len(file.graphs)} subgraphs.", "Export a network of one.")
    (graph,) = file.graphs
    parsed = schema.parse(flatbuffer).subgraphs[0].operators
    operators = tuple(
        Operator(checked.type, checked.inputs, checked.outputs, _options(checked.type, described))
        for checked, described in zip(graph.operators, parsed, strict=True)
    )
    return Graph(graph.tensors, graph.inputs, graph.outputs, operators)


def _options(name: str, operator: Any) -> dict[str, Any]:
    if name.startswith("Lce"):
        return _custom_options(operator)
    options = operator.builtinOptions
    return {} if options is None else {_snake_case(key): value for key, value in vars(options).items()}


def _custom_options(operator: Any) -> dict[str, Any]:
    from flatbuffers import flexbuffers

    if operator.customOptions is None or not len(operator.customOptions):
        return {}
    values = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
    return dict(values) if isinstance(values, dict) else {}


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def pixels_of(shape: tuple[int, ...]) -> int:
    """Number of positions of a tensor: all but its channels."""
    return math.prod(shape[:-1])


def constant(graph: Graph, index: int) -> np.ndarray | None:
    """The values of a constant; None for a tensor that is computed."""
    tensor = graph.tensors[index] if index >= 0 else None
    return tensor.values() if tensor is not None and tensor.is_constant else None
