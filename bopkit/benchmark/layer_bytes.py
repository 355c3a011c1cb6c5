"""The bytes of each layer of an artifact; the last entry is the rest of the file, so that they add up."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.benchmark.results import LayerBytes

REST = "all else: structure, names, metadata"
"""The entry that is the rest of the file."""

PACKED_OPERATORS = frozenset({"LceBconv2d"})


def flatbuffer_layers(path: Path) -> list[LayerBytes]:
    """The operators of a flatbuffer that have constants, each buffer at the first operator that reads it.

    An operator has the name of the layer that it computes last: the converter fuses a convolution with what follows it.

    Raises:
        BopkitError: It is damaged.
    """
    found: list[LayerBytes] = []
    counted: set[int] = set()
    for graph in artifact.read_flatbuffer(path).graphs:
        for operator in graph.operators:
            constants = [graph.tensors[index] for index in operator.inputs if index >= 0]
            own = {each.buffer: len(each.data) for each in constants if each.is_constant and each.buffer not in counted}
            counted |= set(own)
            if own:
                # The converter joins the names of all that it has fused, the last first.
                name = graph.tensors[operator.outputs[0]].name.partition(";")[0] if operator.outputs else ""
                found.append(LayerBytes(name or operator.type, sum(own.values()), operator.type in PACKED_OPERATORS))
    layers: dict[str, LayerBytes] = {}
    for name, layer in zip(layer_names([each.name for each in found]), found, strict=True):
        _add(layers, dataclasses.replace(layer, name=name))
    return _with_rest(layers, path)


_INPUT_QUANTIZER = re.compile(r"(ste|approx|swish|magnitude_aware)_sign(_\d+)?")


def layer_names(tensors: Sequence[str]) -> list[str]:
    """Names of layers, from those that TensorFlow gives tensors: MODEL/LAYER/OPERATOR, the model's the same in all."""
    scoped = [name.split("/") for name in tensors if "/" in name]
    models = {model for model, *_ in scoped}
    prefix = f"{models.pop()}/" if len(models) == 1 and all(len(parts) > 2 for parts in scoped) else ""
    return [_layer_name(name.removeprefix(prefix).split("/")) for name in tensors]


def _layer_name(parts: Sequence[str]) -> str:
    if len(parts) > 2 and _INPUT_QUANTIZER.fullmatch(parts[-2]):  # the layer before is fused with the sign of its input
        return f"before {'/'.join(parts[:-2])}"
    return "/".join(parts[:-1] or parts)


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
