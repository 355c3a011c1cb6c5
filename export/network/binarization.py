"""Which signs of a TensorFlow graph LCE's converter may pack, and how it is kept from packing others.

LCE's converter (0.16) takes the sign of any sum with a sign in it for a binarisation, after simplifications of its own,
and packs the layer behind it: larq's `sign(sign(x) + 0.1)`, but also `sign(sign(x) + 2)`, the ternary
`sign(sign(x + t) + sign(x - t))` and the sign of a shortcut that carries signs. What the sum does is then lost without
a word. It looks through no maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit.artifacts.saved_model_check import read_saved_model
from bopkit.keras2 import import_tensorflow

NodeDef = Any  # TensorFlow is imported inside the functions
Nodes = dict[str, NodeDef]
"""The nodes of one graph or function by their names."""

# No simplification moves a sign through these.
_BARRIERS = frozenset(
    """
    Const ReadVariableOp Conv2D Conv2DBackpropInput Conv3D DepthwiseConv2dNative MatMul BatchMatMul BatchMatMulV2 Einsum
    AvgPool AvgPool3D MaxPool MaxPool3D Mean Sum Max Min Maximum
    """.split()
)

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def is_binarized(tensor: str, nodes: Nodes) -> bool:
    """Whether a tensor is what larq's signs compute: `sign(sign(x) + 0.1)`, which is 1 from 0 on and -1 below."""
    outer = _producer(tensor, nodes)
    return outer is not None and _is_binarization(outer, nodes)


def shield_other_signs(path: Path) -> None:
    """Put a maximum with the least float before every sign that LCE's converter could mistake; no value changes.

    Args:
        path: A SavedModel, altered in its place.
    """
    saved = read_saved_model(path)
    functions = [each for graph in saved.meta_graphs for each in graph.graph_def.library.function]
    if any([_separate(each) for each in functions]):
        (path / "saved_model.pb").write_bytes(saved.SerializeToString())


def node_name(tensor: str) -> str:
    """Name of the node that makes a tensor, as graphs and functions write it: `node`, `node:1`, `node:output:1`."""
    return tensor.lstrip("^").partition(":")[0]


def _separate(function: Any) -> bool:
    """Separate the signs of one function; whether there were any."""
    tf = import_tensorflow()
    nodes = {node.name: node for node in function.node_def}
    found = [node for node in function.node_def if node.op == "Sign" and _can_be_mistaken(node, nodes)]
    for node in found:
        dtype = tf.as_dtype(node.attr["T"].type)
        least = function.node_def.add(name=f"{node.name}/least", op="Const")
        least.attr["dtype"].type = dtype.as_datatype_enum
        least.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(dtype.min, dtype))
        same = function.node_def.add(name=f"{node.name}/same", op="Maximum")
        same.attr["T"].type = dtype.as_datatype_enum
        same.input.extend([node.input[0], f"{least.name}:output:0"])
        node.input[0] = f"{same.name}:z:0"
    return bool(found)


def _can_be_mistaken(sign: NodeDef, nodes: Nodes) -> bool:
    """Whether a sign that is not larq's may meet another sign in what it is taken of."""
    if _is_binarization(sign, nodes) or not import_tensorflow().as_dtype(sign.attr["T"].type).is_floating:
        return False
    return any(source.op == "Sign" or source.op in _CALLS for source in _sources(sign, nodes))


def _sources(node: NodeDef, nodes: Nodes) -> Iterator[NodeDef]:
    """What a node is computed of inside its function, back to signs, calls and barriers."""
    waiting, seen = list(node.input), set()
    while waiting:
        source = _node(waiting.pop(), nodes)
        if source is None or source.name in seen:  # an argument: pictures or a constant
            continue
        yield source
        seen.add(source.name)
        if source.op != "Sign" and source.op not in _CALLS | _BARRIERS:
            waiting += source.input


def _is_binarization(outer: NodeDef, nodes: Nodes) -> bool:
    """Whether a node is the sign of the sum of a sign and a constant that only makes 0 positive."""
    if outer.op != "Sign":
        return False
    total = _producer(outer.input[0], nodes)
    if total is None or total.op not in ("Add", "AddV2"):
        return False
    terms = {term.op: term for term in (_producer(each, nodes) for each in total.input) if term is not None}
    if terms.keys() != {"Sign", "Const"}:
        return False
    offset = import_tensorflow().make_ndarray(terms["Const"].attr["value"].tensor)
    return bool(((offset > 0) & (offset < 1)).all())


def _producer(tensor: str, nodes: Nodes) -> NodeDef | None:
    """The node that computes a tensor; None where that is outside the function."""
    node = _node(tensor, nodes)
    while node is not None and node.op in ("Identity", "IdentityN"):
        place = tensor.rpartition(":")[2]
        tensor = node.input[int(place) if place.isdecimal() else 0]
        node = _node(tensor, nodes)
    return node


def _node(tensor: str, nodes: Nodes) -> NodeDef | None:
    return nodes.get(node_name(tensor))
