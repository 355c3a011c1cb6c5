"""Check that a SavedModel does nothing but compute, before TensorFlow loads it; and load it.

A graph can read and write files and call back into Python, and TensorFlow runs parts of it while it loads. What can run
is checked against an allow-list of operations: the function behind the signature, what sets up resources such as packed
kernels, what an object is saved and restored by, and all that these call. Anything else that TensorFlow would run on
loading is refused.

Needs TensorFlow; imports it inside the functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit.errors import BopkitError, first_line
from bopkit.keras2 import import_tensorflow

MetaGraph = Any  # TensorFlow is imported inside the functions
Node = Any

SIGNATURE = "serving_default"

MAX_PROTO_BYTES = (2 << 30) - 1
"""Largest message that protobuf reads."""

# Arithmetic, shapes, variables and calls. Nothing here touches a file, a socket, Python or another process.
ALLOWED_OPERATIONS = frozenset(
    """
    Placeholder Const VarHandleOp ReadVariableOp NoOp Identity IdentityN PartitionedCall StatefulPartitionedCall
    StopGradient PreventGradient ResourceGather
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
    AssignVariableOp BitwiseAnd BitwiseOr DestroyResourceOp EnsureShape LeftShift RightShift
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    """.split()
)

PREDICT_BYTES = "predict_bytes"
"""The signature of bopkit's exports that takes encoded pictures."""

# What decodes and prepares pictures inside of a graph, one or many: strings, decoders, loops, datasets of tensors.
DECODING_OPERATIONS = frozenset(
    """
    AsString Assert ReduceJoin StringFormat StringJoin StringLength Substr
    DecodeAndCropJpeg DecodeImage DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw ExtractJpegShape
    CropAndResize DenseToDenseSetOperation HSVToRGB RGBToHSV ResizeArea
    If StatelessIf StatelessWhile While
    TensorListElementShape TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListSetItem
    TensorListStack
    BatchDatasetV2 ConcatenateDataset DatasetToSingleElement IgnoreErrorsDataset MapDataset ParallelMapDatasetV2
    RangeDataset RewriteDataset TensorDataset TensorSliceDataset ZipDataset
    """.split()
)

_SET_UP = ("_create_resource", "_initialize", "_destroy_resource")
"""Functions of a resource that TensorFlow calls when it loads it or lets go of it."""

_HARMLESS_CLASSES = ("", "tf.TrackableConstant")
"""Names of classes that make an object as they see fit; the others are tables."""

_REBUILD = "Rebuild the network from layers, or give its weights with `--architecture my_package.my_network`."
_ORIGINAL = "Use the model that it was made from."


def read_saved_model(path: Path) -> Any:
    """The `SavedModel` message of a version directory, parsed and not loaded.

    Raises:
        BopkitError: It is damaged.
    """
    import_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        return saved_model_pb2.SavedModel.FromString(read_message(path / "saved_model.pb"))
    except Exception as error:  # protobuf raises errors of its own
        raise _damaged(path, error) from error


def read_message(path: Path) -> bytes:
    """The bytes of a file that holds one message.

    Raises:
        ValueError: It is larger than protobuf reads.
    """
    if path.stat().st_size > MAX_PROTO_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_PROTO_BYTES} bytes")
    return path.read_bytes()


def check_saved_model(path: Path, decodes: bool = False) -> None:
    """Refuse a SavedModel that could do anything but compute when it is loaded and its signature is called.

    Args:
        path: A version directory.
        decodes: Check `PREDICT_BYTES` too, where there is one, and let signatures decode pictures.

    Raises:
        BopkitError: It can, or it is damaged; the message names the operation.
    """
    saved = read_saved_model(path)
    try:
        _check(saved, path, decodes)
    except BopkitError:
        raise
    except Exception as error:  # a damaged message can refer to anything
        raise _damaged(path, error) from error


def load_saved_model(path: Path, decodes: bool = False) -> Any:
    """Check a SavedModel and load it.

    Args:
        path: A version directory.
        decodes: As of `check_saved_model`.

    Returns:
        What TensorFlow loaded; its signatures alone do not keep its variables alive.

    Raises:
        BopkitError: It could do more than compute, or it is damaged.
    """
    check_saved_model(path, decodes)
    try:
        return import_tensorflow().saved_model.load(str(path))
    except MemoryError:
        raise
    except Exception as error:  # a damaged graph makes TensorFlow and protobuf raise anything
        raise _damaged(path, error) from error


