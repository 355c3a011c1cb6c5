"""Cases of real layers whose weights alone are int8: as they are (hybrid), or behind a DEQUANTIZE of a constant.

Sums of few integers by weights that are powers of two are exact in any order, so that the bits must be the same.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from case import Case, Source
from models import SAME, VALID, Graph


def _expanded(graph: Graph) -> Graph:
    """The same graph with a DEQUANTIZE between int8 weights and the layers that take them."""
    operators = list(graph.operators)
    graph.operators.clear()
    for number, operator in enumerate(operators):
        weights = operator.inputs[1] if len(operator.inputs) > 1 else -1
        if weights >= 0 and graph.tensors[weights].type == "int8":
            inputs = list(operator.inputs)
            inputs[1] = graph.dequantize_affine(weights)
            operators[number] = dataclasses.replace(operator, inputs=tuple(inputs))
    graph.operators += operators
    return graph


def _scales(source: Source, channels: int, kind: str) -> float | tuple[float, ...]:
    """Powers of two, one for all channels or one for each."""
    powers = source.integers(-6, 0, (channels,))
    return tuple(float(2.0**each) for each in powers) if kind == "channel" else float(2.0 ** powers[0])


def _layers(layer: str, kind: str, is_expanded: bool) -> Case:
    name = f"weights-{layer}-{kind}-{'expanded' if is_expanded else 'hybrid'}"
    source, graph = Source(name), Graph()
    filters, depth = {"conv": (70, 5), "pointwise": (33, 24), "groups": (12, 4), "dense": (130, 37)}[layer]
    size = {"conv": (3, 2), "groups": (3, 3)}.get(layer, (1, 1))
    weights = source.integers(-128 if is_expanded else -127, 128, (filters, *size, depth)).astype(np.int8)
    options = {"filter_scale": _scales(source, filters, kind), "activation": "RELU"}
    bias = source.integers(-8, 9, (filters,)).astype(np.float32)
    if layer == "dense":
        shape = (3, depth)
        y = graph.dense(graph.input(shape), weights.reshape(filters, depth), bias, **options)
    else:
        shape = (2, 7, 9, 3 * depth if layer == "groups" else depth)
        stride = (1, 1) if layer == "pointwise" else (2, 1)
        y = graph.conv(graph.input(shape), weights, bias, stride=stride, padding=SAME, **options)
    graph = graph.output(y, graph.quantize(y))
    return Case(name, _expanded(graph) if is_expanded else graph, [source.integers(-9, 10, shape).astype(np.float32)])


def _shared() -> Case:
    """Two layers take the same weights, one of them depthwise."""
    source, graph = Source("weights-shared"), Graph()
    weights = source.integers(-128, 128, (1, 3, 3, 6)).astype(np.int8)
    x = graph.input((1, 6, 6, 6))
    expanded = graph.dequantize_affine(graph.constant(weights, 0.25))
    y = graph.depthwise(x, weights[0].astype(np.float32), np.zeros(6, np.float32))
    graph.operators[-1] = dataclasses.replace(graph.operators[-1], inputs=(x, expanded, graph.operators[-1].inputs[2]))
    z = graph.conv(x, weights.astype(np.float32), np.zeros(1, np.float32), padding=VALID)
    graph.operators[-1] = dataclasses.replace(graph.operators[-1], inputs=(x, expanded, graph.operators[-1].inputs[2]))
    feeds = [source.integers(-9, 10, (1, 6, 6, 6)).astype(np.float32)]
    return Case("weights-shared", graph.output(y, z, graph.quantize(y)), feeds)


def all_cases() -> list[Case]:
    """Each kind of layer, with one scale and with one a channel."""
    layers = ("conv", "pointwise", "groups", "dense")
    cases = [_layers(*each) for each in itertools.product(layers, ("tensor", "channel"), (True, False))]
    reason = "LCE's interpreter rounds the activations that meet such weights"
    return [dataclasses.replace(case, kernels="", reason=reason) for case in (*cases, _shared())]
