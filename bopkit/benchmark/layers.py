"""Where the bytes of an artifact are, layer by layer; what no layer holds is the last entry, so that all add up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit import artifact, files
from bopkit.benchmark.report import LayerBytes

REST = "all else: structure, names, metadata"
"""The entry that is the rest of the file."""

PACKED_OPERATORS = frozenset({"LceBconv2d"})


def flatbuffer_layers(path: Path) -> list[LayerBytes]:
    """The operators of a flatbuffer that have constants, each buffer at the first operator that reads it.

    Raises:
        BopkitError: It is damaged.
    """
    layers: dict[str, LayerBytes] = {}
    counted: set[int] = set()
    for graph in artifact.read_flatbuffer(path).graphs:
        for operator in graph.operators:
            constants = [graph.tensors[index] for index in operator.inputs if index >= 0]
            own = {each.buffer: len(each.data) for each in constants if each.is_constant and each.buffer not in counted}
            counted |= set(own)
            if own:
                # The converter joins the names of all that it has fused; the first is the layer's.
                name = (
                    graph.tensors[operator.outputs[0]].name.partition(";")[0].removeprefix("model/")
                    if operator.outputs
                    else ""
                )
                _add(layers, LayerBytes(name or operator.type, sum(own.values()), operator.type in PACKED_OPERATORS))
    return _with_rest(layers, path)


def keras_layers(model: Any, path: Path) -> list[LayerBytes]:
    """The layers of a Keras model that have weights of their own; none is packed.

    Args:
        model: A `tf.keras.Model`.
        path: The file that it was loaded from.
    """
    layers: dict[str, LayerBytes] = {}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        inner = {id(each) for other in layer._flatten_layers(include_self=False) for each in other.weights}
        own = [each for each in layer.weights if id(each) not in inner]
        if own:
            size_bytes = sum(each.dtype.size * each.shape.num_elements() for each in own)
            _add(layers, LayerBytes(layer.name, size_bytes, is_packed=False))
    return _with_rest(layers, path)


def _add(layers: dict[str, LayerBytes], layer: LayerBytes) -> None:
    """Add a layer, or its bytes to those of an operator of the same layer."""
    key = f"{layer.name}, packed" if layer.is_packed else layer.name
    known = layers.get(key)
    layers[key] = (
        layer if known is None else LayerBytes(layer.name, known.size_bytes + layer.size_bytes, layer.is_packed)
    )


def _with_rest(layers: dict[str, LayerBytes], path: Path) -> list[LayerBytes]:
    rest_bytes = files.size_bytes(path) - sum(layer.size_bytes for layer in layers.values())
    # A compressed file is smaller than its weights: nothing is left over then.
    return [*layers.values(), *([LayerBytes(REST, rest_bytes, is_packed=False)] if rest_bytes > 0 else [])]