def _check(saved: Any, path: Path, decodes: bool) -> None:
    graphs = [each for each in saved.meta_graphs if each.object_graph_def.nodes]
    if len(saved.meta_graphs) != 1 or len(graphs) != 1:
        hint = "Save the network again with `tf.saved_model.save`."
        raise BopkitError(f"{path} holds no graph of TensorFlow 2.", hint)
    (graph,) = graphs
    if SIGNATURE not in graph.signature_def:
        hint = f"Save it again with one: tf.saved_model.save(model, path, signatures={{{SIGNATURE!r}: function}})."
        raise BopkitError(f"{path} has no signature {SIGNATURE!r}.", hint)
    for node in graph.object_graph_def.nodes:
        if what := _runs_on_loading(node, graph):
            raise _refused(path, what, _ORIGINAL)
    library = {each.signature.name: each for each in graph.graph_def.library.function}
    signatures = [SIGNATURE, PREDICT_BYTES] if decodes else [SIGNATURE]
    allowed = ALLOWED_OPERATIONS | DECODING_OPERATIONS if decodes else ALLOWED_OPERATIONS
    for operation in _reachable(_entry_points(graph, signatures), library):
        if operation not in allowed:
            raise _refused(path, f"operation {operation[:80]!r}", _REBUILD)


def _runs_on_loading(node: Node, graph: MetaGraph) -> str:
    """What of a node TensorFlow would run on loading and no allow-list could vouch for; empty if nothing."""
    kind = node.WhichOneof("kind")
    if kind == "asset" or node.registered_name not in _HARMLESS_CLASSES:
        return f"{kind} {node.registered_name}".strip()
    methods = _methods(kind)
    for child in node.children:
        set_up = kind == "resource" and child.local_name in _SET_UP
        if child.local_name in methods and not set_up and _is_callable(child.node_id, graph):
            return f"{kind} with its own {child.local_name[:80]!r}"
    return ""


def _methods(kind: str | None) -> set[str]:
    """Names that a function must not take in a loaded object, as TensorFlow would call it in place of its own."""
    tf = import_tensorflow()
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    optimizer = {name for name in dir(tf.keras.optimizers.legacy.Optimizer) if name.startswith("_")}
    names = {
        "variable": set(dir(ResourceVariable)),
        "resource": set(dir(tf.saved_model.experimental.TrackableResource)),
    }.get(kind or "", set(dir(tf.__internal__.tracking.AutoTrackable)) | optimizer)
    return names - {"__call__"}


def _is_callable(index: int, graph: MetaGraph) -> bool:
    node = graph.object_graph_def.nodes[index]
    functions = ("function", "bare_concrete_function")
    return node.WhichOneof("kind") in functions or any(child.local_name == "__call__" for child in node.children)


def _entry_points(graph: MetaGraph, names_of_signatures: list[str]) -> list[str]:
    """Functions behind these signatures, those that set up resources, and those that objects are saved and restored by.

    TensorFlow runs the last when it loads the variables of an object with a form of its own to be saved in.

    Returns:
        Names of functions in the library.
    """
    nodes = graph.object_graph_def.nodes
    (signatures,) = [child.node_id for child in nodes[0].children if child.local_name == "signatures"]
    found = [child.node_id for child in nodes[signatures].children if child.local_name in names_of_signatures]
    for node in nodes:
        if node.WhichOneof("kind") == "resource":
            found += [child.node_id for child in node.children if child.local_name in _SET_UP]
        for saveable in node.saveable_objects.values():
            found += [saveable.save_function, saveable.restore_function]
    names: list[str] = []
    for node in (nodes[index] for index in found):
        if node.WhichOneof("kind") == "bare_concrete_function":
            names.append(node.bare_concrete_function.concrete_function_name)
        elif node.WhichOneof("kind") == "function":
            names += node.function.concrete_functions
        else:
            raise ValueError("a function is missing")
    return names


def _reachable(names: list[str], library: dict[str, Any]) -> Iterator[str]:
    """Operations of functions and of all that they call; a function that is missing counts as one."""
    waiting, seen = list(names), set(names)
    while waiting:
        function = library.get(waiting.pop())
        if function is None:
            yield "call of an unknown function"
            continue
        for node in function.node_def:
            called = [] if node.op not in library else [node.op]  # a function may have the name of an operation
            if not called:
                yield node.op
            for attribute in node.attr.values():
                called += [attribute.func.name, *(each.name for each in attribute.list.func)]
            fresh = {each for each in called if each} - seen
            seen |= fresh
            waiting += fresh


def _refused(path: Path, what: str, hint: str) -> BopkitError:
    return BopkitError(f"{path} is refused: its {what} is not known to be safe.", hint)


def _damaged(path: Path, error: Exception) -> BopkitError:
    return BopkitError(
        f"{path} is not a complete SavedModel: {first_line(error)[:200]}.", "Copy it again, or save it again."
    )
