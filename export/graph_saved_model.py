"""SavedModels of code without a Keras config: their graph of stock operations, frozen and converted as it is.

TensorFlow loads it only after `bopkit.graph_check` has found that it does nothing but compute.

Imports TensorFlow at its top, as its layer derives from Keras': import it inside functions only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bopkit import artifact
from bopkit.counting import is_binary
from bopkit.errors import BopkitError, first_line
from bopkit.export.layers import REAL_BITS, LayerFacts, unsupported_convolution
from bopkit.graph_check import SIGNATURE, check_graph, read_saved_model
from bopkit.keras2 import import_tensorflow
from bopkit.model_file import LoadedModel

tf: Any = import_tensorflow()

import larq  # noqa: E402  needs the Keras that `import_tensorflow` selects

GraphDef = Any
NodeDef = Any

_KERNEL_INPUT = {"Conv2D": 1, "DepthwiseConv2dNative": 1, "Conv3D": 1, "MatMul": 1}
_NOTE = "The SavedModel holds code, not layers: its graph was frozen and converted as it is, to the flatbuffer alone."


class FrozenGraph(tf.keras.layers.Layer):
    """A frozen graph in the place of a network's layers.

    Attributes:
        graph_facts: What the export has to know of each operation with a kernel.
    """

    def __init__(self, function: Any, graph_facts: list[LayerFacts], **settings: Any):
        super().__init__(**settings)
        self._function = function
        self.graph_facts = graph_facts

    def call(self, inputs: Any) -> Any:
        """Map float32 [n, H, W, C] to the graph's scores."""
        (outputs,) = self._function(inputs)
        return outputs

    def get_config(self) -> dict[str, Any]:
        """What a copy in this process is made from; it cannot be saved."""
        return {**super().get_config(), "function": self._function, "graph_facts": self.graph_facts}


class _Kernel(larq.layers.QuantConv2D):
    """Stands for an operation of the graph where facts speak of a layer; never called."""

    def __init__(self, node: NodeDef, kernel: np.ndarray, channels: int | None):
        super().__init__(1, 1, name=node.op)
        self.kernel = tf.constant(kernel)
        if node.op == "Conv2D":
            self.data_format = "channels_first" if node.attr["data_format"].s == b"NCHW" else "channels_last"
            self.groups = channels // kernel.shape[2] if channels else 1


class _OperationFacts(LayerFacts):
    """Facts of one operation of a graph."""

    @property
    def type(self) -> str:
        """Name of the operation, e.g. `Conv2D`."""
        return str(self.layer.name)


def load_graph(path: Path) -> LoadedModel:
    """Load the graph behind `serving_default` as a network of one layer.

    Args:
        path: A version directory.

    Raises:
        BopkitError: It is damaged, has an operation that is not known to be safe, or does not map one float32
            picture to one output.
    """
    check_graph(path)
    if any(
        node.WhichOneof("kind") == "resource" for node in read_saved_model(path).meta_graphs[0].object_graph_def.nodes
    ):
        raise BopkitError(
            f"{path} is refused: its resources, e.g. packed kernels, cannot be frozen.",
            "Export the model that it was made from.",
        )
    try:
        loaded = tf.saved_model.load(str(path))
        function = loaded.signatures[SIGNATURE]
    except Exception as error:  # a damaged SavedModel can make TensorFlow raise anything
        raise BopkitError(
            f"{path} does not load: {first_line(error)[:200]}", "Copy it again, or save it again."
        ) from error
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1 or next(iter(inputs.values())).dtype != tf.float32:
        raise BopkitError(
            f"{SIGNATURE} of {path} maps {dict(inputs)} to {dict(outputs)}; an export needs one float32 picture in and "
            "one output.",
            "Save it again with `signatures=` of such a function.",
        )
    frozen, facts = _freeze(function, path)
    shape = next(iter(inputs.values())).shape
    pictures = tf.keras.Input(shape[1:], name="images")
    model = tf.keras.Model(pictures, FrozenGraph(frozen, facts, name="graph")(pictures))
    return LoadedModel(model, artifact.read_card(path), (_NOTE,))


def _freeze(function: Any, path: Path) -> tuple[Any, list[LayerFacts]]:
    """The function with its variables as constants and its kernels after their quantizers; facts of the kernels."""
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
    nodes = {node.name: node for node in definition.node}
    _refuse_mistaken_signs(path, nodes)
    channels = {name: _channels(wrapped.graph.get_operation_by_name(name)) for name in kernels}
    return pruned, [_facts(nodes[name], kernel, channels[name], nodes) for name, kernel in kernels.items()]


