"""Whether a flatbuffer answers for one picture only, because the converter wrote the batch of 1 into its operators."""

from __future__ import annotations

from bopkit.artifacts.tflite_graph import Graph, Operator

_SIZES_INPUT = {"RESHAPE": 1, "SLICE": 2, "STRIDED_SLICE": 2, "BROADCAST_TO": 1, "TRANSPOSE_CONV": 0}
"""Which input of an operator holds the sizes of its output, or where its slice ends."""


def fixes_one_picture(graph: Graph) -> bool:
    """Whether something that depends on the pictures has a batch of 1 for good.

    Keras writes so for layer normalization, shuffles of channels, crops to a size and one-dimensional convolutions. An
    interpreter that is resized to more pictures fails there, or goes on with the first alone.
    """
    of_pictures = set(graph.inputs)
    for operator in graph.operators:
        if of_pictures.isdisjoint(operator.inputs):
            continue
        of_pictures.update(operator.outputs)
        if _leaves_one(graph, operator):
            return True
    return False


def _leaves_one(graph: Graph, operator: Operator) -> bool:
    place = _SIZES_INPUT.get(operator.type)
    if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
        return False
    sizes = graph.tensors[operator.inputs[place]]
    return sizes.is_constant and sizes.elements > 1 and int(sizes.values().flat[0]) == 1
