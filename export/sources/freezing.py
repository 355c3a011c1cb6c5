"""The graph behind a signature with its variables as constants, and the kernels in it after their quantizers.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bopkit.export.network.binarization import Nodes, node_name
from bopkit.keras2 import import_tensorflow

GraphDef = Any  # TensorFlow is imported inside the functions

KERNEL_INPUT = {"Conv2D": 1, "DepthwiseConv2dNative": 1, "Conv3D": 1, "MatMul": 1}
"""Operations with a kernel, and where they take it."""


@dataclasses.dataclass(frozen=True)
class FrozenGraph:
    """A frozen graph.

    Attributes:
        function: Takes the input and answers the output, in a list of one.
        nodes: Its operations.
        kernels: The kernel of each operation that has a constant one, by the name of the operation.
    """

    function: Any
    nodes: Nodes
    kernels: dict[str, np.ndarray]


def freeze(function: Any) -> FrozenGraph:
    """Freeze a signature of one input and one output."""
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function)
    definition = frozen.graph.as_graph_def()
    for node in definition.node:  # a sign's own gradient refers to tensors that are gone
        node.attr.pop("_gradient_op_type", None)
    kernels = _fold_kernels(definition)
    (source,) = [each.name for each in frozen.inputs if each.dtype != tf.resource]
    (target,) = [each.name for each in frozen.outputs]

    def imported() -> None:
        tf.graph_util.import_graph_def(definition, name="")

    wrapped = tf.compat.v1.wrap_function(imported, [])
    pruned = wrapped.prune(wrapped.graph.get_tensor_by_name(source), [wrapped.graph.get_tensor_by_name(target)])
    return FrozenGraph(pruned, {node.name: node for node in definition.node}, kernels)


def _fold_kernels(definition: GraphDef) -> dict[str, np.ndarray]:
    """Replace what only computes a kernel by its value; kernels by the name of their operation.

    TensorFlow and LCE fold no constant above 10 and 64 MiB, and a kernel that is not folded is not packed.
    """
    tf = import_tensorflow()
    nodes = {node.name: node for node in definition.node}
    constant: dict[str, bool] = {}

    def is_constant(tensor: str) -> bool:
        name = node_name(tensor)
        if name not in constant:
            node = nodes[name]
            constant[name] = node.op == "Const" or bool(node.input) and all(map(is_constant, node.input))
        return constant[name]

    users = [node for node in definition.node if node.op in KERNEL_INPUT]
    users = [node for node in users if is_constant(node.input[KERNEL_INPUT[node.op]])]
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        sources = [node.input[KERNEL_INPUT[node.op]] for node in users]
        values = session.run([name if ":" in name else f"{name}:0" for name in sources]) if sources else []
    for node, value in zip(users, values, strict=True):
        folded = definition.node.add(name=f"{node.name}/folded_kernel", op="Const")
        folded.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        folded.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        node.input[KERNEL_INPUT[node.op]] = folded.name
    return {node.name: value for node, value in zip(users, values, strict=True)}
