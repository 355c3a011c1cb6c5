"""The last pass over `saved_model.pb`: smaller, and with names that stay the same from export to export.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bopkit.export.serving.signatures import CLASSIFY
from bopkit.keras2 import import_tensorflow

MetaGraph = Any  # TensorFlow is imported inside the functions
Function = Any

INFERRED_SHAPES = "_output_shapes"
"""Attribute with the shapes of an operation's outputs. Loaders infer them again, except those of calls."""

GRADIENT = "_gradient_op_type"
"""Attribute that names the gradient of an operation; those of a SavedModel for serving are not saved."""

CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf")

CHECKPOINT_FUNCTIONS = ("__inference__traced_save", "__inference__traced_restore")
"""They read and write `variables/`, with several operations for each variable that repeat its long name."""


def tidy_graph_def(path: Path) -> None:
    """Rewrite the `saved_model.pb` of a version directory in place.

    What a loader does not need goes: default values, inferred shapes, names of gradients, attributes of resources on
    their way into functions, and long names in the functions that read and write `variables/`. The outputs of a
    signature become `NAME:0`, `NAME:1`...: TensorFlow numbers them by the order in which it met the signatures. The
    classify signature gets the method name without which the server's classify API refuses it.
    """
    tf = import_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import meta_graph as meta_graphs

    file = path / tf.saved_model.SAVED_MODEL_FILENAME_PB
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (meta_graph,) = saved.meta_graphs
    # A server of an older TensorFlow takes an attribute that it does not know only where it is left out.
    meta_graphs.strip_graph_default_valued_attrs(meta_graph)
    _drop_attributes(meta_graph)
    for function in meta_graph.graph_def.library.function:
        _drop_resource_attributes(function)
        if function.signature.name.startswith(CHECKPOINT_FUNCTIONS):
            _shorten_names(function)
    _name_outputs(meta_graph)
    if CLASSIFY in meta_graph.signature_def:
        meta_graph.signature_def[CLASSIFY].method_name = tf.saved_model.CLASSIFY_METHOD_NAME
    file.write_bytes(saved.SerializeToString(deterministic=True))
    # It holds checksums of the file as it was. Loaders take a directory without it.
    (path / "fingerprint.pb").unlink(missing_ok=True)


def _drop_attributes(meta_graph: MetaGraph) -> None:
    graph = meta_graph.graph_def
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            node.attr.pop(GRADIENT, None)
            if node.op not in CALLS:
                node.attr.pop(INFERRED_SHAPES, None)


def _drop_resource_attributes(function: Function) -> None:
    from tensorflow.core.framework import types_pb2

    for index, argument in enumerate(function.signature.input_arg):
        if argument.type == types_pb2.DT_RESOURCE:
            function.arg_attr.pop(index, None)


def _shorten_names(function: Function) -> None:
    """Number the operations of a function."""
    short = {node.name: f"n{index}" for index, node in enumerate(function.node_def)}

    def shortened(reference: str) -> str:
        """A reference is `^NODE`, `NODE:OUTPUT:INDEX`, or the name of an argument."""
        control = "^" if reference.startswith("^") else ""
        name, colon, output = reference.removeprefix("^").partition(":")
        return f"{control}{short.get(name, name)}{colon}{output}"

    for node in function.node_def:
        node.name = short[node.name]
        node.input[:] = map(shortened, node.input)
    for returned in (function.ret, function.control_ret):
        for key, reference in list(returned.items()):
            returned[key] = shortened(reference)


def _name_outputs(meta_graph: MetaGraph) -> None:
    """Give the call behind each signature the signature's name."""
    names = {}
    for key, signature in meta_graph.signature_def.items():
        for output in signature.outputs.values():
            node, _, index = output.name.partition(":")
            if key != "__saved_model_init_op":
                names[node] = key
                output.name = f"{key}:{index}"
    for node in meta_graph.graph_def.node:
        node.name = names.get(node.name, node.name)
