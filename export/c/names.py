"""Which Keras layer an operator of a flatbuffer belongs to."""

from __future__ import annotations

import re

from bopkit.export.c.graph import Graph, Operator
from bopkit.export.checks.bits import flatbuffer_bits
from bopkit.export.reference import Reference


def layer_names(graph: Graph, flatbuffer: bytes, reference: Reference) -> dict[int, str]:
    """The names of Keras layers by the tensor that their operator computes, as far as they are known.

    Binary convolutions are known by their bits; others by the names of tensors, in which the converter keeps them.
    """
    layers = {layer.name for layer in reference.model.submodules if hasattr(layer, "call")}
    convolutions = [each for each in graph.operators if each.type == "LceBconv2d"]
    matches, _ = flatbuffer_bits(flatbuffer, reference.layers)
    names: dict[int, str] = {}
    if len(matches) == len(convolutions):
        for operator, match in zip(convolutions, matches, strict=True):
            names[operator.outputs[0]] = match.facts.name
    for operator in graph.operators:
        known = _named(graph, operator, layers)
        if known:
            names.setdefault(operator.outputs[0], known)
    last = graph.writer(graph.outputs[0])
    while last is not None and last.type in ("DEQUANTIZE", "RESHAPE"):
        last = graph.writer(last.inputs[0])
    if last is not None:
        names.setdefault(last.outputs[0], reference.model.layers[-1].name)
    return names


def _named(graph: Graph, operator: Operator, layers: set[str]) -> str:
    """The first name of a layer in the names of the kernel and of the result; empty where there is none."""
    tensors = [*operator.inputs[1:2], *operator.outputs]
    for index in tensors:
        if index >= 0:
            parts = re.split(r"[;/]", graph.tensors[index].name)
            found = next((part for part in parts if part in layers), "")
            if found:
                return found
    return ""
