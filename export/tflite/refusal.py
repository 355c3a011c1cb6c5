"""What a flatbuffer cannot hold, and the layer that it is of.

LCE's converter takes more than its interpreter runs: an operation that neither knows becomes a custom operator of that
name, a loop a second graph, and an LSTM an operator whose state stays from one picture to the next.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bopkit.artifacts.tflite_graph import Graph
from bopkit.errors import BopkitError
from bopkit.export.network.layers import named_leaves
from bopkit.keras2 import import_tensorflow

Model = Any  # TensorFlow is imported inside the functions
Operation = Any

_LOOPS = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"})

_HINT = "Type --savedmodel to export the other format alone."


class NotForFlatbufferError(BopkitError):
    """A network that the other format may hold."""

    def __init__(self, what: str) -> None:
        super().__init__(what, _HINT)


def refuse_recurrent(model: Model) -> None:
    """Raise `NotForFlatbufferError` for a network with a recurrent layer, before it is converted."""
    keras = import_tensorflow().keras.layers
    for name, layer in named_leaves(model):
        inner = layer
        while isinstance(inner, keras.Wrapper):  # Bidirectional, TimeDistributed
            inner = inner.forward_layer if isinstance(inner, keras.Bidirectional) else inner.layer
        if isinstance(inner, keras.RNN):
            raise _refusal([(name, layer)], "it needs loops and a state, and LCE's flatbuffers have none")


def refuse_unknown(graphs: Sequence[Graph], operations: Sequence[Operation], model: Model) -> None:
    """Raise `NotForFlatbufferError` for a flatbuffer that LCE's interpreter does not run, or not anew for each picture.

    Args:
        graphs: Those of the converted file.
        operations: What was converted, in TensorFlow's own graph.
        model: The network, for the names of its layers.
    """
    operators = {operator.type for graph in graphs for operator in graph.operators}
    unknown = sorted(filter(_is_unknown, operators))
    if unknown:
        what = f"LCE's interpreter has no {', '.join(unknown)}"
        raise _refusal(_layers_of(operations, frozenset(unknown), model), what)
    if len(graphs) > 1:
        raise _refusal(_layers_of(operations, _LOOPS, model), "it needs a loop, and LCE's flatbuffers have none")
    if any(tensor.is_variable for tensor in graphs[0].tensors):
        raise _refusal([], "its state would stay from one picture to the next")


def _is_unknown(operator: str) -> bool:
    """Whether an operator is neither built in, as MAX_POOL_2D and `operator 132`, nor LCE's own."""
    return not operator.isupper() and " " not in operator and not operator.startswith("Lce")


def refused_by_converter(reason: str, log: str, model: Model) -> NotForFlatbufferError:
    """The error for what LCE's converter has refused itself.

    Args:
        reason: One line.
        log: All that it said, with the names of operations.
        model: The network.
    """
    return _refusal([each for each in named_leaves(model) if f"/{each[1].name}/" in log], f"LCE's converter: {reason}")


def _layers_of(operations: Sequence[Operation], types: frozenset[str], model: Model) -> list[tuple[str, Any]]:
    """The layers, with their names, that operations of these types were made for."""
    scopes = {part for each in operations if each.type in types for part in each.name.split("/")}
    return [(name, layer) for name, layer in named_leaves(model) if layer.name in scopes]


def _refusal(layers: list[tuple[str, Any]], reason: str) -> NotForFlatbufferError:
    named = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers)
    subject = f"layer{'s' if len(layers) > 1 else ''} {named}" if layers else "the network"
    return NotForFlatbufferError(f"A flatbuffer cannot hold {subject}: {reason}.")
