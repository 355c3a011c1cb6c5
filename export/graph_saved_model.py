"""SavedModels of code without a Keras config: their graph of stock operations, frozen and converted as it is.

A graph can read and write files and call back into Python, so its operations are checked against an allow-list before
TensorFlow loads it. Only what can run is looked at: the function behind the signature and all that it calls. A
SavedModel with resources besides variables (tables, iterators) is refused, as TensorFlow runs their set-up on loading.

Imports TensorFlow at its top, as its layer derives from Keras': import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import artifact
from bopkit.counting import is_binary
from bopkit.errors import BopkitError, first_line
from bopkit.export.keras_saved_model import read_saved_model
from bopkit.export.layers import REAL_BITS, LayerFacts
from bopkit.keras2 import import_tensorflow
from bopkit.model_file import LoadedModel

tf: Any = import_tensorflow()

import larq  # noqa: E402  needs the Keras that `import_tensorflow` selects

GraphDef = Any
NodeDef = Any

SIGNATURE = "serving_default"

# Arithmetic, shapes, variables and calls. Nothing here touches a file, a socket, Python or another process.
ALLOWED_OPERATIONS = frozenset(
    """
    Placeholder Const VarHandleOp ReadVariableOp NoOp Identity IdentityN PartitionedCall StatefulPartitionedCall
    StopGradient PreventGradient
    Conv2D Conv2DBackpropInput Conv3D DepthwiseConv2dNative MatMul BatchMatMul BatchMatMulV2 Einsum BiasAdd
    AvgPool AvgPool3D MaxPool MaxPool3D LRN FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    Abs Add AddN AddV2 Ceil ClipByValue Cos Cumsum Div DivNoNan Erf Exp Floor FloorDiv FloorMod Log Log1p Maximum
    Minimum Mul MulNoNan Neg Pow RealDiv Reciprocal Round Rsqrt Sign Sin Sqrt Square SquaredDifference Sub Xdivy
    Elu LeakyRelu LogSoftmax Relu Relu6 Selu Sigmoid Softmax Softplus Softsign Tanh
    All Any ArgMax ArgMin Max Mean Min Prod Sum TopKV2
    Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual Select SelectV2 Where
    BatchToSpaceND BroadcastArgs BroadcastTo Cast Concat ConcatV2 DepthToSpace ExpandDims Fill Gather GatherV2 MirrorPad
    OneHot OnesLike Pack Pad PadV2 Range Rank Reshape ReverseV2 Roll Shape Size Slice SpaceToBatchND SpaceToDepth Split
    SplitV Squeeze StridedSlice Tile Transpose Unpack ZerosLike
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    """.split()
)

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

    def __init__(self, kind: str, kernel: np.ndarray):
        super().__init__(1, 1, name=kind)
        self.kernel = tf.constant(kernel)


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


def check_graph(path: Path) -> None:
    """Refuse a SavedModel that could do anything but compute when it is loaded and its signature is called.

    Raises:
        BopkitError: It can, or it is damaged; the message names the operation.
    """
    saved = read_saved_model(path)
    graphs = [each for each in saved.meta_graphs if each.object_graph_def.nodes]
    if len(saved.meta_graphs) != 1 or len(graphs) != 1 or SIGNATURE not in graphs[0].signature_def:
        hint = "Save the network again with `tf.saved_model.save`, with a signature of that name."
        raise BopkitError(f"{path} holds no graph of TensorFlow 2 with the signature {SIGNATURE}.", hint)
    (graph,) = graphs
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind in ("resource", "asset") or _has_own_restore(node):
            raise _refused(
                path, f"{kind} {node.resource.device or ''}".strip(), "Export the model that it was made from."
            )
    library = {each.signature.name: each for each in graph.graph_def.library.function}
    for name in _entry_points(graph):
        for operation in _reachable(name, library):
            if operation not in ALLOWED_OPERATIONS:
                hint = (
                    "Rebuild the network from layers, or give its weights with `--architecture my_package.my_network`."
                )
                raise _refused(path, f"operation {operation[:80]!r}", hint)


def _has_own_restore(node: Any) -> bool:
    """Whether TensorFlow runs a function of the graph to load the node's value."""
    return node.WhichOneof("kind") != "variable" and any(
        each.restore_function for each in node.saveable_objects.values()
    )


def _refused(path: Path, what: str, hint: str) -> BopkitError:
    return BopkitError(f"{path} is refused: its {what} is not known to be safe.", hint)


def _entry_points(graph: Any) -> Iterator[str]:
    """Functions that a loaded SavedModel offers as signatures: names of functions in its library."""
    nodes = graph.object_graph_def.nodes
    (signatures,) = [child.node_id for child in nodes[0].children if child.local_name == "signatures"] or [None]
    if signatures is None:
        return
    for child in nodes[signatures].children:
        node = nodes[child.node_id]
        if node.WhichOneof("kind") == "bare_concrete_function":
            yield node.bare_concrete_function.concrete_function_name
        yield from node.function.concrete_functions


def _reachable(name: str, library: dict[str, Any]) -> Iterator[str]:
    """Operations of a function and of all that it calls; a function that is missing counts as one."""
    waiting, seen = [name], {name}
    while waiting:
        function = library.get(waiting.pop())
        if function is None:
            yield "call of an unknown function"
            continue
        for node in function.node_def:
            yield node.op
            for attribute in node.attr.values():
                called = [attribute.func.name, *(each.name for each in attribute.list.func)]
                fresh = {each for each in called if each} - seen
                seen |= fresh
                waiting += fresh


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
    return pruned, [_facts(nodes[name], kernel, nodes) for name, kernel in kernels.items()]


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


def _facts(node: NodeDef, kernel: np.ndarray, nodes: dict[str, NodeDef]) -> LayerFacts:
    kernel = kernel.astype(np.float32)
    convolution = node.op == "Conv2D"
    binary = convolution and is_binary(kernel)
    takes_sign = _is_sign(node.input[0], nodes)
    reason = "" if binary and takes_sign else "input is no plain sign" if binary else "real weights"
    if not convolution:
        reason = f"{node.op} of a SavedModel's graph is not packed"
    return _OperationFacts(
        layer=_Kernel(node.op, kernel),
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
    if total.op != "AddV2":
        return False
    terms = [_producer(each, nodes).op for each in total.input]
    return terms == ["Sign", "Const"]


def _refuse_mistaken_signs(path: Path, nodes: dict[str, NodeDef]) -> None:
    """Refuse a sign of a sum of signs: LCE would take it for a binarisation (see `ternary`)."""
    for node in nodes.values():
        total = _producer(node.input[0], nodes) if node.op == "Sign" else node
        if node.op == "Sign" and total.op == "AddV2":
            terms = [_producer(each, nodes).op for each in total.input]
            if "Sign" in terms and terms != ["Sign", "Const"]:
                raise BopkitError(
                    f"{path} holds a ternary quantizer ({node.name}), which LCE's converter takes for a sign.",
                    "Give the network's weights with `--architecture my_package.my_network`.",
                )


def _producer(tensor: str, nodes: dict[str, NodeDef]) -> NodeDef:
    node = nodes[_node_of(tensor)]
    while node.op in ("Identity", "IdentityN"):
        node = nodes[_node_of(node.input[0])]
    return node


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]
