"""Which inputs of a network are indices of an Embedding, as numbers of words are: noise of floats would all be word 0.

Needs TensorFlow for what takes a model; imports it inside the function.
"""

from __future__ import annotations

from typing import Any

from bopkit.artifacts.tflite_graph import Graph
from bopkit.export.network.layers import keeps_values
from bopkit.export.network.passes.keras_graph import nodes
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions

_LOOKUPS = {"GATHER": (1, 0), "EMBEDDING_LOOKUP": (0, 1)}
"""Operators that look rows up: places of the indices and of the table among their inputs."""

_MOVES = ("CAST", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS")
"""Operators that hand on the values of their first input."""


def indices_of_model(model: Model) -> list[int | None]:
    """For each input of a Keras model the number of rows of the smallest Embedding that looks it up; None for others.

    Args:
        model: Any; of one that is no graph of layers nothing is known.
    """
    tf = import_tensorflow()
    keras = tf.keras
    limits: list[int | None] = [None] * len(model.inputs)
    origins: dict[int, set[int]] = {id(tensor): {place} for place, tensor in enumerate(model.inputs)}

    def origins_of(tensors: Any) -> list[set[int]]:
        return [origins.get(id(each), set()) for each in tf.nest.flatten(tensors)]

    def follow(network: Model) -> None:
        for node in nodes(network):
            taken, layer = set().union(*origins_of(node.keras_inputs)), node.layer
            if isinstance(layer, keras.Model):
                origins.update(zip(map(id, layer.inputs), origins_of(node.call_args), strict=True))
                follow(layer)
                origins.update(zip(map(id, tf.nest.flatten(node.outputs)), origins_of(layer.outputs), strict=True))
            elif isinstance(layer, keras.layers.Embedding):
                for place in taken:
                    limits[place] = _smaller(limits[place], int(layer.input_dim))
            elif keeps_values(layer) or layer.name.startswith("tf.cast"):
                origins.update({id(each): taken for each in tf.nest.flatten(node.outputs)})

    if getattr(model, "_is_graph_network", False):
        follow(model)
    return limits


def indices_of_flatbuffer(graph: Graph) -> list[int | None]:
    """The same for each input of a flatbuffer."""
    limits: dict[int, int | None] = dict.fromkeys(graph.inputs)
    origins = {index: index for index in graph.inputs}
    for operator in graph.operators:
        if operator.type in _MOVES and operator.inputs[0] in origins:
            origins[operator.outputs[0]] = origins[operator.inputs[0]]
        elif operator.type in _LOOKUPS:
            indices, table = (operator.inputs[place] for place in _LOOKUPS[operator.type])
            if indices in origins:
                limits[origins[indices]] = _smaller(limits[origins[indices]], graph.tensors[table].shape[0])
    return [limits[index] for index in graph.inputs]


def _smaller(limit: int | None, other: int) -> int:
    return other if limit is None else min(limit, other)