def _fold_kernels(definition: GraphDef) -> dict[str, np.ndarray]:
    """Replace what only computes a kernel by its value; kernels by the name of their operation.

    TensorFlow and LCE fold no constant above 10 and 64 MiB, and a kernel that is not folded is not packed.
    """
    nodes = {node.name: node for node in definition.node}
    constant: dict[str, bool] = {}

    def is_constant(name: str) -> bool:
        name = _node_of(name)
        if name not in constant:
            node = nodes[name]
            constant[name] = node.op == "Const" or bool(node.input) and all(map(is_constant, node.input))
        return constant[name]

    users = [node for node in definition.node if node.op in _KERNEL_INPUT]
    users = [node for node in users if is_constant(node.input[_KERNEL_INPUT[node.op]])]
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        sources = [node.input[_KERNEL_INPUT[node.op]] for node in users]
        values = session.run([name if ":" in name else f"{name}:0" for name in sources]) if sources else []
    for node, value in zip(users, values, strict=True):
        folded = definition.node.add(name=f"{node.name}/folded_kernel", op="Const")
        folded.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        folded.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        node.input[_KERNEL_INPUT[node.op]] = folded.name
    return {node.name: value for node, value in zip(users, values, strict=True)}


def _channels(operation: Any) -> int | None:
    """Channels that an operation takes; None where the graph does not tell."""
    shape = operation.inputs[0].shape
    return shape[-1] if shape.rank else None


def _facts(node: NodeDef, kernel: np.ndarray, channels: int | None, nodes: dict[str, NodeDef]) -> LayerFacts:
    kernel = kernel.astype(np.float32)
    layer = _Kernel(node, kernel, channels)
    convolution = node.op == "Conv2D"
    binary = convolution and is_binary(kernel)
    takes_sign = _is_sign(node.input[0], nodes)
    reason = (
        unsupported_convolution(layer)
        if binary and takes_sign
        else "input is no plain sign"
        if binary
        else "real weights"
    )
    if not convolution:
        reason = f"{node.op} of a SavedModel's graph is not packed"
    return _OperationFacts(
        layer=layer,
        name=node.name,
        input_bits=1 if takes_sign else REAL_BITS,
        kernel_bits=1 if binary else REAL_BITS,
        takes_sign=takes_sign,
        weights=kernel.size,
        float_reason=reason,
    )


def _is_sign(name: str, nodes: dict[str, NodeDef]) -> bool:
    """Whether a tensor is what larq's signs compute: `sign(sign(x) + 0.1)`."""
    outer = _producer(name, nodes)
    if outer.op != "Sign":
        return False
    total = _producer(outer.input[0], nodes)
    return total.op == "AddV2" and _only_breaks_ties(total, nodes)


def _only_breaks_ties(total: NodeDef, nodes: dict[str, NodeDef]) -> bool:
    """Whether a sum is that of a sign and a constant that makes 0 positive and leaves -1 and 1 as they are."""
    terms = {term.op: term for term in (_producer(each, nodes) for each in total.input)}
    if terms.keys() != {"Sign", "Const"}:
        return False
    offset = tf.make_ndarray(terms["Const"].attr["value"].tensor)
    return bool(((offset > 0) & (offset < 1)).all())


def _refuse_mistaken_signs(path: Path, nodes: dict[str, NodeDef]) -> None:
    """Refuse a sign of another sum with a sign: LCE would take it for a binarisation (see `ternary`)."""
    for node in nodes.values():
        total = _producer(node.input[0], nodes) if node.op == "Sign" else node
        if node.op == "Sign" and total.op == "AddV2":
            terms = [_producer(each, nodes).op for each in total.input]
            if "Sign" in terms and not _only_breaks_ties(total, nodes):
                raise BopkitError(
                    f"{path} holds a ternary or shifted quantizer ({node.name}), which LCE's converter takes for a "
                    "sign.",
                    "Give the network's weights with `--architecture my_package.my_network`.",
                )


def _producer(tensor: str, nodes: dict[str, NodeDef]) -> NodeDef:
    node = nodes[_node_of(tensor)]
    while node.op in ("Identity", "IdentityN"):
        node = nodes[_node_of(node.input[0])]
    return node


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]
